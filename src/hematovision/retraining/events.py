"""What a learning tells while it goes on: lines of JSON, appended by one process, read by many."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from hematovision.files import write_bytes, writing

__all__ = [
    "Epoch",
    "EventLog",
    "Figures",
    "SideBySide",
    "append_event",
    "first_event",
    "read_events",
]

_SECONDS = 0.2  # Between two lines of progress on one piece of work.


Epoch: TypeAlias = Mapping[str, float]
"""One finished epoch: ``epoch`` from 1, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``."""


@dataclass(frozen=True)
class Figures:
    """How well a model told the cells of a comparison."""

    name: str
    balanced_accuracy: float
    accuracy: float
    errors: int


@dataclass(frozen=True)
class SideBySide:
    """The old model and the new one on the same cells, which the new one has not learnt from.

    Parameters
    ----------
    n : int
        Cells.
    old, new : Figures
    verdict : str
        Which is better, claiming no more than the cells show.
    note : str
        What a reader of the figures should know; may be empty.
    """

    n: int
    old: Figures
    new: Figures
    verdict: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description, read back by `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SideBySide:
        """Rebuild it from `to_json`'s output."""
        fields = {**value, "old": Figures(**value["old"]), "new": Figures(**value["new"])}
        return cls(**fields)


class EventLog:
    """Appends events to an open file, and is the `Progress` that a job is given.

    Parameters
    ----------
    stream : BinaryIO
        Opened for appending, without a buffer.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._told: dict[str, float] = {}
        self._epochs = 0

    def write(self, event: str, **values: Any) -> None:
        """Append one event."""
        self._stream.write(_line(event, values))

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Take note of how far the work is; now and then, and at its end."""
        now = time.monotonic()
        if done < total and now - self._told.get(what, -_SECONDS) < _SECONDS:
            return
        self._told[what] = now
        self.write("progress", done=done, total=total, what=what)

    def epoch(self, figures: Mapping[str, float], what: str, /) -> None:
        """Take note of a finished epoch; see `EpochProgress`. Stages are counted through."""
        self._epochs += 1
        self.write("epoch", what=what, figures={**figures, "epoch": self._epochs})


def first_event(path: Path, event: str, **values: Any) -> None:
    """Make the file with its first event; nobody ever sees it empty.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    write_bytes(path, _line(event, values))


def append_event(path: Path, event: str, **values: Any) -> None:
    """Append one event from another process than the one that learns.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with writing(path), path.open("ab", buffering=0) as stream:
        # The other may have been ended in the middle of a line.
        stream.write(b"\n" + _line(event, values))


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Give the events of a file, passing over a line that is not complete yet, or never will be."""
    for line in path.read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "event" in value:
            yield value


def _line(event: str, values: Mapping[str, Any]) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"event": event, "at": at, **values}).encode() + b"\n"
