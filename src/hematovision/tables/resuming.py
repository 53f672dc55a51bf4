"""Which images of a run have their answer in a journal, and which are left."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.model.prediction import Prediction
from hematovision.tables.journal import MAX_LINE, Journal

__all__ = ["Answered"]

Stamp: TypeAlias = list[int] | None
"""Size in bytes and time of the last change in ns; None for a file that cannot be looked at."""

_FINISHED = "finished"
_NOWHERE = -1
_DECISIONS = ("accepted", "review", "refused")


class Answered:
    """The answers to a list of images, in a journal on disk; 10 bytes an image in memory.

    An image counts as answered while its size and time of change are those it was answered with.
    A refused one is left to be tried again, since a share that was away or a missing permission
    may be back, and reading it costs little; its row is only written anew if it is another. What
    the journal has about other images is passed over.

    Parameters
    ----------
    journal : Journal
    files : sequence of Path
        All images, each once, in the order of the table.
    classes : tuple of str
        The model's.

    Attributes
    ----------
    before : int
        How many images had an answer that stands; refused ones count once `add` finds them so.
    left : int
        How many are to be answered.
    changed : bool
        Whether the table has to be written, since it never was or there are new answers.

    Raises
    ------
    OutputError
        If the journal is damaged.
    """

    def __init__(self, journal: Journal, files: Sequence[Path], classes: tuple[str, ...]) -> None:
        self._journal = journal
        self._files = files
        self._classes = classes
        self._starts = array("q", [_NOWHERE]) * len(files)
        self._again = bytearray(len(files))
        self._given: deque[tuple[int, Stamp]] = deque()
        self._digest = _digest(files)
        self.changed = self._take_in() != self._digest
        self.left = sum(self._is_left(place) for place in range(len(files)))
        self.before = len(files) - self.left

    def todo(self) -> Iterator[Path]:
        """Give the images that are left, in order; `add` their answers in the same order."""
        for place, path in enumerate(self._files):
            if self._is_left(place):
                # Before it is read: a change in between then shows at the next time.
                self._given.append((place, _stamp(path)))
                yield path

    def add(self, prediction: Prediction) -> None:
        """Write down the answer to the next image of `todo`.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        place, stamp = self._given.popleft()
        entry = _encode(prediction, stamp)
        if self._again[place] and self._read(place) == entry:
            self.before += 1
            return
        self._starts[place] = self._journal.append(entry)
        self.changed = True

    def predictions(self) -> Generator[Prediction, None, None]:
        """Give all answers in the order of the images, once none is left.

        Raises
        ------
        OutputError
            If the journal was damaged meanwhile.
        """
        with self._journal.reader() as reader:
            for start in self._starts:
                reader.seek(start)
                yield self._decode(json.loads(reader.readline(MAX_LINE)))[0]

    def finish(self) -> None:
        """Write down that the table is in its place."""
        self._journal.append({_FINISHED: self._digest})

    def _is_left(self, place: int) -> bool:
        return self._starts[place] == _NOWHERE or bool(self._again[place])

    def _take_in(self) -> str:
        """Find where the answers begin, and return the images' digest if the table is finished."""
        finished, find = "", _Finder(self._files)
        for start, entry in self._journal.entries():
            if isinstance(entry, dict) and isinstance(entry.get(_FINISHED), str):
                finished = entry[_FINISHED]
                continue
            finished = ""
            prediction, stamp = self._decode(entry)
            place = find.place(prediction.path)
            if place is not None:
                stands = stamp == _stamp(self._files[place])
                refused = prediction.decision == "refused"
                self._starts[place] = start if stands or refused else _NOWHERE
                self._again[place] = refused
        return finished

    def _read(self, place: int) -> Any:
        with self._journal.reader() as reader:
            reader.seek(self._starts[place])
            return json.loads(reader.readline(MAX_LINE))

    def _decode(self, entry: Any) -> tuple[Prediction, Stamp]:
        try:
            return _decode(entry, self._classes)
        except (TypeError, ValueError) as error:
            raise self._journal.damaged(
                f"It has a line that is no answer, {json.dumps(entry)[:80]}"
            ) from error


class _Finder:
    """Finds the place of a path: at once as long as they come in order, else by its hash.

    A dictionary of all paths would take ten times the memory of the sorted hashes.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._next = 0
        self._places: NDArray[np.int64] | None = None
        self._hashes: NDArray[np.int64] | None = None

    def place(self, path: str) -> int | None:
        if not self._is_at(self._next, path):
            found = next(
                (place for place in self._candidates(path) if self._is_at(place, path)), -1
            )
            if found < 0:
                return None
            self._next = found
        self._next += 1
        return self._next - 1

    def _is_at(self, place: int, path: str) -> bool:
        return place < len(self._files) and str(self._files[place]) == path

    def _candidates(self, path: str) -> list[int]:
        """Return the places of all paths with the hash of this one, nearly always one or none."""
        if self._hashes is None or self._places is None:
            hashes = np.fromiter((hash(str(file)) for file in self._files), np.int64)
            self._places = np.argsort(hashes)
            self._hashes = hashes[self._places]
        first, last = (
            int(np.searchsorted(self._hashes, hash(path), side)) for side in ("left", "right")
        )
        return [int(place) for place in self._places[first:last]]


def _encode(prediction: Prediction, stamp: Stamp) -> list[Any]:
    return [
        prediction.path,
        stamp,
        prediction.label,
        list(prediction.probabilities),
        prediction.confidence,
        prediction.novelty,
        prediction.decision,
        prediction.reason,
        prediction.error,
    ]


def _decode(entry: Any, classes: tuple[str, ...]) -> tuple[Prediction, Stamp]:
    """Read `_encode`'s list back.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    path, stamp, label, probabilities, confidence, novelty, decision, reason, error = entry
    answered = decision != "refused"
    fits = (
        isinstance(path, str)
        and isinstance(reason, str)
        and decision in _DECISIONS
        and (label in classes if answered else label is None)
        and (stamp is None or isinstance(stamp, list))
        and len(probabilities) == (len(classes) if answered else 0)
    )
    numbers = [*probabilities, confidence, novelty] if answered else []
    if not fits or not all(isinstance(number, float) for number in numbers):
        raise ValueError("not an answer")
    prediction = Prediction(
        path, classes, label, tuple(probabilities), confidence, novelty, decision, reason, error
    )
    return prediction, stamp


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):  # the latter: a name that no file can have
        return None
    return [found.st_size, found.st_mtime_ns]


def _digest(files: Sequence[Path]) -> str:
    """Return what tells this list of images from others."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path).encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()
