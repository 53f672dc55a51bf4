"""Annotated fields, and the interface of the formats that store them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hematovision import images
from hematovision.data.folders import find_split
from hematovision.data.formats.writing import FieldWriter, Header
from hematovision.data.lookup import Lookup, without_suffix
from hematovision.data.samples import Split
from hematovision.images.boxes import Box, Size, round_box, scale_box

__all__ = [
    "AnnotatedField", "AnnotationFormat", "Annotations", "Collector", "FieldImages", "NamedBox",
    "some", "split_of", "then", "tidy", "whole_number",
]  # fmt: skip

_MOST_PER_FILE = 3
_DIGITS = 9  # a billionth of a pixel: floating-point noise only


@dataclass(frozen=True, slots=True)
class NamedBox:
    """One box of an annotation file."""

    label: str  # as spelled in the file
    box: Box  # in pixels or as fractions of the field's sides
    where: str  # file and line, for messages
    subtype: str = ""  # the kind of cell within its class, if the format has a place for it


@dataclass(frozen=True, slots=True)
class AnnotatedField:
    """One field and its boxes."""

    image: Path
    name: str  # path in the image folder, without suffix; starts with the split's folder, if any
    boxes: tuple[NamedBox, ...]  # in the order of the file
    fractions: bool = False  # whether boxes are fractions of the field's sides
    size: Size | None = None  # width and height according to the annotation file
    split: Split | None = None  # from folders, file names or data.yaml
    where: str = ""  # the annotation file, for messages

    def box_in_pixels(self, box: Box, width: int, height: int, digits: int = 3) -> Box:
        """Return a box in pixels, rounded so that ``cells.csv`` contains the cropped box."""
        scale = (width, height) if self.fractions else (1, 1)
        return round_box(scale_box(box, *scale), digits)


@dataclass(frozen=True)
class Annotations:
    """All annotated fields of a folder."""

    fields: tuple[AnnotatedField, ...]  # sorted by image
    problems: tuple[str, ...] = ()  # with the file
    notes: tuple[str, ...] = ()  # conversions on reading, such as polygons to boxes
    classes: tuple[str, ...] = ()  # declared by the files, in their order
    whole: bool = False  # whether each image shows one cell, with a label and no box

    def spellings(self) -> Counter[str]:
        """Return the number of boxes for each spelling of a class."""
        return Counter(box.label for field in self.fields for box in field.boxes)


class AnnotationFormat(Protocol):
    """How one format stores annotated fields; `hematovision.data.formats.FORMATS` lists them.

    A subclass overrides `read`, or `open_writer`, or both; and `recognise`, so that the format is
    detected.
    """

    image_folder: str = "images"  # where `open_writer` expects the images
    split_lists: Path | None = None  # folder with a list of fields per split
    split_folders: bool = False  # whether images are stored in one folder per split
    declares_classes: bool = False  # whether files list the classes in a fixed order
    numbers_classes: bool = False  # whether boxes refer to classes by number
    fractions: bool = False  # whether boxes are fractions, and so can't extend beyond the image
    one_file: bool = False  # whether one annotation file may contain all boxes

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return a file typical of the format from any of `folders`, or None."""
        del folders
        return None

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations | None:
        """Read the annotated fields of `source`; None if the format can only be written.

        `annotations` is the folder or file with the boxes, if elsewhere; `names` are the names of
        classes 0, 1, 2, ..., if the format numbers them. Unreadable files and boxes are problems.

        Raises
        ------
        AnnotationError
            If an invalid file prevents reading anything.
        DatasetError
            If there are no annotation files or no images.
        """
        del source, annotations, names
        return None

    def open_writer(self, folder: Path, header: Header) -> FieldWriter | None:
        """Write annotation files to `folder`, field by field; None if it can only be read.

        Every label must be in ``header.classes``. Files appear when they are complete. Writing
        raises `OutputError` if a file can't be written.
        """
        del folder, header
        return None


