"""Finding annotation files and images in a dataset, with or without a folder per split.

.. code-block:: text

    SOURCE/Annotations/, JPEGImages/      SOURCE/labels/{train,val}/, images/{train,val}/
    SOURCE/train/labels/, images/         SOURCE/train/*.xml next to *.jpg
    SOURCE/train/_annotations.csv         SOURCE/train/_annotations.coco.json

All this may be wrapped in a single folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hematovision.data.folders import find_split
from hematovision.data.formats.annotations import Collector, FieldImages, then
from hematovision.errors import AnnotationError, DatasetError
from hematovision.images.finding import is_hidden

__all__ = [
    "Place", "SharedFiles", "find_places", "image_folder", "list_files", "open_places",
    "visible_files", "visible_folders", "without_wrapper",
]  # fmt: skip

_IMAGE_FOLDERS = ("JPEGImages", "images")
_OWN_NAMES = frozenset({*_IMAGE_FOLDERS, "Annotations", "annotations", "labels", "ImageSets"})


@dataclass(frozen=True, slots=True)
class Place:
    """Annotation files and the images they describe."""

    boxes: Path  # a folder of annotation files, or one file
    images: Path  # the image folder
    prefix: str = ""  # the split's folder, which contains both, if any


def find_places(
    source: Path, annotations: Path | None, find: Callable[[Path], Path | None]
) -> list[Place]:
    """Find the annotation files: `annotations`, or else in `source`, or else in its folders.

    `find` returns the annotation files directly in a folder, or None.
    """
    boxes = annotations if annotations is not None else find(source)
    if boxes is not None:
        return [Place(boxes, image_folder(source))]
    return [
        Place(found, image_folder(folder), folder.name)
        for folder in visible_folders(source)
        if (found := find(folder)) is not None
    ]


def list_files(
    places: Sequence[Place], find: Callable[[Path], Iterable[Path]], kind: str, expected: str
) -> Mapping[Place, Sequence[Path]]:
    """List the files of formats that have one for each field; `find` yields those of a folder.

    Raises `DatasetError` if there are none: "No `kind` files in ... Expected `expected`."
    """
    files = {place: list(find(place.boxes)) for place in places}
    if not any(files.values()):
        raise DatasetError(
            f"No {kind} files in {', '.join(str(place.boxes) for place in places)}. Expected "
            f"{expected}. Choose another folder with --annotations, or another format."
        )
    return files


@dataclass(frozen=True, slots=True)
class SharedFiles:
    """JSON files of formats in which one describes many fields."""

    find: Callable[[Path], Sequence[Path]]  # the files in a folder
    kind: str  # for messages: "No `kind` files in ... Expected `expected`."
    expected: str

    def first(self, folders: Sequence[Path]) -> Path | None:
        """Return the first file in any of `folders`."""
        return next((file for folder in folders for file in self.find(folder)), None)

    def read(
        self,
        source: Path,
        annotations: Path | None,
        found: Collector,
        read: Callable[[Path, FieldImages], None],
    ) -> list[FieldImages]:
        """Call `read` with each file and its images; return the image folders.

        The files are `annotations`, or in that folder; else in `source`, or in its folders. An
        invalid file is a problem if there are others.

        Raises
        ------
        AnnotationError
            If no file is valid.
        DatasetError
            If there are no files or no images.
        """
        opened = open_places(self._places(source, annotations), found)
        invalid = 0
        for place, images in opened:
            try:
                read(place.boxes, images)
            except AnnotationError as error:
                if len(opened) == 1:
                    raise
                invalid += 1
                found.problems.append(then(error, "This file was skipped."))
        if invalid == len(opened):
            raise AnnotationError(
                f"None of the {self.kind} files can be read. {' '.join(found.problems[:3])}"
            )
        return [images for _, images in opened]

    def _places(self, source: Path, annotations: Path | None) -> list[Place]:
        if annotations is None:
            files = self.find(source)
        else:
            files = [annotations] if annotations.is_file() else visible_files(annotations, "*.json")
        places = [Place(file, image_folder(source)) for file in files]
        if not places and annotations is None:
            places = find_places(source, None, lambda folder: next(iter(self.find(folder)), None))
        if not places:
            raise DatasetError(
                f"No {self.kind} files in {annotations or source}. Expected {self.expected}. "
                "Choose another file with --annotations, or another format."
            )
        return places


def open_places(places: Sequence[Place], found: Collector) -> list[tuple[Place, FieldImages]]:
    """List the images of each place; a place without images is a problem if there are others.

    Raises `DatasetError` if there are no images at all.
    """
    opened = []
    known: dict[tuple[Path, str], FieldImages] = {}
    for place in places:
        key = place.images, place.prefix
        try:
            known[key] = known.get(key) or FieldImages(*key)
            opened.append((place, known[key]))
        except DatasetError as error:
            if len(places) == 1:
                raise
            found.problems.append(str(error))
    if not opened:
        raise DatasetError(
            f"There are no images in {', '.join(str(place.images) for place in places)}. Put the "
            "images next to their box files."
        )
    return opened


def image_folder(folder: Path) -> Path:
    """Return the image folder in `folder`, or `folder` itself if it has none."""
    return next((inner for name in _IMAGE_FOLDERS if (inner := folder / name).is_dir()), folder)


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in `folder`, sorted, without hidden ones and ``__MACOSX``."""
    try:
        inner = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(
            f"Cannot read the folder {folder}: {error.strerror or error}. Make it readable."
        ) from error
    return [path for path in inner if not is_hidden(path.name) and path.is_dir()]


def visible_files(folder: Path, pattern: str) -> list[Path]:
    """Return the visible files in `folder` at any depth that match `pattern`, sorted.

    `pattern` is in lower case, such as ``*.xml``; matching ignores case.
    """
    return sorted(
        file
        for file in folder.rglob("*")
        if fnmatchcase(file.name.casefold(), pattern)
        and not any(map(is_hidden, file.relative_to(folder).parts))
    )


def without_wrapper(source: Path) -> Path:
    """Descend through folders that contain only one other folder, as in unpacked archives."""
    while True:
        folders = visible_folders(source)
        files = any(path.is_file() and not is_hidden(path.name) for path in source.iterdir())
        if files or len(folders) != 1:
            return source
        (inner,) = folders
        if inner.name in _OWN_NAMES or find_split(inner.name) is not None:
            return source
        source = inner
