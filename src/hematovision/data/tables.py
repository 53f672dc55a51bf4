"""Reading the small CSV files that people edit, with errors that name the file and the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hematovision.errors import AnnotationError
from hematovision.names import from_csv_cell

__all__ = ["Row", "Table", "read_table"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its values by column, and where it stands."""

    path: Path
    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """Return the value in `column`, stripped."""
        return self.values[column]

    def error(self, problem: str) -> AnnotationError:
        """Return, for raising, an error that names the file and this line."""
        return AnnotationError(f"{self.path}, line {self.line}: {problem}")

    def number(self, column: str) -> float:
        """Return the value in `column` as a number.

        Raises
        ------
        AnnotationError
            If it is none.
        """
        try:
            return float(self.values[column])
        except ValueError:
            raise self.error(
                f"column {column!r} should hold a number. Received: {self.values[column]!r}"
            ) from None


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file with a header."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, required: Sequence[str] = ()) -> Table:
    """Read a CSV file: UTF-8 (a byte order mark is allowed), commas, one header line.

    Parameters
    ----------
    path : Path
        The file.
    required : sequence of str
        Columns that must be there; others are read too.

    Raises
    ------
    AnnotationError
        If the file cannot be read, is no such table, lacks a required column, or a line has more
        or fewer values than the header.
    """
    reader = csv.reader(
        io.StringIO(_read_text(path), newline=""), strict=True, skipinitialspace=True
    )
    try:
        header = tuple(name.strip() for name in next(reader, []))
        _check_header(path, header, required)
        rows = []
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            line = reader.line_num
            if len(values) != len(header):
                raise AnnotationError(
                    f"{path}, line {line}: expected {len(header)} values ({', '.join(header)}). "
                    f"Received {len(values)}: {','.join(values)[:200]!r}"
                )
            rows.append(
                Row(
                    path,
                    line,
                    dict(zip(header, (from_csv_cell(v.strip()) for v in values), strict=True)),
                )
            )
    except csv.Error as error:
        raise AnnotationError(
            f"{path}, line {reader.line_num}: not a CSV file with commas: {error}. Save it again "
            "as CSV (UTF-8, comma separated)."
        ) from error
    return Table(path, header, tuple(rows))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AnnotationError(
            f"Cannot read {path}: {error.strerror or error}. Give the path of a CSV file."
        ) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it again as CSV (UTF-8)."
        ) from error


def _check_header(path: Path, header: tuple[str, ...], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing or not header:
        raise AnnotationError(
            f"{path}, line 1: the header lacks {', '.join(missing) or 'any column'}. Received: "
            f"{', '.join(header)[:200]!r}. Expected comma-separated columns named in the first "
            "line."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise AnnotationError(
            f"{path}, line 1: the column {twice[0]!r} is there twice. Rename one of the two."
        )
