"""Read tables of results back, in any format that `sinks` writes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hematovision.errors import OutputError
from hematovision.extras import require
from hematovision.paths import from_csv_cell, unescape_name
from hematovision.rows import Column, Schema, Value
from hematovision.tables.sinks import SUFFIXES

__all__ = ["read_table"]


def read_table(folder: Path, name: str, schema: Schema) -> Iterator[dict[str, Value]]:
    """Yield the rows of the table `name` in a folder, whatever its format.

    Values are as they were written: numbers are rounded, names and formulas are not escaped.

    Raises
    ------
    OutputError
        If there is no such table.
    MissingExtraError
        If it is a Parquet file and pyarrow is not installed.
    """
    found = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if not found:
        raise OutputError(
            f"The folder {folder} has no table {name!r} ({', '.join(SUFFIXES)}). Run "
            "`hematovision analyze` again."
        )
    for row in _READERS[found[0].suffix](found[0], schema):
        yield {**row, schema.key: unescape_name(str(row[schema.key]))}


def _read_csv(path: Path, schema: Schema) -> Iterator[dict[str, Value]]:
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            yield {column.name: _parsed(column, row[column.name]) for column in schema.columns}


def _parsed(column: Column, text: str) -> Value:
    if column.type == "text":
        return from_csv_cell(text)
    if not text:
        return None
    if column.type == "flag":
        return text == "true"
    return float(text) if column.type == "number" else int(text)


def _read_json(path: Path, schema: Schema) -> Iterator[dict[str, Value]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            yield {name: row[name] for name in schema.names}


def _read_parquet(path: Path, schema: Schema) -> Iterator[dict[str, Value]]:
    require("parquet")
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(schema.names)):
            yield from batch.to_pylist()


_READERS: Mapping[str, Callable[[Path, Schema], Iterator[dict[str, Value]]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_json,
    ".parquet": _read_parquet,
}
