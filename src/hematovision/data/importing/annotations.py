"""What every box file comes down to: fields, each with named boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hematovision import images
from hematovision.data.folders import find_split
from hematovision.data.lookup import Lookup, without_suffix
from hematovision.data.samples import Split
from hematovision.images.boxes import Box, Size, round_box, scale_box

__all__ = [
    "AnnotatedField",
    "Annotations",
    "Collector",
    "FieldImages",
    "NamedBox",
    "counted",
    "some",
    "split_of",
    "then",
    "tidy",
]

_MOST_PER_FILE = 3
_DIGITS = 9  # a billionth of a pixel: the noise of floating-point numbers, and nothing else


@dataclass(frozen=True, slots=True)
class NamedBox:
    """One box as a box file gives it.

    Parameters
    ----------
    label : str
        The class in the file's own spelling.
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
        The image's path within the folder of images, without suffix, with forward slashes; where
        each split has a folder of its own, that folder comes first.
    boxes : tuple of NamedBox
        In the box file's order.
    fractions : bool
        Whether the boxes are fractions of the field's sides rather than pixels.
    size : Size or None
        The image's width and height as the box file gives them, where it does.
    split : Split or None
        The split that the folders, the file names or ``data.yaml`` put it in.
    where : str
        The box file, for messages.
    """

    image: Path
    name: str
    boxes: tuple[NamedBox, ...]
    fractions: bool = False
    size: Size | None = None
    split: Split | None = None
    where: str = ""

    def box_in_pixels(self, box: Box, width: int, height: int, digits: int = 3) -> Box:
        """Return one of the boxes in pixels, by default to a thousandth.

        The rounding makes the box in ``cells.csv`` the one that the cell was cropped by, and keeps
        the noise of fractions (``0.7 * 480``) out of the file.
        """
        scale = (width, height) if self.fractions else (1, 1)
        return round_box(scale_box(box, *scale), digits)


@dataclass(frozen=True)
class Annotations:
    """All fields of a folder with their boxes, and what was wrong without stopping the import.

    Parameters
    ----------
    fields : tuple of AnnotatedField
        Sorted by image.
    problems : tuple of str
        What could not be used, each naming its file.
    notes : tuple of str
        What was understood in another way than it stands there, such as polygons.
    classes : tuple of str
        The classes that the files declare, in their order; empty where they declare none.
    whole : bool
        Whether each image is one cell with a label, without a box.
    """

    fields: tuple[AnnotatedField, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    whole: bool = False

    def spellings(self) -> Counter[str]:
        """Return how many boxes bear each spelling of a class."""
        return Counter(box.label for field in self.fields for box in field.boxes)


class FieldImages:
    """The images of a folder, found by whatever a box file calls them.

    Parameters
    ----------
    folder : Path
        Searched recursively.
    prefix : str
        Comes before the fields' names: the folder of their split.

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
        """Return the field's name: the path within the folder, without suffix.

        Two images that differ by suffix only keep it, so that names are unique.
        """
        relative = self._relative(image)
        short = without_suffix(relative)
        name = short if len(self._lookup.find(short)) == 1 else relative
        return f"{self.prefix}/{name}" if self.prefix else name

    def unused(self, used: Iterable[Path]) -> list[str]:
        """Return the names of the images that are not among `used`."""
        taken = set(used)
        return [self.name(path) for path in self.paths if path not in taken]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


@dataclass
class Collector:
    """Gathers fields and what was wrong, file by file, into `Annotations`."""

    fields: dict[Path, AnnotatedField] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _twice: dict[Path, list[str]] = field(default_factory=dict)
    _seen: set[Path] = field(default_factory=set)

    def add(self, found: AnnotatedField) -> None:
        """Add a field. Two box files for one image contradict each other: neither is used."""
        self._seen.add(found.image)
        if found.image in self._twice:
            self._twice[found.image].append(found.where)
        elif found.image in self.fields:
            self._twice[found.image] = [self.fields.pop(found.image).where, found.where]
        else:
            self.fields[found.image] = found

    def skip(self, image: Path, problem: str) -> None:
        """Say why an image's box file can't be used."""
        self._seen.add(image)
        self.problems.append(problem)

    def some_of(self, problems: Sequence[str], file: Path) -> None:
        """Take the problems of one file: the first few as they are, the others by number."""
        self.problems += problems[:_MOST_PER_FILE]
        if len(problems) > _MOST_PER_FILE:
            self.problems.append(f"{file}: {len(problems) - _MOST_PER_FILE} more of this kind")

    def result(
        self, places: Iterable[FieldImages], lacking: str, classes: Iterable[str] = ()
    ) -> Annotations:
        """Return everything; images that no box file names are a problem.

        Parameters
        ----------
        places : iterable of FieldImages
            All images.
        lacking : str
            What an image without boxes has not: ``box file``.
        classes : iterable of str
            The classes that the files declare.
        """
        for image, files in self._twice.items():
            self.problems.append(
                f"{' and '.join(files)} both describe {image}: neither is used. Keep one of them, "
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


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: ``1 box``, ``2 boxes``.

    >>> counted(1, "image"), counted(2, "box", "boxes")
    ('1 image', '2 boxes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some(names: Sequence[str], shown: int = 5) -> str:
    """Join the first few of many names: ``a, b, c and 17 more``."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def then(problem: object, result: str) -> str:
    """Add what came of a problem, such as an error, as a sentence of its own."""
    return f"{str(problem).removesuffix('.')}. {result}"


def tidy(value: float) -> float:
    """Drop the noise of floating-point arithmetic from a coordinate."""
    return round(value, _DIGITS)
