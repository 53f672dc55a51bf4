r"""Write tables as CSV, JSON lines or Parquet, row by row in constant memory.

All formats have the columns of a `Schema`, numbers rounded to six decimals, and an empty cell or
null for missing values. Text is UTF-8. Image names are escaped (`hematovision.paths.escape_name`):
bytes that are not UTF-8 and control characters become backslash codes, as in ``caf\xe9.png``;
`unescape_name` restores them. In CSV, text that a spreadsheet would treat as a formula gets a
leading apostrophe (`hematovision.paths.csv_cell`).
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from hematovision.errors import OutputError
from hematovision.extras import require
from hematovision.files import replacing, writing
from hematovision.paths import csv_text, escape_name, valid_text
from hematovision.rows import Column, Schema, Value

__all__ = ["SUFFIXES", "Table", "check_table", "csv_table", "open_table", "parquet_table"]

DIGITS = 6
ROWS_PER_GROUP = 4096
"""Rows per Parquet row group, a few hundred kB."""


class Table(Protocol):
    """Writes rows one by one."""

    def write(self, values: Mapping[str, Value], /) -> None:
        """Add a row, by column."""

    def finish(self) -> None:
        """Write buffered rows; called once, after the last row."""


class _Csv:
    def __init__(self, stream: BinaryIO, schema: Schema) -> None:
        self._stream, self._schema = stream, schema
        self._put(schema.names)

    def write(self, values: Mapping[str, Value], /) -> None:
        row = _formatted(self._schema, values).values()
        self._put([str(value).lower() if isinstance(value, bool) else value for value in row])

    def finish(self) -> None:
        pass

    def _put(self, cells: Sequence[Value]) -> None:
        self._stream.write(csv_text([cells]).encode("utf-8"))


class _JsonLines:
    def __init__(self, stream: BinaryIO, schema: Schema) -> None:
        self._stream, self._schema = stream, schema

    def write(self, values: Mapping[str, Value], /) -> None:
        text = json.dumps(_formatted(self._schema, values), ensure_ascii=False)
        self._stream.write(text.encode("utf-8") + b"\n")

    def finish(self) -> None:
        pass


class _Parquet:
    def __init__(
        self, stream: BinaryIO, schema: Schema, metadata: Mapping[str, str] | None = None
    ) -> None:
        require("parquet")
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        types = {
            "text": pa.string(),
            "number": pa.float64(),
            "integer": pa.int64(),
            "flag": pa.bool_(),
        }
        self._schema = schema
        self._arrow = pa.schema(
            ((column.name, types[column.type]) for column in schema.columns),
            metadata=dict(metadata or {}),
        )
        self._batch: Callable[..., Any] = pa.RecordBatch.from_pylist
        self._writer = ParquetWriter(stream, self._arrow)
        self._rows: list[dict[str, Value]] = []

    def write(self, values: Mapping[str, Value], /) -> None:
        self._rows.append(_formatted(self._schema, values))
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(self._batch(self._rows, schema=self._arrow))
            self._rows = []


_KINDS: Mapping[str, Callable[[BinaryIO, Schema], Table]] = {
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}

SUFFIXES = tuple(_KINDS)
"""Table formats by file suffix."""


def csv_table(stream: BinaryIO, schema: Schema) -> Table:
    """Return a table that writes CSV to `stream`, starting with the header."""
    return _Csv(stream, schema)


def parquet_table(stream: BinaryIO, schema: Schema, *, metadata: Mapping[str, str]) -> Table:
    """Return a table that writes Parquet to `stream`, with `metadata` in its footer.

    Raises `MissingExtraError` if pyarrow is not installed.
    """
    return _Parquet(stream, schema, metadata)


def check_table(path: Path) -> None:
    """Check that a table can be written to `path`, before work begins.

    Raises `OutputError` if the suffix is not in `SUFFIXES`, or `path` is a folder, device or pipe.
    Raises `MissingExtraError` for Parquet if pyarrow is not installed.
    """
    if _kind(path) is _Parquet:
        require("parquet")
    with writing(path):
        mode = path.stat().st_mode if path.exists() else stat.S_IFREG
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise OutputError(
            f"The table {path} cannot be written: {what} has that name. Choose another name."
        )


@contextmanager
def open_table(path: Path, schema: Schema) -> Iterator[Table]:
    """Open a table; the suffix of `path` decides its kind.

    The file takes its place when the block ends without an error; until then nothing, or an older
    table, is there. Its memory does not grow with its rows.

    `path` ends in ``.csv``, ``.jsonl`` or ``.parquet``, in any case. Raises `OutputError` if the
    suffix is another, or the file cannot be written. Raises `MissingExtraError` if it is a Parquet
    file and pyarrow is not installed.
    """
    kind = _kind(path)
    with replacing(path) as stream:
        table = _Guarded(path, kind(stream, schema))
        try:
            yield table
        finally:
            table.finish()  # even after an error: Parquet's writer must not outlive its stream


def _kind(path: Path) -> Callable[[BinaryIO, Schema], Table]:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"The name of the table {path} must end in one of {', '.join(SUFFIXES)}. Received: "
            f"{path.suffix!r}. Rename it."
        )
    return kind


class _Guarded:
    """A table whose system errors become an `OutputError` that names the file."""

    def __init__(self, path: Path, table: Table) -> None:
        self._path = path
        self._table = table

    def write(self, values: Mapping[str, Value], /) -> None:
        with writing(self._path):
            self._table.write(values)

    def finish(self) -> None:
        with writing(self._path):
            self._table.finish()


def _formatted(schema: Schema, values: Mapping[str, Value]) -> dict[str, Value]:
    formatted = {column.name: _value(column, values[column.name]) for column in schema.columns}
    return {**formatted, schema.key: escape_name(str(values[schema.key]))}


def _value(column: Column, value: Value) -> Value:
    if isinstance(value, str):
        return valid_text(value)
    return round(float(value), DIGITS) if column.type == "number" and value is not None else value
