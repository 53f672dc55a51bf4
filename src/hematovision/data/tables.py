"""Reading the small CSV files that people edit, with errors that name the file and the line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hematovision.data.texts import Text, read_text
from hematovision.errors import AnnotationError
from hematovision.paths import from_csv_cell

__all__ = ["MAX_TABLE_BYTES", "Row", "Table", "read_table"]

MAX_TABLE_BYTES = 64 * 2**20
"""64 MiB: a million lines and more. Reading takes some forty times as much memory."""

_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_EXCEL = re.compile(r"sep=([,;\t|])\r?\n", re.IGNORECASE)


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
        """Return the value in `column` as a number, written with a decimal point or comma.

        Raises
        ------
        AnnotationError
            If it is none.
        """
        value = self.values[column]
        if _DECIMAL_COMMA.fullmatch(value):
            value = value.replace(",", ".")
        try:
            return float(value)
        except ValueError:
            raise self.error(
                f"column {column!r} should hold a number. Received: {self.values[column]!r}"
            ) from None


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file with a header.

    Parameters
    ----------
    path : Path
        The file.
    columns : tuple of str
        The names in the first line.
    rows : tuple of Row
        The lines that have values.
    separator : str
        What stands between values: a comma, semicolon, tab or vertical bar.
    encoding : str
        As `hematovision.data.texts.read_text` found it.
    broken : tuple of str
        Lines with more or fewer values than the header, where these were asked for.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    separator: str = ","
    encoding: str = "utf-8-sig"
    broken: tuple[str, ...] = ()

    @property
    def separator_name(self) -> str:
        """The separator in a word."""
        return _SEPARATOR_NAMES[self.separator]


def read_table(path: Path, required: Sequence[str] = (), *, keep_going: bool = False) -> Table:
    """Read a CSV file with one header line.

    Commas, semicolons, tabs or vertical bars stand between the values: whichever gives the header
    most columns. Decimal commas, Excel's ``sep=`` line, a byte order mark, UTF-16 and Windows-1252
    are understood.

    Parameters
    ----------
    path : Path
        The file.
    required : sequence of str
        Columns that must be there; others are read too.
    keep_going : bool
        Whether lines with more or fewer values than the header are listed in `Table.broken`
        instead of being an error.

    Raises
    ------
    AnnotationError
        If the file cannot be read, is no such table, lacks a required column, or a line has more
        or fewer values than the header.
    """
    text = read_text(path, MAX_TABLE_BYTES)
    start = _EXCEL.match(text.content)
    content = text.content[start.end() :] if start else text.content
    separator = start[1] if start else _separator(content)
    reader = csv.reader(
        io.StringIO(content, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    skipped = 1 if start else 0
    rows: list[Row] = []
    broken: list[str] = []
    try:
        header = tuple(name.strip() for name in next(reader, []))
        _check_header(path, header, required, separator)
        width = max(i for i, name in enumerate(header, start=1) if name)
        header = header[:width]  # spreadsheets leave empty columns at the end
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            line = reader.line_num + skipped
            if not any(value.strip() for value in values[width:]):
                del values[width:]
            if len(values) != len(header):
                broken.append(_wrong_length(path, line, header, values, separator))
                if not keep_going:
                    raise AnnotationError(broken[0])
                continue
            stripped = (from_csv_cell(value.strip()) for value in values)
            rows.append(Row(path, line, dict(zip(header, stripped, strict=True))))
    except csv.Error as error:
        raise AnnotationError(
            f"{path}, line {reader.line_num + skipped}: not a CSV file separated by "
            f"{_SEPARATOR_NAMES[separator]}s: {error}. Save it again as CSV (UTF-8, comma "
            "separated)."
        ) from error
    return _table(path, header, rows, broken, separator, text)


def _table(
    path: Path, header: tuple[str, ...], rows: list[Row], broken: list[str], separator: str,
    text: Text,
) -> Table:  # fmt: skip
    if broken and not rows:
        raise AnnotationError(broken[0])
    return Table(path, header, tuple(rows), separator, text.encoding, tuple(broken))


def _separator(content: str) -> str:
    """Return what gives the header most columns; a comma where nothing gives more than one."""
    counts = {}
    for separator in _SEPARATORS:
        lines = csv.reader(
            io.StringIO(content[:65536], newline=""), delimiter=separator, skipinitialspace=True
        )
        try:
            counts[separator] = len(next(lines, []))
        except csv.Error:
            counts[separator] = 0
    return max(_SEPARATORS, key=lambda separator: counts[separator])


def _wrong_length(
    path: Path, line: int, header: tuple[str, ...], values: list[str], separator: str
) -> str:
    hint = ""
    if separator == "," and len(values) > len(header):
        hint = (
            ". Numbers with decimal commas need another separator than the comma, such as the "
            "semicolon"
        )
    return (
        f"{path}, line {line}: expected {len(header)} values separated by "
        f"{_SEPARATOR_NAMES[separator]}s ({', '.join(header)}). Received {len(values)}: "
        f"{separator.join(values)[:200]!r}{hint}"
    )


def _check_header(
    path: Path, header: tuple[str, ...], required: Sequence[str], separator: str
) -> None:
    if not any(header):
        raise AnnotationError(
            f"{path}: the table is empty. Expected a first line with the names of the columns."
        )
    missing = [name for name in required if name not in header]
    if missing:
        raise AnnotationError(
            f"{path}, line 1: the header lacks {', '.join(missing)}. Received: "
            f"{', '.join(header)[:200]!r} (separated by {_SEPARATOR_NAMES[separator]}s). Rename "
            "the columns, or choose another file."
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise AnnotationError(
            f"{path}, line 1: the column {twice[0]!r} is there twice. Rename one of the two."
        )
