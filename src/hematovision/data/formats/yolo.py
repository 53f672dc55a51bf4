"""YOLO: one text file per field, one line per box: class id, centre x and y, width, height.

Coordinates are fractions of the image. Layouts: ``SOURCE/labels/**/*.txt`` and
``SOURCE/images/**``; ``labels`` and ``images`` in a folder for each split (Roboflow); or label
files next to their images. Class names come from ``--names``, ``classes.txt``, ``obj.names``,
``_darknet.labels`` or ``data.yaml``; splits from ``data.yaml``, lists of images (``train.txt``) or
folders. A polygon (class id, then x and y of three or more points, as for segmentation and rotated
boxes) is replaced by its bounding box.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hematovision.data.folders import find_split
from hematovision.data.formats.annotations import (
    AnnotatedField,
    AnnotationFormat,
    Annotations,
    Collector,
    FieldImages,
    NamedBox,
    some,
    split_of,
    then,
    tidy,
)
from hematovision.data.formats.layout import (
    Place,
    find_places,
    list_files,
    open_places,
    visible_files,
    visible_folders,
)
from hematovision.data.formats.writing import (
    BoxToWrite,
    FieldFiles,
    FieldToWrite,
    FieldWriter,
    Header,
)
from hematovision.data.lookup import Lookup
from hematovision.data.samples import SPLITS, Split
from hematovision.data.textfiles import read_lines, read_text
from hematovision.errors import AnnotationError
from hematovision.extras import require
from hematovision.files import write_text
from hematovision.images.boxes import Box, Size
from hematovision.plurals import counted

__all__ = ["Yolo"]

_NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
# Label tools round; a value further outside [0, 1] is in pixels or from another format.
_TOLERANCE = 0.05
_POLYGONS = "polygons or rotated boxes"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

# A JSON string may hold them as they are, one of YAML may not.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_YAML_KEYS: Mapping[str, Split] = {
    "train": "train", "val": "valid", "valid": "valid", "test": "test",
}  # fmt: skip
_MAX_YAML_BYTES = 2**20
_MOST_NESTED = 100
_OPENING = frozenset({"[", "{", "<block sequence start>", "<block mapping start>"})
_CLOSING = frozenset({"]", "}", "<block end>"})
_MOST_CLASSES = 10_000


class Yolo(AnnotationFormat):
    """YOLO label files; the module's docstring describes the layouts."""

    split_folders = True
    declares_classes = True
    numbers_classes = True
    fractions = True

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return the folder of labels, or ``data.yaml`` if labels are next to their images."""
        labels = (f / "labels" for f in folders if f.name != "labels")
        by_folder = next((f for f in labels if f.is_dir() and next(f.rglob("*.txt"), None)), None)
        if by_folder is not None:
            return by_folder
        nearby = any(
            _is_label_file(file) and any(file.with_suffix(s).is_file() for s in _SUFFIXES)
            for folder in folders
            for file in folder.glob("*.txt")
        )
        return (_find_yaml(folders[0]) or folders[0]) if nearby else None

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read boxes as fractions of the image."""
        boxes = annotations and (_labels(annotations) or annotations)
        places = find_places(source, boxes, _labels) or [Place(source, source)]
        expected = "SOURCE/labels/*.txt, SOURCE/train/labels/*.txt or *.txt next to the images"
        files = list_files(places, _label_files, "label", expected)
        homes = [source, *(folder for folder in (annotations, boxes and boxes.parent) if folder)]
        yaml_file = next(filter(None, map(_find_yaml, homes)), None)
        yaml = _read_yaml(yaml_file, source) if yaml_file else None
        found = Collector(problems=list(yaml.problems) if yaml else [])
        known = tuple(names or _find_names(homes, places, yaml, found))
        reader = _Reader(source, known, yaml, _read_lists(source), found)
        opened = open_places(places, found)
        for place, images in opened:
            for file in files[place]:
                reader.read(file, place, images)
        reader.report_polygons()
        return found.result((images for _, images in opened), "label file", reader.names)

    def open_writer(self, folder: Path, header: Header) -> FieldWriter:
        """Write ``labels/*.txt`` and ``data.yaml``."""
        return _Writer(folder, header)


