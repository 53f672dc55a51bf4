"""Finding a file by a name from another file, with or without folders and suffix."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from hematovision.images import is_image_name

__all__ = ["Lookup", "without_suffix"]

T = TypeVar("T", bound=Hashable)


def without_suffix(path: str) -> str:
    """Remove an image suffix from `path`; other endings (``cell.v2``) belong to the name.

    >>> without_suffix("a/cell.v2.png")
    'a/cell.v2'
    """
    return str(PurePosixPath(path).with_suffix("")) if is_image_name(path) else path


class Lookup(Generic[T]):
    """Values by file name, found by path, by name, or by name without an image suffix."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        # The inner dict is an ordered set.
        self._values: dict[tuple[str, str], dict[T, None]] = {}
        for path, value in entries:
            for form in _forms(path):
                self._values.setdefault(form, {})[value] = None

    def find(self, path: str) -> tuple[T, ...]:
        """Return the values of `path`: none, one, or several if it is ambiguous.

        The first matching form is used: the path itself, then ignoring case, then without suffix,
        then only the file name.
        """
        for form in _forms(path):
            if form in self._values:
                return tuple(self._values[form])
        return ()


def _comparable(path: str) -> str:
    """Normalise a path for comparison.

    macOS separates accents from letters (NFD). Bytes that are not UTF-8 are usually Windows-1252,
    like tables from the same computer.
    """
    if path.isascii():
        return path
    if any("\udc80" <= letter <= "\udcff" for letter in path):
        with suppress(UnicodeEncodeError):  # a surrogate that can't occur in a file name
            path = path.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return unicodedata.normalize("NFC", path)


def _forms(path: str) -> Iterator[tuple[str, str]]:
    path = path.replace("\\", "/").removeprefix("./")
    folded = _comparable(path).casefold()
    name = folded.rpartition("/")[2]
    yield "exact", path  # separate, so that A.png and a.png may differ
    for form in (folded, without_suffix(folded), name, without_suffix(name)):
        yield "loose", form
