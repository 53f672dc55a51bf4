"""Annotated fields, and the interface of the formats that store them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hematovision import images
from hematovision.data.folders import find_split
from hematovision.data.lookup import Lookup, without_suffix
from hematovision.data.samples import SPLITS, Split
from hematovision.images.boxes import Box, Size, round_box, scale_box

__all__ = [
    "AnnotatedField",
    "AnnotationFormat",
    "Annotations",
    "Collector",
    "FieldImages",
    "FieldToWrite",
    "NamedBox",
    "counted",
    "fields_by_split",
    "some",
    "split_of",
    "then",
    "tidy",
    "whole_number",
]

_MOST_PER_FILE = 3
_DIGITS = 9  # a billionth of a pixel: floating-point noise only


@dataclass(frozen=True, slots=True)
class NamedBox:
    """One box of an annotation file.

    Parameters
    ----------
    label : str
        The class as spelled in the file.
    box : Box
        ``(xmin, ymin, xmax, ymax)``, in pixels or as fractions of the field's sides.
    where : str
        File and line, for messages.
    """

    label: str
    box: Box
    where: str


@dataclass(frozen=True, slots=True)
class AnnotatedField:
    """One field and its boxes.

    Parameters
    ----------
    image : Path
        The field's image.
    name : str
        The image's path in the image folder, without suffix, with forward slashes. If each split
        has a folder of its own, that folder comes first.
    boxes : tuple of NamedBox
        In the order of the annotation file.
    fractions : bool
        Whether boxes are fractions of the field's sides instead of pixels.
    size : Size or None
        The image's width and height according to the annotation file.
    split : Split or None
        According to folders, file names or ``data.yaml``.
    where : str
        The annotation file, for messages.
    """

    image: Path
    name: str
    boxes: tuple[NamedBox, ...]
    fractions: bool = False
    size: Size | None = None
    split: Split | None = None
    where: str = ""

    def box_in_pixels(self, box: Box, width: int, height: int, digits: int = 3) -> Box:
        """Return one of the boxes in pixels, rounded so that ``cells.csv`` has the cropped box."""
        scale = (width, height) if self.fractions else (1, 1)
        return round_box(scale_box(box, *scale), digits)


@dataclass(frozen=True)
class Annotations:
    """All annotated fields of a folder.

    Parameters
    ----------
    fields : tuple of AnnotatedField
        Sorted by image.
    problems : tuple of str
        What could not be used, with the file.
    notes : tuple of str
        What was converted on reading, such as polygons.
    classes : tuple of str
        The classes that the files declare, in their order; empty if they declare none.
    whole : bool
        Whether each image is one cell with a label and no box.
    """

    fields: tuple[AnnotatedField, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    whole: bool = False

    def spellings(self) -> Counter[str]:
        """Return the number of boxes for each spelling of a class."""
        return Counter(box.label for field in self.fields for box in field.boxes)


@dataclass(frozen=True, slots=True)
class FieldToWrite:
    """One field in the form that every format can store.

    Parameters
    ----------
    file : str
        The image's path in the image folder, with forward slashes.
    stem : str
        The same without suffix; unique.
    split : Split or None
        Its split.
    size : Size
        Width and height of the upright image.
    boxes : tuple of (str, Box)
        Class and box in pixels of the upright image.
    """

    file: str
    stem: str
    split: Split | None
    size: Size
    boxes: tuple[tuple[str, Box], ...]


class AnnotationFormat(Protocol):
    """How one format stores annotated fields; `hematovision.data.formats.FORMATS` lists them.

    Attributes
    ----------
    name : str
        The word for it on the command line.
    image_folder : str
        Where `write` expects the images.
    split_lists : Path or None
        Where the format keeps its lists of fields per split, relative to the dataset.
    split_folders : bool
        Whether images are stored in one folder per split.
    declares_classes : bool
        Whether the files list the classes in a fixed order.
    numbers_classes : bool
        Whether boxes refer to classes by number, so that names can be passed to `read`.
    fractions : bool
        Whether boxes are fractions of the image, and so can't extend beyond it.
    one_file : bool
        Whether one annotation file may hold all boxes.
    """

    name: str
    image_folder: str = "images"
    split_lists: Path | None = None
    split_folders: bool = False
    declares_classes: bool = False
    numbers_classes: bool = False
    fractions: bool = False
    one_file: bool = False

    def recognise(self, folders: Sequence[Path]) -> Path | None:
        """Return a file or folder typical of the format; None if there is none.

        `folders` are the dataset and the folders in it.
        """

    def read(
        self, source: Path, annotations: Path | None = None, names: Sequence[str] | None = None
    ) -> Annotations:
        """Read the annotated fields of a folder.

        Files and boxes that can't be read are problems in the result, not errors.

        Parameters
        ----------
        source : Path
            The dataset.
        annotations : Path, optional
            Folder or file with the boxes, if outside `source`.
        names : sequence of str, optional
            The names of classes 0, 1, 2, ..., if the format numbers its classes.

        Raises
        ------
        AnnotationError
            If a file without which nothing can be read is not understood.
        DatasetError
            If there are no annotation files or no images.
        """

    def write(self, folder: Path, fields: Sequence[FieldToWrite], classes: Sequence[str]) -> None:
        """Write the annotation files of `fields` into `folder`."""


class FieldImages:
    """The images of a folder, found by any name that an annotation file uses.

    Parameters
    ----------
    folder : Path
        Searched recursively.
    prefix : str
        Prepended to field names: the folder of their split.

    Raises
    ------
    DatasetError
        If it holds no images.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        paths = images.find_images([folder])
        self.folder = folder
        self.prefix = prefix
        self.paths = tuple(paths)
        self._lookup = Lookup((self._relative(path), path) for path in paths)

    def find(self, name: str) -> tuple[Path, ...]:
        """Return the images that `name` may mean: none, one, or several if it is ambiguous."""
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

        Parameters
        ----------
        places : iterable of FieldImages
            All images.
        lacking : str
            The word for missing annotations, such as ``box file``.
        classes : iterable of str
            The classes that the files declare.
        """
        for image, files in self._twice.items():
            self.problems.append(
                f"{' and '.join(files)} both describe {image}; neither was used. Keep one of them, "
                "or choose one folder or file with --annotations."
            )
        if unused := [name for found in places for name in found.unused(self._seen)]:
            have = "image has" if len(unused) == 1 else "images have"
            self.problems.append(f"{len(unused)} {have} no {lacking}: {some(unused)}")
        return Annotations(
            tuple(self.fields[image] for image in sorted(self.fields)),
            tuple(self.problems),
            tuple(self.notes),
            tuple(classes),
        )


def split_of(name: str) -> Split | None:
    """Return the split that the first folder of a field's name stands for.

    >>> split_of("valid/patient 3/field 7")
    'valid'
    """
    folder, _, rest = name.partition("/")
    return find_split(folder) if rest else None


def fields_by_split(
    fields: Sequence[FieldToWrite],
) -> Iterator[tuple[Split | None, list[FieldToWrite]]]:
    """Yield the fields of each split that has any; those in no split come last, as None."""
    for split in (*SPLITS, None):
        if members := [field for field in fields if field.split == split]:
            yield split, members


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun.

    >>> counted(1, "image"), counted(2, "box", "boxes")
    ('1 image', '2 boxes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some(names: Sequence[str], shown: int = 5) -> str:
    """Join the first few of many names: ``a, b, c and 17 more``."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def then(problem: object, result: str) -> str:
    """Append what happened to a problem, such as an error, as a second sentence."""
    return f"{str(problem).removesuffix('.')}. {result}"


def tidy(value: float) -> float:
    """Remove floating-point noise from a coordinate."""
    return round(value, _DIGITS)


def whole_number(value: float) -> float:
    """Return a whole number as an int, so that it is written without ``.0``."""
    return int(value) if float(value).is_integer() else value
