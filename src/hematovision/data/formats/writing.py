"""What formats write: fields and their boxes, one after the other."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from hematovision.data.formats import FORMATS
from hematovision.data.samples import Split
from hematovision.errors import OutputError
from hematovision.files import replacing, writing
from hematovision.images.boxes import Box, Size
from hematovision.rows import Value

__all__ = [
    "BoxToWrite", "FieldFiles", "FieldToWrite", "FieldWriter", "Header", "TextFile",
    "class_colours",
    "open_writer",
]  # fmt: skip

# After Okabe & Ito, "Color Universal Design": distinguishable with any colour vision. The overlays
# of an analysis have the same colours.
_KNOWN = {"RBC": (0, 114, 178), "WBC": (0, 128, 90), "Platelets": (230, 120, 0)}
_OTHERS = ((204, 121, 167), (230, 159, 0), (86, 180, 233), (240, 228, 66), (90, 90, 90))


@dataclass(frozen=True, slots=True)
class Header:
    """What a whole set of fields has in common."""

    classes: tuple[str, ...]  # in the order of their ids
    subtypes: tuple[str, ...] = ()  # that boxes may have
    model: str = ""  # the name and version of the model that found the boxes; empty: a person
    images_inside: bool = True  # whether the images are in the same folder


@dataclass(frozen=True, slots=True)
class FieldToWrite:
    """One field in a form that every format can store."""

    file: str  # the image's path in the image folder, with forward slashes
    stem: str  # the name of its annotation file, without suffix; unique
    size: Size  # of the upright image
    split: Split | None = None
    url: str = ""  # where a label tool in a browser finds the image


@dataclass(frozen=True, slots=True)
class BoxToWrite:
    """One box, with whatever else is known about its cell."""

    label: str
    box: Box  # in pixels of the upright image
    subtype: str = ""
    # The other columns of ``cells.csv``, such as confidence and decision; empty for a person's box.
    details: Mapping[str, Value] = field(default_factory=dict)

    @property
    def review(self) -> bool:
        """Whether a person should look at the cell."""
        return self.details.get("decision") == "review"

    def attributes(self) -> dict[str, Value]:
        """Return subtype and details that have a value, without the confidence."""
        known = {"subtype": self.subtype, **self.details}
        return {
            name: value
            for name, value in known.items()
            if value not in ("", None) and name != "confidence"
        }


def class_colours(classes: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Return a colour (red, green, blue) for each class; with many classes, colours repeat.

    >>> class_colours(["RBC", "blast"])
    {'RBC': (0, 114, 178), 'blast': (204, 121, 167)}
    """
    others = itertools.cycle(_OTHERS)
    return {label: _KNOWN.get(label) or next(others) for label in classes}


class FieldWriter(Protocol):
    """Writes annotation files field by field, in memory that does not grow with the boxes."""

    def field(self, field: FieldToWrite, /) -> None:
        """Start a field; the boxes that follow belong to it."""

    def box(self, box: BoxToWrite, /) -> None:
        """Add a box to the current field."""

    def close(self) -> None:
        """Complete all files."""

    def discard(self) -> None:
        """Give up incomplete files after an error; complete ones stay."""


def open_writer(name: str, folder: Path, header: Header) -> FieldWriter:
    """Open the writer of the named format.

    Raises `OutputError` if the format can only be read, and `PluginError` if one from outside fails
    or returns something else.
    """
    format_ = FORMATS[name]
    with FORMATS.calling(name):
        writer = format_.open_writer(folder, header)
    if writer is None:
        raise OutputError(
            f"The {FORMATS.kind} {name!r} can be read, but not written. Choose another format."
        )
    for method in ("field", "box", "close", "discard"):
        if not callable(getattr(writer, method, None)):
            raise FORMATS.broken(name, f"returned a writer without `{method}`: {writer!r}.")
    return writer


class TextFile:
    """A text file that appears, or replaces an older one, when it is closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = replacing(path)
        self._stream: BinaryIO = self._opened.__enter__()

    def write(self, text: str) -> None:
        """Append text."""
        with writing(self._path):
            self._stream.write(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Complete the file; raise `OutputError` if that fails."""
        try:
            with writing(self._path):
                self._stream.flush()
        except BaseException:
            self._opened.__exit__(*sys.exc_info())
            raise
        self._opened.__exit__(None, None, None)

    def discard(self) -> None:
        """Remove what was written."""
        # Only ends the block of `replacing`, which removes its temporary file.
        self._opened.__exit__(OutputError, OutputError(f"{self._path} was discarded."), None)


class FieldFiles:
    """Text files of formats that have one for each field; starting one completes the last.

    Each ends with `end`.
    """

    def __init__(self, end: str = "") -> None:
        self._end = end
        self._open: TextFile | None = None

    def start(self, path: Path) -> None:
        """Start a file."""
        self.close()
        self._open = TextFile(path)

    def write(self, text: str) -> None:
        """Append text to the current file."""
        assert self._open is not None
        self._open.write(text)

    def close(self) -> None:
        """Complete the current file, if any."""
        if self._open is not None:
            self._open.write(self._end)
            text, self._open = self._open, None
            text.close()

    def discard(self) -> None:
        """Remove what was written of the current file; complete ones stay."""
        if self._open is not None:
            self._open.discard()
