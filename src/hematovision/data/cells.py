"""``cells.csv``: the origin of each cell image in an imported dataset.

The file is in the dataset's root and has one row per cell image, with the columns of `COLUMNS`:
``file`` (relative to the root, forward slashes), ``source`` (the field's image, relative to the
imported folder), ``field`` (its name), ``lab``, the box in pixels of the field (``xmin, ymin,
xmax, ymax``; the last two exclusive; empty if there is none), ``touches_border`` (true or false),
``class``, ``split`` (train, valid, test or empty) and ``group`` (images that must stay in one
split). Text that a spreadsheet would read as a formula starts with an apostrophe, which
`read_cells` removes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hematovision.data.samples import SPLITS, Split
from hematovision.data.textfiles import Row, read_table
from hematovision.files import write_text
from hematovision.images.boxes import Box, show_box
from hematovision.paths import csv_text

__all__ = ["CELLS_FILE", "COLUMNS", "Cell", "read_cells", "write_cells"]

CELLS_FILE = "cells.csv"

_BOX = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("file", "source", "field", "lab", *_BOX, "touches_border", "class", "split", "group")

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of ``cells.csv``; the module's docstring lists its columns."""

    file: str
    source: str
    field: str
    lab: str | None
    box: Box | None
    label: str
    split: Split | None = None
    touches_border: bool = False
    group: str = ""


def read_cells(path: Path) -> list[Cell]:
    """Read a ``cells.csv``.

    Raises `AnnotationError` if it can't be read; the message names the file and the line.
    """
    cells: list[Cell] = []
    seen: dict[str, int] = {}
    for row in read_table(path, COLUMNS).rows:
        cell = _cell(row)
        first = seen.setdefault(cell.file, row.line)
        if first != row.line:
            raise row.error(f"the file {cell.file!r} is already on line {first}. Remove one line.")
        cells.append(cell)
    return cells


def write_cells(path: Path, cells: Iterable[Cell]) -> Path:
    """Write a ``cells.csv``, which `read_cells` reads back unchanged.

    Raises `OutputError` if `path` can't be written.
    """
    rows: list[Sequence[str]] = [COLUMNS]
    for cell in cells:
        box = ("",) * 4 if cell.box is None else tuple(map(_number, cell.box))
        flag = "true" if cell.touches_border else "false"
        place = (cell.file, cell.source, cell.field, cell.lab or "")
        rows.append((*place, *box, flag, cell.label, cell.split or "", cell.group))
    return write_text(path, csv_text(rows))


def _cell(row: Row) -> Cell:
    if not row["file"] or not row["class"]:
        raise row.error("the columns 'file' and 'class' must not be empty.")
    flag = _FLAGS.get(row["touches_border"].casefold())
    if flag is None:
        raise row.error(
            f"touches_border must be true or false. Received: {row['touches_border']!r}"
        )
    split = next((s for s in SPLITS if s == row["split"]), None)
    if split is None and row["split"]:
        raise row.error(f"split must be train, valid, test or empty. Received: {row['split']!r}")
    return Cell(
        file=row["file"],
        source=row["source"],
        field=row["field"],
        lab=row["lab"] or None,
        box=_box(row),
        label=row["class"],
        split=split,
        touches_border=flag,
        group=row["group"],
    )


def _box(row: Row) -> Box | None:
    if not any(row[column] for column in _BOX):
        return None
    xmin, ymin, xmax, ymax = (row.number(column) for column in _BOX)
    box = (xmin, ymin, xmax, ymax)
    if not all(map(math.isfinite, box)) or xmax <= xmin or ymax <= ymin:
        raise row.error(
            f"the box {show_box(box)} has no area. Expected xmin < xmax and ymin < ymax."
        )
    return box


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(float(value))
