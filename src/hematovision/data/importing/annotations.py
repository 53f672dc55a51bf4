"""What every box file comes down to: fields, each with named boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hematovision import images
from hematovision.data.lookup import Lookup, without_suffix
from hematovision.data.samples import Box
from hematovision.errors import AnnotationError

__all__ = ["AnnotatedField", "Annotations", "FieldImages", "NamedBox", "read_text", "some"]


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
        The image's path within the folder of images, without suffix, with forward slashes.
    boxes : tuple of NamedBox
        In the box file's order.
    fractions : bool
        Whether the boxes are fractions of the field's sides rather than pixels.
    """

    image: Path
    name: str
    boxes: tuple[NamedBox, ...]
    fractions: bool = False

    def box_in_pixels(self, box: Box, width: int, height: int) -> Box:
        """Return one of the boxes in pixels, to a thousandth.

        The rounding makes the box in ``cells.csv`` the one that the cell was cropped by, and keeps
        the noise of fractions (``0.7 * 480``) out of the file.
        """
        x, y = (width, height) if self.fractions else (1, 1)
        xmin, ymin, xmax, ymax = box
        return round(xmin * x, 3), round(ymin * y, 3), round(xmax * x, 3), round(ymax * y, 3)


@dataclass(frozen=True)
class Annotations:
    """All fields of a folder with their boxes, and what was wrong without stopping the import."""

    fields: tuple[AnnotatedField, ...]
    problems: tuple[str, ...] = ()

    def spellings(self) -> Counter[str]:
        """Return how many boxes bear each spelling of a class."""
        return Counter(box.label for field in self.fields for box in field.boxes)


class FieldImages:
    """The images of a folder, found by whatever a box file calls them.

    Parameters
    ----------
    folder : Path
        Searched recursively.

    Raises
    ------
    DatasetError
        If it holds no images.
    """

    def __init__(self, folder: Path) -> None:
        paths = images.find_images([folder])
        self.folder = folder
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
        return short if len(self._lookup.find(short)) == 1 else relative

    def unused(self, used: Iterable[Path]) -> list[str]:
        """Return the names of the images that are not among `used`."""
        taken = set(used)
        return [self.name(path) for path in self.paths if path not in taken]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def some(names: Sequence[str], shown: int = 5) -> str:
    """Join the first few of many names: ``a, b, c and 17 more``."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def read_text(path: Path) -> str:
    """Read a box file as UTF-8.

    Raises
    ------
    AnnotationError
        If it cannot be read or is something else.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it again as UTF-8."
        ) from error
