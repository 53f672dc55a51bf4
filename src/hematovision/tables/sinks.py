r"""Tables of predictions: CSV, JSON lines or Parquet, row by row, in memory that does not grow.

All three say the same: the columns of `hematovision.model.classifier.columns`, numbers rounded to
six digits after the point, and nothing (an empty cell, a null) where a refused image has no number.
Text is UTF-8. A path is written by `hematovision.paths.escape_name`: a byte that is not UTF-8 or a
control character becomes a backslash and its code, ``caf\xe9.png``, and `unescape_name` leads back
to the file. In CSV, text that a spreadsheet would take for a formula has an apostrophe in front
(`hematovision.paths.csv_cell`).
"""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

from hematovision.errors import OutputError
from hematovision.extras import require
from hematovision.files import replacing, writing
from hematovision.model.classifier import Prediction, columns
from hematovision.paths import csv_row, escape_name, valid_text

__all__ = ["SUFFIXES", "Table", "check_table", "csv_table", "open_table", "parquet_table"]

DIGITS = 6
ROWS_PER_GROUP = 4096
"""Rows that a Parquet file holds back before it writes them together: some hundred kB."""

_NUMBERS = ("confidence", "novelty")

Value: TypeAlias = str | float | None


class Table(Protocol):
    """Something that takes one prediction after the other."""

    def write(self, prediction: Prediction, /) -> None:
        """Add a row."""

    def finish(self) -> None:
        """Write what was held back; called once, after the last row."""


class _Csv:
    def __init__(self, stream: BinaryIO, classes: Sequence[str]) -> None:
        self._stream = stream
        self._put(columns(classes))

    def write(self, prediction: Prediction, /) -> None:
        self._put(tuple(_values(prediction).values()))

    def finish(self) -> None:
        pass

    def _put(self, cells: Sequence[Value]) -> None:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow(csv_row(cells))
        self._stream.write(line.getvalue().encode("utf-8"))


class _JsonLines:
    def __init__(self, stream: BinaryIO, _: Sequence[str]) -> None:
        self._stream = stream

    def write(self, prediction: Prediction, /) -> None:
        text = json.dumps(_values(prediction), ensure_ascii=False)
        self._stream.write(text.encode("utf-8") + b"\n")

    def finish(self) -> None:
        pass


class _Parquet:
    def __init__(
        self, stream: BinaryIO, classes: Sequence[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        _check_parquet()
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        names = columns(classes)
        self._schema = pa.schema(
            ((name, pa.float64() if _is_number(name) else pa.string()) for name in names),
            metadata=dict(metadata or {}),
        )
        self._batch: Callable[..., Any] = pa.RecordBatch.from_pylist
        self._writer = ParquetWriter(stream, self._schema)
        self._rows: list[dict[str, Value]] = []

    def write(self, prediction: Prediction, /) -> None:
        self._rows.append(_values(prediction))
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(self._batch(self._rows, schema=self._schema))
            self._rows = []


def _check_parquet() -> None:
    require("parquet")


_KINDS: Mapping[str, Callable[[BinaryIO, Sequence[str]], Table]] = {
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}

SUFFIXES = tuple(_KINDS)
"""The kinds of table, by the suffix of the file."""


def csv_table(stream: BinaryIO, classes: Sequence[str]) -> Table:
    """Return a table that writes CSV to `stream`, its header at once."""
    return _Csv(stream, classes)


def parquet_table(
    stream: BinaryIO, classes: Sequence[str], *, metadata: Mapping[str, str]
) -> Table:
    """Return a table that writes Parquet to `stream`, with `metadata` beside its columns.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """
    return _Parquet(stream, classes, metadata)


def check_table(path: Path) -> None:
    """See that a table of this name can be made, before the work and not after it.

    Raises
    ------
    OutputError
        If the suffix is none of `SUFFIXES`, or something is in the way that is no file.
    MissingExtraError
        If Parquet is asked for and pyarrow is not installed.
    """
    if _kind(path) is _Parquet:
        _check_parquet()
    with writing(path):
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise OutputError(
            f"The table {path} cannot be written: {what} has that name. Choose another."
        )


@contextmanager
def open_table(path: Path, classes: Sequence[str]) -> Iterator[Table]:
    """Open a table of predictions whose kind the suffix of `path` tells.

    The file takes its place when the block ends without an error; until then nothing, or an older
    table, is there. Its memory does not grow with its rows.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.jsonl`` or ``.parquet``, in any case.
    classes : sequence of str
        The model's classes, for the columns.

    Raises
    ------
    OutputError
        If the suffix is another, or the file cannot be written.
    MissingExtraError
        If Parquet is asked for and pyarrow is not installed.
    """
    kind = _kind(path)
    with replacing(path) as stream:
        table = _Guarded(path, kind(stream, classes))
        try:
            yield table
        finally:
            table.finish()  # after an error too: Parquet's writer must not outlive its stream


def _kind(path: Path) -> Callable[[BinaryIO, Sequence[str]], Table]:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"The table {path} ends in {path.suffix or 'nothing'!r}; expected one of "
            f"{', '.join(SUFFIXES)}, which tells what to write. Rename it."
        )
    return kind


class _Guarded:
    """A table whose system errors name the file."""

    def __init__(self, path: Path, table: Table) -> None:
        self._path = path
        self._table = table

    def write(self, prediction: Prediction, /) -> None:
        with writing(self._path):
            self._table.write(prediction)

    def finish(self) -> None:
        with writing(self._path):
            self._table.finish()


def _is_number(column: str) -> bool:
    return column in _NUMBERS or column.startswith("p_")


def _values(prediction: Prediction) -> dict[str, Value]:
    values = {name: _value(value) for name, value in prediction.row().items()}
    return {**values, "path": escape_name(prediction.path)}


def _value(value: Value) -> Value:
    if isinstance(value, str):
        return valid_text(value)
    return value if value is None else round(float(value), DIGITS)