class _Writer:
    """Writes one label file per field, line by line."""

    def __init__(self, folder: Path, header: Header) -> None:
        self._folder, self._header = folder, header
        self._ids = {label: number for number, label in enumerate(header.classes)}
        self._field: FieldToWrite | None = None
        self._files = FieldFiles()
        self._splits: set[Split] = set()

    def field(self, field: FieldToWrite) -> None:
        self._field = field
        self._files.start(self._folder / "labels" / f"{field.stem}.txt")
        if field.split:
            self._splits.add(field.split)

    def box(self, box: BoxToWrite) -> None:
        assert self._field is not None
        fractions = " ".join(_to_fractions(box.box, self._field.size))
        self._files.write(f"{self._ids[box.label]} {fractions}\n")

    def close(self) -> None:
        self._files.close()
        write_text(self._folder / "data.yaml", self._yaml())

    def discard(self) -> None:
        self._files.discard()

    def _yaml(self) -> str:
        paths = [f"{_key(split)}: images/{split}\n" for split in SPLITS if split in self._splits]
        comment = "" if paths else "# There is no split: add train: and val:\n"
        if not self._header.images_inside:
            comment = f"# Copy the images to images/, with the names of the label files.\n{comment}"
        # A JSON list is YAML too, and quotes names such as `no` that YAML would take for values.
        classes = self._header.classes
        names = json.dumps(list(classes), ensure_ascii=False)
        names = _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", names)
        return f"{comment}{''.join(paths)}nc: {len(classes)}\nnames: {names}\n"


def _to_fractions(box: Box, size: Size) -> tuple[str, str, str, str]:
    """Return centre and size as fractions, with as few digits as preserve the pixels."""
    x, width = _fraction_pair(box[0], box[2], size[0])
    y, height = _fraction_pair(box[1], box[3], size[1])
    return x, y, width, height


def _fraction_pair(low: float, high: float, side: int) -> tuple[str, str]:
    centre, extent = (low + high) / 2 / side, (high - low) / side
    for digits in range(6, 17):
        a, b = round(centre, digits), round(extent, digits)
        if tidy((a - b / 2) * side) == tidy(low) and tidy((a + b / 2) * side) == tidy(high):
            return _shortest(a, digits), _shortest(b, digits)
    return repr(centre), repr(extent)


def _shortest(value: float, digits: int) -> str:
    """Format a fraction with six decimals, like YOLO tools, or more if needed."""
    text = f"{value:.{digits}f}"
    extra = digits - 6
    return text[: len(text) - extra] + text[-extra:].rstrip("0") if extra else text


def _read_lists(source: Path) -> Lookup[Split]:
    """Read the lists of images of Darknet and CVAT: ``train.txt``, ``valid.txt``."""
    lists = [(file, find_split(file.stem)) for file in sorted(source.glob("*.txt"))]
    return Lookup((line, split) for file, split in lists if split for line in read_lines(file))


def _is_label_file(file: Path) -> bool:
    """Return whether a text file may be a label file, not a list of names or a README."""
    lists = file.name in _NAME_LISTS or find_split(file.stem) is not None
    return not lists and not file.name.casefold().startswith(("readme", "license", "."))


def _labels(folder: Path) -> Path | None:
    labels = folder / "labels"
    return labels if labels.is_dir() else None


def _label_files(folder: Path) -> list[Path]:
    files = visible_files(folder, "*.txt")
    if folder.name == "labels":  # a field may be called `test` there
        return [file for file in files if file.name not in _NAME_LISTS]
    return [file for file in files if _is_label_file(file)]


@dataclass
class _Reader:
    """Reads label files into a collector."""

    source: Path
    names: tuple[str, ...]
    yaml: _DataYaml | None
    lists: Lookup[Split]
    found: Collector
    polygons: dict[Path, int] = field(default_factory=dict)

    def read(self, file: Path, place: Place, images: FieldImages) -> None:
        candidates = images.find(file.relative_to(place.boxes).with_suffix("").as_posix())
        if len(candidates) != 1:
            problem = "several images" if candidates else "no image"
            self.found.problems.append(f"{file}: {problem} of that name in {images.folder}")
            return
        (image,) = candidates
        name = images.name(image)
        listed = self.lists.find(image.relative_to(self.source).as_posix())
        split = self.yaml.split(image) if self.yaml else None
        split = split or (listed[0] if len(listed) == 1 else split_of(name))
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

    def report_polygons(self) -> None:
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
                label, box, polygon = _parse_line(line.split(), self.names, where)
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


