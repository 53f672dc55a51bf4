"""Finding a file by whatever another file calls it: with folders or not, with suffix or not."""

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
    """Drop an image suffix from `path`; any other ending (``cell.v2``) is part of the name.

    >>> without_suffix("a/cell.v2.png")
    'a/cell.v2'
    """
    return str(PurePosixPath(path).with_suffix("")) if is_image_name(path) else path


class Lookup(Generic[T]):
    """Values under file names, found by path, by name, or by name without an image suffix.

    Parameters
    ----------
    entries : iterable of (str, value)
        A path with forward slashes, and what stands under it.
    """

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        # The inner dict is a set that keeps its order.
        self._values: dict[tuple[str, str], dict[T, None]] = {}
        for path, value in entries:
            for form in _forms(path):
                self._values.setdefault(form, {})[value] = None

    def find(self, path: str) -> tuple[T, ...]:
        """Return what stands under `path`: nothing, one value, or several if it is ambiguous.

        The most exact form that is known decides: the path as it is, then whatever its case, then
        without suffix, then its last part only.
        """
        for form in _forms(path):
            if form in self._values:
                return tuple(self._values[form])
        return ()


def _comparable(path: str) -> str:
    """Return a path in the form in which names are compared.

    macOS takes accents off their letters (NFD); bytes that are not UTF-8 are mostly Windows-1252,
    in which tables of the same origin are read.
    """
    if path.isascii():
        return path
    if any("\udc80" <= letter <= "\udcff" for letter in path):
        with suppress(UnicodeEncodeError):  # a surrogate that no file name holds
            path = path.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return unicodedata.normalize("NFC", path)


def _forms(path: str) -> Iterator[tuple[str, str]]:
    path = path.replace("\\", "/").removeprefix("./")
    folded = _comparable(path).casefold()
    name = folded.rpartition("/")[2]
    yield "exact", path  # apart from the others, so that A.png and a.png may differ
    for form in (folded, without_suffix(folded), name, without_suffix(name)):
        yield "loose", form
