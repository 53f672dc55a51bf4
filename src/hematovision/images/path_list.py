"""A list of paths that takes a fraction of the memory of as many `Path` objects."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

__all__ = ["PathList"]

_CODING = ("utf-8", "surrogatepass")  # whatever a system calls a file comes back as it was


class PathList(Sequence[Path]):
    """Paths in the order in which they were added.

    Kept are each folder once and the names as bytes: 12 bytes a path and those of its name, so that
    a million images take some 25 MB; as a list of `Path` they take 300.

    Parameters
    ----------
    paths : iterable of Path, optional
        What it begins with.

    Examples
    --------
    >>> paths = PathList([Path("a/1.png")])
    >>> paths.add_names(Path("a"), ["2.png", "3.png"])
    >>> len(paths), paths[-1].as_posix()
    (3, 'a/3.png')
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._folders: list[Path] = []
        self._numbers: dict[Path, int] = {}
        self._folder = array("i")
        self._ends = array("q", [0])
        self._names = bytearray()
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        """Add one path."""
        self.add_names(path.parent, [path.name])

    def add_names(self, folder: Path, names: Iterable[str]) -> None:
        """Add the paths of `names` in a folder."""
        number = self._number(folder)
        for name in names:
            self._names += name.encode(*_CODING)
            self._ends.append(len(self._names))
            self._folder.append(number)

    def add_from(self, other: PathList, start: int, stop: int) -> None:
        """Add the paths of another list from place `start` to before `stop`."""
        begin, end = other._ends[start], other._ends[stop]
        shift = len(self._names) - begin
        self._names += other._names[begin:end]
        self._ends.extend(place + shift for place in other._ends[start + 1 : stop + 1])
        numbers = [self._number(folder) for folder in other._folders] if stop > start else []
        self._folder.extend(numbers[number] for number in other._folder[start:stop])

    def _number(self, folder: Path) -> int:
        number = self._numbers.setdefault(folder, len(self._folders))
        if number == len(self._folders):
            self._folders.append(folder)
        return number

    def unique(self) -> PathList:
        """Return the paths without those that are there before, in the same order.

        Only paths whose hash is not the only one of its kind are compared, so that the memory this
        takes is some 16 bytes a path, too.
        """
        hashes = np.fromiter(map(hash, self), np.int64, len(self))
        hashes.sort()
        repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        return PathList(_first_ones(self, repeated)) if repeated else self

    def __len__(self) -> int:
        return len(self._folder)

    @overload
    def __getitem__(self, place: int) -> Path: ...
    @overload
    def __getitem__(self, place: slice) -> list[Path]: ...
    def __getitem__(self, place: int | slice) -> Path | list[Path]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        name = self._names[self._ends[number] : self._ends[number + 1]]
        return self._folders[self._folder[number]] / name.decode(*_CODING)


def _first_ones(paths: Iterable[Path], repeated: set[int]) -> Iterator[Path]:
    """Give each path once; `repeated` are the hashes of all that may be there again."""
    seen = set[Path]()
    for path in paths:
        if hash(path) in repeated:
            if path in seen:
                continue
            seen.add(path)
        yield path