def _parse_line(values: list[str], names: Sequence[str], where: str) -> tuple[str, Box, bool]:
    """Return the class, the box, and whether it is the bounding box of a polygon."""
    polygon = len(values) >= 7 and len(values) % 2 == 1
    received = f"{' '.join(values)[:200]!r}."
    if len(values) != 5 and not polygon:
        hint = " (predictions with a confidence are not annotations)" if len(values) == 6 else ""
        raise AnnotationError(
            f"{where}: expected class id, centre x, centre y, width, height, or a class id and at "
            f"least three points. Received {len(values)} values{hint}: {received}"
        )
    try:
        number = int(values[0])
        numbers = [float(value) for value in values[1:]]
    except ValueError:
        raise AnnotationError(
            f"{where}: expected a whole number and then fractions. Received: {received}"
        ) from None
    if not all(-_TOLERANCE <= v <= 1 + _TOLERANCE for v in numbers):
        raise AnnotationError(
            f"{where}: coordinates must be fractions of the image, between 0 and 1. "
            f"Received: {received}"
        )
    if not 0 <= number < len(names):
        raise AnnotationError(f"{where}: the class id {number} has no name. {_hint(names)}")
    if polygon:
        xs, ys = numbers[::2], numbers[1::2]
        return names[number], (min(xs), min(ys), max(xs), max(ys)), True
    x, y, width, height = numbers
    return names[number], (x - width / 2, y - height / 2, x + width / 2, y + height / 2), False


def _hint(names: Sequence[str]) -> str:
    if names:
        return (
            f"Only 0 to {len(names) - 1} have names: {some(list(names), 20)}. Give all names, in "
            "the order of the ids, with --names."
        )
    return "Give the names in the order of the ids, for example --names WBC,RBC,Platelets."


def _find_names(
    homes: Sequence[Path], places: Sequence[Place], yaml: _DataYaml | None, found: Collector
) -> tuple[str, ...]:
    """Return the names of the class ids from the first file that has them, or no names."""
    inner = (place.boxes for place in places)
    folders = dict.fromkeys((*homes, *inner, *visible_folders(homes[0])))
    lists = [file for f in folders for name in _NAME_LISTS if (file := f / name).is_file()]
    known = {str(file): tuple(read_lines(file)) for file in lists}
    if yaml and yaml.names:
        known[str(yaml.file)] = yaml.names
    if len(set(known.values())) > 1:
        found.problems.append(
            f"{' and '.join(known)} give different names; those of {next(iter(known))} were used. "
            "Keep one of them, or give the names with --names."
        )
    return next(iter(known.values()), ())


@dataclass(frozen=True)
class _DataYaml:
    """The content of a ``data.yaml``."""

    file: Path
    source: Path  # the folder to read
    names: tuple[str, ...]  # of the ids 0, 1, 2, ...
    folders: Mapping[Path, Split]  # folders of images inside `source`
    lists: Lookup[Split]  # images in the text file of a split
    problems: tuple[str, ...]  # splits whose images can't be found

    def split(self, image: Path) -> Split | None:
        """Return the split of an image, from a list or from its innermost folder."""
        listed = self.lists.find(image.relative_to(self.source).as_posix())
        if len(listed) == 1:
            return listed[0]
        return next((self.folders[f] for f in image.parents if f in self.folders), None)


def _find_yaml(source: Path) -> Path | None:
    """Return the ``data.yaml`` of a folder, with any of its usual names."""
    usual = next((file for name in _YAML_FILES if (file := source / name).is_file()), None)
    if usual is not None:
        return usual
    others = sorted([*source.glob("*.yaml"), *source.glob("*.yml")])
    return others[0] if len(others) == 1 else None