class FieldImages:
    """The images of a folder, found by the names in annotation files.

    Field names start with `prefix`, the split's folder. Raises `DatasetError` for an empty folder.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        paths = images.find_images([folder])
        self.folder = folder
        self.prefix = prefix
        self.paths = tuple(paths)
        self._lookup = Lookup((self._relative(path), path) for path in paths)

    def find(self, name: str) -> tuple[Path, ...]:
        """Return the images that match `name`: none, one, or several if it is ambiguous."""
        return self._lookup.find(name)

    def name(self, image: Path) -> str:
        """Return the field's name: its path in the folder, without suffix if that is unique."""
        relative = self._relative(image)
        short = without_suffix(relative)
        name = short if len(self._lookup.find(short)) == 1 else relative
        return f"{self.prefix}/{name}" if self.prefix else name

    def unused(self, used: Iterable[Path]) -> list[str]:
        """Return the names of the images that are not in `used`."""
        taken = set(used)
        return [self.name(path) for path in self.paths if path not in taken]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


@dataclass
class Collector:
    """Collects fields, problems and notes into `Annotations`, file by file."""

    fields: dict[Path, AnnotatedField] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _twice: dict[Path, list[str]] = field(default_factory=dict)
    _seen: set[Path] = field(default_factory=set)

    def add(self, found: AnnotatedField) -> None:
        """Add a field; if two files describe one image, neither is used."""
        self._seen.add(found.image)
        if found.image in self._twice:
            self._twice[found.image].append(found.where)
        elif found.image in self.fields:
            self._twice[found.image] = [self.fields.pop(found.image).where, found.where]
        else:
            self.fields[found.image] = found

    def skip(self, image: Path, problem: str) -> None:
        """Record why the annotation file of an image can't be used."""
        self._seen.add(image)
        self.problems.append(problem)

    def some_of(self, problems: Sequence[str], file: Path) -> None:
        """Record the first few problems of one file, and the number of the others."""
        self.problems += problems[:_MOST_PER_FILE]
        if len(problems) > _MOST_PER_FILE:
            self.problems.append(f"{file}: {len(problems) - _MOST_PER_FILE} more of this kind")

    def result(
        self, places: Iterable[FieldImages], lacking: str, classes: Iterable[str] = ()
    ) -> Annotations:
        """Return everything collected; images without annotations are a problem.

        `places` are the image folders, which may repeat; `lacking` is the noun for missing
        annotations, such as ``box file``.
        """
        for image, files in self._twice.items():
            self.problems.append(
                f"{' and '.join(files)} both describe {image}; neither was used. Keep one of them, "
                "or choose one folder or file with --annotations."
            )
        if unused := [name for found in dict.fromkeys(places) for name in found.unused(self._seen)]:
            have = "image has" if len(unused) == 1 else "images have"
            self.problems.append(f"{len(unused)} {have} no {lacking}: {some(unused)}")
        return Annotations(
            tuple(self.fields[image] for image in sorted(self.fields)),
            tuple(self.problems),
            tuple(self.notes),
            tuple(classes),
        )


def split_of(name: str) -> Split | None:
    """Return the split that the first folder in a field's name means.

    >>> split_of("valid/patient 3/field 7")
    'valid'
    """
    folder, _, rest = name.partition("/")
    return find_split(folder) if rest else None


def some(names: Sequence[str], shown: int = 5) -> str:
    """Join the first few of many names: ``a, b, c and 17 more``."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def then(problem: object, result: str) -> str:
    """Append the consequence of a problem as a second sentence."""
    return f"{str(problem).removesuffix('.')}. {result}"


def tidy(value: float) -> float:
    """Remove floating-point noise from a coordinate."""
    return round(value, _DIGITS)


def whole_number(value: float) -> float:
    """Convert a whole number to int, so that it is written without ``.0``."""
    return int(value) if float(value).is_integer() else value
