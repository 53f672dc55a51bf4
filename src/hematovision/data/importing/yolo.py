"""YOLO: one text file a field, a line a box: class id, centre x and y, width, height as fractions.

``SOURCE/labels/**/*.txt`` and ``SOURCE/images/**``; ``labels`` and ``images`` in a folder for each
split, as Roboflow lays them out; or label files beside their images. The names of the class ids are
given with ``--names``, or stand in ``classes.txt``, ``obj.names``, ``_darknet.labels`` or
``data.yaml``. The splits are those of ``data.yaml``, of lists of images (``train.txt``), or of the
folders. Of a polygon (class id, then x and y of three or more points, as segmentation and rotated
boxes are written) the bounding box is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hematovision.data.folders import find_split
from hematovision.data.importing.annotations import (
    AnnotatedField,
    Annotations,
    Collector,
    FieldImages,
    NamedBox,
    counted,
    some,
    split_of,
    then,
)
from hematovision.data.importing.data_yaml import DataYaml, find_data_yaml, read_data_yaml
from hematovision.data.importing.places import (
    Place,
    find_places,
    open_places,
    visible_files,
    visible_folders,
)
from hematovision.data.lookup import Lookup
from hematovision.data.samples import Split
from hematovision.data.texts import read_text
from hematovision.errors import AnnotationError, DatasetError
from hematovision.images.boxes import Box

__all__ = ["is_label_file", "read"]

_NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
# Label tools round; a value this far outside [0, 1] is a pixel or another format's column.
_TOLERANCE = 0.05
_POLYGONS = "polygons or rotated boxes"


def read(
    source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
) -> Annotations:
    """Read the boxes of a YOLO folder.

    Parameters
    ----------
    source : Path
        The folder; see this module's docstring for the layouts.
    annotations : Path, optional
        Another folder of label files, searched recursively.
    names : sequence of str, optional
        The names of the ids 0, 1, 2, ...

    Returns
    -------
    Annotations
        Boxes as fractions; fields sorted by image. Lines that can't be understood and label files
        without an image are among the problems.

    Raises
    ------
    AnnotationError
        If the ids have no names, or ``data.yaml`` can't be understood.
    DatasetError
        If there are no label files or no images.
    """
    places = find_places(source, annotations, _labels)
    places = places or [Place(source, source)]
    files = {place: _label_files(place) for place in places}
    if not any(files.values()):
        raise DatasetError(
            f"No label files in {', '.join(str(place.boxes) for place in places)}. Expected "
            "SOURCE/labels/*.txt, SOURCE/train/labels/*.txt or *.txt beside the images; choose "
            "another folder with --annotations, or another --format."
        )
    yaml_file = find_data_yaml(source)
    yaml = read_data_yaml(yaml_file, source) if yaml_file else None
    found = Collector(problems=list(yaml.problems) if yaml else [])
    known = tuple(names or _find_names(source, places, yaml, found))
    reader = _Reader(source, known, yaml, _read_lists(source), found)
    opened = open_places(places, found)
    for place, images in opened:
        for file in files[place]:
            reader.read(file, place, images)
    reader.report_polygons()
    return found.result((images for _, images in opened), "label file", reader.names)


def _read_lists(source: Path) -> Lookup[Split]:
    """Read the lists of images that Darknet and CVAT keep: ``train.txt``, ``valid.txt``."""
    lists = [(file, find_split(file.stem)) for file in sorted(source.glob("*.txt"))]
    return Lookup(
        (line.strip(), split)
        for file, split in lists
        if split is not None
        for line in read_text(file).content.splitlines()
        if line.strip()
    )


def is_label_file(file: Path) -> bool:
    """Tell by its name whether a text file among others may be a label file.

    Lists of names and of images (``train.txt``) and notes (``README.txt``) are none.
    """
    lists = file.name in _NAME_LISTS or find_split(file.stem) is not None
    return not lists and not file.name.casefold().startswith(("readme", "license", "."))


def _labels(folder: Path) -> Path | None:
    labels = folder / "labels"
    return labels if labels.is_dir() else None


def _label_files(place: Place) -> list[Path]:
    files = visible_files(place.boxes, "*.txt")
    if place.boxes.name == "labels":  # a field may be called `test` there
        return [file for file in files if file.name not in _NAME_LISTS]
    return [file for file in files if is_label_file(file)]


@dataclass
class _Reader:
    """Reads label files one after the other."""

    source: Path
    names: tuple[str, ...]
    yaml: DataYaml | None
    lists: Lookup[Split]
    found: Collector
    polygons: dict[Path, int] = field(default_factory=dict)

    def read(self, file: Path, place: Place, images: FieldImages) -> None:
        """Read one label file into `found`."""
        candidates = images.find(file.relative_to(place.boxes).with_suffix("").as_posix())
        if len(candidates) != 1:
            problem = "several images" if candidates else "no image"
            self.found.problems.append(f"{file}: {problem} of that name in {images.folder}")
            return
        (image,) = candidates
        name = images.name(image)
        split = (
            (self.yaml.split(image) if self.yaml else None) or self._listed(image) or split_of(name)
        )
        try:
            boxes = self._boxes(file)
        except AnnotationError as error:
            if not self.names:
                raise
            self.found.skip(image, then(error, "Its image was left out."))
            return
        self.found.add(
            AnnotatedField(image, name, boxes, fractions=True, split=split, where=str(file))
        )

    def _listed(self, image: Path) -> Split | None:
        """Return the split of an image that one list names."""
        splits = self.lists.find(image.relative_to(self.source).as_posix())
        return splits[0] if len(splits) == 1 else None

    def report_polygons(self) -> None:
        """Note how many polygons were replaced by their bounding boxes."""
        if self.polygons:
            self.found.notes.append(
                f"{counted(sum(self.polygons.values()), 'polygon or rotated box', _POLYGONS)} in "
                f"{counted(len(self.polygons), 'label file')} replaced by the bounding box: "
                f"{some([str(file) for file in self.polygons], 3)}"
            )

    def _boxes(self, file: Path) -> tuple[NamedBox, ...]:
        boxes: list[NamedBox] = []
        problems: list[str] = []
        for number, line in enumerate(read_text(file).content.splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                label, box, polygon = _line(line.split(), self.names, where)
            except AnnotationError as error:
                if not self.names:
                    raise
                problems.append(then(error, "This line was skipped."))
                continue
            boxes.append(NamedBox(label, box, where))
            if polygon:
                self.polygons[file] = self.polygons.get(file, 0) + 1
        self.found.some_of(problems, file)
        return tuple(boxes)


def _line(values: list[str], names: Sequence[str], where: str) -> tuple[str, Box, bool]:
    """Return the class, the corners, and whether they are those around a polygon."""
    polygon = len(values) >= 7 and len(values) % 2 == 1
    if len(values) != 5 and not polygon:
        hint = " (predictions with a confidence are not boxes drawn by a person)"
        raise AnnotationError(
            f"{where}: expected class id, centre x, centre y, width, height, or a class id and at "
            f"least three points. Received {len(values)} values"
            f"{hint if len(values) == 6 else ''}: {' '.join(values)[:200]!r}."
        )
    try:
        number = int(values[0])
        numbers = [float(value) for value in values[1:]]
    except ValueError:
        raise AnnotationError(
            f"{where}: expected a whole number and then fractions. Received: "
            f"{' '.join(values)[:200]!r}."
        ) from None
    if not all(-_TOLERANCE <= v <= 1 + _TOLERANCE for v in numbers):
        raise AnnotationError(
            f"{where}: coordinates should be fractions of the image, between 0 and 1. "
            f"Received: {' '.join(values)[:200]!r}."
        )
    if not 0 <= number < len(names):
        raise AnnotationError(f"{where}: the class id {number} has no name. {_hint(names)}")
    return names[number], _around(numbers) if polygon else _corners(numbers), polygon


def _corners(numbers: Sequence[float]) -> Box:
    x, y, width, height = numbers
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _around(points: Sequence[float]) -> Box:
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def _hint(names: Sequence[str]) -> str:
    if names:
        return (
            f"Names are known for 0 to {len(names) - 1}: {some(list(names), 20)}. Give all, in the "
            "order of the ids, with --names."
        )
    return "Give the names in the order of the ids, for instance --names WBC,RBC,Platelets."


def _find_names(
    source: Path, places: Sequence[Place], yaml: DataYaml | None, found: Collector
) -> tuple[str, ...]:
    """Return the names of the class ids from the first file that has them; maybe none."""
    inner = (place.boxes for place in places)
    folders = dict.fromkeys((source, *inner, *visible_folders(source)))
    lists = [file for f in folders for name in _NAME_LISTS if (file := f / name).is_file()]
    known = {
        str(file): tuple(
            line.strip() for line in read_text(file).content.splitlines() if line.strip()
        )
        for file in lists
    }
    if yaml and yaml.names:
        known[str(yaml.file)] = yaml.names
    if len(set(known.values())) > 1:
        found.problems.append(
            f"{' and '.join(known)} give different names; those of {next(iter(known))} were used. "
            "Keep one of them, or give the names with --names."
        )
    return next(iter(known.values()), ())
