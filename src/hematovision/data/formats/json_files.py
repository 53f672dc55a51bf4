"""Reading annotation files in JSON, which may be large, damaged or hostile."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hematovision.data.formats.annotations import Collector
from hematovision.data.textfiles import read_text
from hematovision.errors import AnnotationError
from hematovision.plurals import counted

__all__ = [
    "MAX_JSON_BYTES", "START_BYTES", "Counts", "finite", "numbers", "read_json",
    "read_start", "to_json",
]  # fmt: skip

MAX_JSON_BYTES = 256 * 2**20
"""256 MiB: over a million boxes. Parsing takes several times as much memory."""

START_BYTES = 2**20
"""The part of a file that is read to recognise its format."""


def read_json(file: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file.

    Raises `AnnotationError` if it can't be read, is not JSON, has more than `max_bytes` bytes, is
    nested too deeply, or does not fit in memory.
    """
    try:
        return json.loads(read_text(file, max_bytes).content)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{file} is not valid JSON: {error}.") from error
    except MemoryError as error:
        raise AnnotationError(f"{file} does not fit in memory. Split it.") from error


def read_start(file: Path) -> bytes:
    """Return the first bytes of a file without white space before them; empty if unreadable."""
    try:
        with file.open("rb") as stream:
            return stream.read(START_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return b""


def to_json(value: object) -> str:
    """Return a value as JSON on one line; lone surrogates stay, for `write_text` to escape."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def numbers(value: object) -> list[float] | None:
    """Return a list of numbers, or None if it is anything else."""
    if not isinstance(value, list):
        return None
    try:
        return [float(v) for v in value if not isinstance(v, bool)]
    except (TypeError, ValueError, OverflowError):
        return None


def finite(value: object, count: int) -> list[float] | None:
    """Return `count` finite numbers, or None."""
    found = numbers(value)
    if found is None or len(found) != count or not all(map(math.isfinite, found)):
        return None
    return found


@dataclass
class Counts:
    """Counts of what could not be used, or was changed, with the first place of each."""

    noun: str
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, where: str) -> None:
        """Count one more."""
        self.counts[what] += 1
        self.first.setdefault(what, where)

    def report(self, found: Collector, file: Path, notes: Sequence[str] = ()) -> None:
        """Append a sentence for each kind: to the notes if it is in `notes`, or the problems."""
        for what, count in self.counts.items():
            sentence = f"{file}: {counted(count, self.noun)} {what} (first: {self.first[what]})"
            (found.notes if what in notes else found.problems).append(sentence)
