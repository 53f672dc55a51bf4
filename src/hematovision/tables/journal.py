"""The journal of a table that is being made: one line an answer, so that a run can be continued.

It lies beside the table, ``answers.csv.journal`` for ``answers.csv``. The first line says what the
answers were made with. Lines are JSON whatever the table's kind: a line is there or it is not,
while half a Parquet file is nothing, and one way to go on is easier to trust than three.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hematovision.errors import OutputError
from hematovision.files import delete_held, ensure_folder, open_own, try_hold_at, writing
from hematovision.model.classifier import Classifier

__all__ = ["Head", "Journal", "journal_path", "open_journal"]

MAGIC = '{"hematovision_journal": 1'
"""How every journal of this form begins."""

SYNC_SECONDS = 5.0
"""At most so much work is lost when the power fails; a killed process loses no finished line."""

MAX_LINE = 2**20
"""A line of a thousand classes has some 30 kB; a longer one is rubbish and is not read whole."""


@dataclass(frozen=True)
class Head:
    """What the answers of a journal were made with.

    Parameters
    ----------
    model, backbone : str
        SHA-256 of the ONNX graph and of the weights it stands on.
    columns : tuple of str
        Of the table.
    min_confidence, max_novelty : float
        The thresholds by which answers are accepted.
    """

    model: str
    backbone: str
    columns: tuple[str, ...]
    min_confidence: float
    max_novelty: float

    @classmethod
    def of(cls, classifier: Classifier) -> Head:
        """Return what answers of `classifier` are made with."""
        return cls(columns=classifier.schema.names, **classifier.identity)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Return the first line's object."""
        return {"hematovision_journal": 1, **asdict(self), "columns": list(self.columns)}


def journal_path(table: Path) -> Path:
    """Return where the journal of a table lies."""
    return table.with_name(f"{table.name}.journal")


class Journal:
    """An open journal; see `open_journal`.

    Parameters
    ----------
    path : Path
    stream : FileIO
        Open for reading and appending, without a buffer, and held by this process alone.
    """

    def __init__(self, path: Path, stream: io.FileIO) -> None:
        self.path = path
        self._stream = stream
        self._end = stream.seek(0, os.SEEK_END)
        self._synced = time.monotonic()

    def append(self, entry: object) -> int:
        """Write a line and return where it begins, in bytes.

        Raises
        ------
        OutputError
            If it cannot be written. What was written before stays.
        """
        line = memoryview(json.dumps(entry).encode("ascii") + b"\n")
        start = self._end
        with writing(self.path):
            while line:
                line = line[self._stream.write(line) :]
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                os.fsync(self._stream.fileno())
                self._synced = time.monotonic()
        self._end = self._stream.tell()
        return start

    def entries(self) -> Iterator[tuple[int, Any]]:
        """Give where each line behind the first begins, and what it holds.

        Raises
        ------
        OutputError
            If a line is not JSON.
        """
        with self.reader() as reader:
            reader.readline(MAX_LINE)
            number, start = 1, reader.tell()
            while line := reader.readline(MAX_LINE):
                number += 1
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise self.damaged(f"Line {number} is not JSON") from error
                yield start, entry
                start += len(line)

    @contextmanager
    def reader(self) -> Iterator[io.BufferedReader[io.FileIO]]:
        """Give a buffered view to read from; nothing may be appended until the block ends.

        It shares the one handle: on Windows another could not read what is locked.
        """
        reader = io.BufferedReader(self._stream, 2**16)
        reader.seek(0)
        try:
            yield reader
        finally:
            reader.detach()

    def damaged(self, what: str) -> OutputError:
        """Return the error that says that the file is no journal (any more)."""
        return OutputError(
            f"{self.path} cannot be continued: {what}. Expected the journal of a run of `classify "
            "--out`. Delete or move it, and run again: the work begins anew."
        )

    def begin(self, head: Head) -> None:
        """Cut off a torn last line, and see that the head fits; write it where there is none."""
        self._cut_torn_line()
        with self.reader() as reader:
            line = reader.readline(MAX_LINE)
        if not line:
            self.append(head.to_json())
            return
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not line.startswith(MAGIC.encode()) or not isinstance(found, dict):
            raise self.damaged("Its first line is not the head of a journal")
        self._compare(found, head.to_json())

    def clear(self) -> None:
        """Forget everything."""
        with writing(self.path):
            self._stream.truncate(0)
        self._end = 0

    def remove(self) -> None:
        """Delete the file; call it last."""
        with writing(self.path):
            delete_held(self.path, self._stream)

    def _cut_torn_line(self) -> None:
        start = max(0, self._end - MAX_LINE)
        with self.reader() as reader:
            reader.seek(start)
            tail = reader.read(MAX_LINE)
        keep = start + tail.rfind(b"\n") + 1
        torn_head = not start and tail.startswith(MAGIC.encode()[: len(tail)])
        if keep == start and not torn_head:
            raise self.damaged("It does not consist of lines of text")
        with writing(self.path):
            self._stream.truncate(keep)
        self._end = keep

    def _compare(self, found: dict[str, Any], expected: dict[str, Any]) -> None:
        names = {
            "model": "another model",
            "backbone": "another backbone",
            "columns": "other columns",
            "min_confidence": "another threshold of confidence",
            "max_novelty": "another threshold of novelty",
        }
        others = [text for key, text in names.items() if found.get(key) != expected[key]]
        if others:
            raise OutputError(
                f"{self.path} was begun with {' and '.join(others)}: rows of both would not belong "
                "into one table. Give the same --model as before, choose another --out, or run "
                "without --resume to begin anew."
            )


@contextmanager
def open_journal(table: Path, head: Head, *, resume: bool) -> Iterator[Journal]:
    """Open the journal of a table, for this process alone.

    Parameters
    ----------
    table : Path
        The table that is to be made.
    head : Head
        What the answers will be made with.
    resume : bool
        Keep what is in it. Otherwise it begins anew.

    Raises
    ------
    OutputError
        If another process makes the same table; the journal cannot be written; or, to resume, it
        is damaged or was begun with another model.
    """
    path = journal_path(table)
    ensure_folder(path.parent)
    with open_own(path) as stream:
        with writing(path):  # Some network file systems have no locks.
            held = try_hold_at(path, stream)
        if not held:
            raise OutputError(
                f"Another process is making the table {table}: it holds {path}. Wait until it has "
                "ended, or choose another --out."
            )
        journal = Journal(path, stream)
        if not resume:
            journal.clear()
        journal.begin(head)
        yield journal
