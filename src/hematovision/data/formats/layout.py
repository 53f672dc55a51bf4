"""Finding annotation files and images in a dataset, with or without a folder per split.

.. code-block:: text

    SOURCE/Annotations/, JPEGImages/      SOURCE/labels/{train,val}/, images/{train,val}/
    SOURCE/train/labels/, images/         SOURCE/train/*.xml next to *.jpg
    SOURCE/train/_annotations.csv         SOURCE/train/_annotations.coco.json

All this may be wrapped in a single folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hematovision.data.folders import find_split
from hematovision.data.formats.annotations import Collector, FieldImages
from hematovision.errors import DatasetError
from hematovision.images.finding import is_hidden

__all__ = [
    "Place", "find_places", "image_folder", "open_places", "visible_files", "visible_folders",
    "without_wrapper",
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