def _read_yaml(file: Path, source: Path) -> _DataYaml:
    """Read a ``data.yaml``; its paths are always looked up inside `source`."""
    value = _load_yaml(file)
    names = _yaml_names(file, value["names"]) if "names" in value else ()
    folders: dict[Path, Split] = {}
    entries: list[tuple[str, Split]] = []
    problems: list[str] = []
    root = value.get("path")
    base = root if isinstance(root, str) else ""
    for key, split in _YAML_KEYS.items():
        for path in _paths(value.get(key)):
            found = _inside(source, file.parent, base, path, split)
            if found is None:
                problems.append(
                    f"{file}: {key}: {path[:200]!r} is not in {source}; this entry was skipped"
                )
            elif found.is_file():
                entries += ((line, split) for line in read_lines(found))
            elif folders.setdefault(found, split) != split:
                problems.append(
                    f"{file}: {key} and {_key(folders[found])} are the same folder {found}; its "
                    f"images were assigned to {folders[found]}"
                )
    return _DataYaml(file, source, names, folders, Lookup(entries), tuple(problems))


def _key(split: Split) -> str:
    return next(key for key, value in _YAML_KEYS.items() if value == split)


def _load_yaml(file: Path) -> Mapping[str, Any]:
    require("data.yaml")
    import yaml

    text = read_text(file, _MAX_YAML_BYTES).content
    try:
        _check_tokens(yaml.scan(text), file)
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise AnnotationError(
            f"{file}{_yaml_problem(error)}. Correct it, or give the names with --names and remove "
            "the file."
        ) from error
    return value if isinstance(value, dict) else {}


def _check_tokens(tokens: Iterable[Any], file: Path) -> None:
    """Raise unless the tokens of a ``data.yaml`` can be parsed in little time and memory."""
    depth = 0
    for token in tokens:
        # Aliases can expand a kilobyte to gigabytes; box files do not need them.
        if token.id in ("<alias>", "<anchor>"):
            raise AnnotationError(
                f"{file}: anchors and aliases (& and *) are not accepted. Write the values out, or "
                "give the names with --names and remove the file."
            )
        # The time for a token grows with the number of open brackets.
        depth += (token.id in _OPENING) - (token.id in _CLOSING)
        if depth > _MOST_NESTED:
            raise ValueError(f"nested more than {_MOST_NESTED} levels deep")


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    line = "" if mark is None else f", line {mark.line + 1}"
    return f"{line}: not valid YAML: {' '.join(problem.split())[:300]}"


def _yaml_names(file: Path, value: object) -> tuple[str, ...]:
    """Return the names of the ids: a list, or a mapping from 0, 1, 2, ... to names."""
    items: list[object] = []
    if isinstance(value, list):
        items = value
    elif isinstance(value, dict) and set(map(str, value)) == set(map(str, range(len(value)))):
        by_id = {str(key): name for key, name in value.items()}
        items = [by_id[str(i)] for i in range(len(by_id))]
    usable = [str(item).strip() for item in items if _is_name(item)]
    if not items or len(usable) != len(items) or len(items) > _MOST_CLASSES:
        raise AnnotationError(
            f"{file}: cannot read `names:`. Expected a list such as names: [WBC, RBC, Platelets]. "
            "Correct it, or give the names with --names."
        )
    return tuple(usable)


def _is_name(value: object) -> bool:
    # YAML reads unquoted yes, no, on and off as true and false: as names they must be quoted.
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _paths(value: object) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and item.strip():
            yield item.strip()


def _inside(source: Path, folder: Path, base: str, path: str, split: Split) -> Path | None:
    """Find a path of ``data.yaml`` inside `source`; None if it isn't there.

    Paths from another machine are matched by their end, also with the folders swapped:
    ``/content/bccd/train/images`` may be ``images/train`` here. The end must contain the name of
    the split, or it would match the images of all splits. Links inside `source` are followed.
    """
    path = path.replace("\\", "/")
    names = [name for name in PurePosixPath(path).parts if name not in ("..", ".", "/")]
    candidates = [folder / base / path, folder / path]
    ends = [names[start:] for start in range(len(names))]
    if split in map(find_split, names):
        ends = [end for end in ends if split in map(find_split, end)]
    candidates += [folder.joinpath(*end) for end in ends]
    candidates += [folder.joinpath(*reversed(end)) for end in ends if len(end) == 2]
    for candidate in candidates:
        found = Path(os.path.normpath(candidate))
        try:
            if found.is_relative_to(source) and found != source and found.exists():
                return found
        except (OSError, ValueError):  # a name that no file can have
            continue
    return None
