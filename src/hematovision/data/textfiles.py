"""Reading text files in the common encodings, and small CSV tables that people edit.

Errors name the file and the line.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hematovision.errors import AnnotationError
from hematovision.paths import from_csv_cell

__all__ = [
    "MAX_TABLE_BYTES", "MAX_TEXT_BYTES", "Row", "Table", "Text", "read_lines", "read_table",
    "read_text",
]  # fmt: skip

MAX_TEXT_BYTES = 64 * 2**20
"""64 MiB: a million lines of a box file."""

MAX_TABLE_BYTES = 64 * 2**20
"""64 MiB: over a million lines. Reading takes about forty times as much memory."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROLS = frozenset(range(32)) - {9, 10, 12, 13, 26}  # 26 ends files on old systems

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_EXCEL = re.compile(r"sep=([,;\t|])\r?\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a text file and its encoding."""

    content: str
    encoding: str


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> Text:
    """Read a text file: UTF-8, UTF-16 with a byte order mark, or Windows-1252.

    Raises `AnnotationError` if it can't be read, has more than `max_bytes` bytes, or is not text.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise AnnotationError(
                f"{path} has {size:,} bytes; at most {max_bytes:,} are read. Split it into several "
                "files, or check that it is the right one."
            )
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"Cannot read {path}: {error.strerror or error}. Pass the path of a text file."
        ) from error
    return _decode(path, data)


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a text file, stripped; see `read_text`."""
    return [line.strip() for line in read_text(path).content.splitlines() if line.strip()]


def _decode(path: Path, data: bytes) -> Text:
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    try:
        return Text(data.decode(encoding), encoding)
    except UnicodeDecodeError as error:
        position = error.start
    if encoding == "utf-8-sig" and _CONTROLS.isdisjoint(data):
        try:
            return Text(data.decode("cp1252"), "cp1252")
        except UnicodeDecodeError:
            pass
    raise AnnotationError(
        f"{path} is not UTF-8 text (byte {position}), nor UTF-16 or Windows-1252. Save it as UTF-8."
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its stripped values by column, with its file and line number."""

    path: Path
    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """Return the value in `column`."""
        return self.values[column]

    def error(self, problem: str) -> AnnotationError:
        """Return an error that names the file and the line."""
        return AnnotationError(f"{self.path}, line {self.line}: {problem}")

    def number(self, column: str) -> float:
        """Return the number in `column`, with a decimal point or comma."""
        value = self.values[column]
        if _DECIMAL_COMMA.fullmatch(value):
            value = value.replace(",", ".")
        try:
            return float(value)
        except ValueError:
            raise self.error(
                f"column {column!r} must contain a number. Received: {self.values[column]!r}"
            ) from None


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file with a header."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]  # the lines with values
    separator: str = ","
    encoding: str = "utf-8-sig"
    broken: tuple[str, ...] = ()  # problems of lines with a different length than the header

    @property
    def separator_name(self) -> str:
        """The separator in words."""
        return _SEPARATORS[self.separator]


def read_table(path: Path, required: Sequence[str] = (), *, keep_going: bool = False) -> Table:
    """Read a CSV file with one header line, which must have the `required` columns.

    The separator is the comma, semicolon, tab or vertical bar that yields the most columns. Decimal
    commas, Excel's ``sep=`` line and the encodings of `read_text` are supported. A line with more
    or fewer values than the header is an error, or in `Table.broken` with `keep_going`.

    Raises `AnnotationError` if the file can't be read, is not such a table, or lacks a required
    column.
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
        header = _header(path, next(reader, []), required, separator)
        width = len(header)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            line = reader.line_num + skipped
            if not any(value.strip() for value in values[width:]):
                del values[width:]
            if len(values) == width:
                stripped = (from_csv_cell(value.strip()) for value in values)
                rows.append(Row(path, line, dict(zip(header, stripped, strict=True))))
                continue
            broken.append(_wrong_length(path, line, header, values, separator))
            if not keep_going:
                raise AnnotationError(broken[0])
    except csv.Error as error:
        raise AnnotationError(
            f"{path}, line {reader.line_num + skipped}: not a CSV file separated by "
            f"{_SEPARATORS[separator]}s: {error}. Save it as CSV (UTF-8, comma separated)."
        ) from error
    if broken and not rows:
        raise AnnotationError(broken[0])
    return Table(path, header, tuple(rows), separator, text.encoding, tuple(broken))


def _separator(content: str) -> str:
    """Return the separator that yields the most columns; a comma if there is only one column."""
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


def _header(
    path: Path, values: Sequence[str], required: Sequence[str], separator: str
) -> tuple[str, ...]:
    """Check the column names; drop the empty ones that spreadsheets append."""
    header = tuple(name.strip() for name in values)
    if not any(header):
        raise AnnotationError(
            f"{path}: the table is empty. Expected a first line with the column names."
        )
    missing = [name for name in required if name not in header]
    if missing:
        raise AnnotationError(
            f"{path}, line 1: the header lacks {', '.join(missing)}. Received: "
            f"{', '.join(header)[:200]!r} (separated by {_SEPARATORS[separator]}s). Rename "
            "the columns, or choose another file."
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise AnnotationError(
            f"{path}, line 1: there are two columns {twice[0]!r}. Rename one of them."
        )
    return header[: max(i for i, name in enumerate(header, start=1) if name)]


def _wrong_length(
    path: Path, line: int, header: tuple[str, ...], values: list[str], separator: str
) -> str:
    hint = ""
    if separator == "," and len(values) > len(header):
        hint = ". Numbers with decimal commas need another separator, such as the semicolon"
    return (
        f"{path}, line {line}: expected {len(header)} values separated by "
        f"{_SEPARATORS[separator]}s ({', '.join(header)}). Received {len(values)}: "
        f"{separator.join(values)[:200]!r}{hint}"
    )
