"""The crop rule, and ``cells.csv``, which remembers where each cell image comes from.

The crop rule, the only one in this project:

1. The box is clipped to its field. A box that is not finite, is turned inside out, lies outside
   the field, or has a side under `MIN_SIDE` pixels after clipping shows no cell: *degenerate*.
2. The cell image is a square around the centre of the clipped box. Its side is `CONTEXT` times the
   box's longer side, rounded to whole pixels, at least 1: a cell keeps its shape, and a little of
   what is around it.
3. What of the square lies outside the field repeats the field's border pixels.
4. A box that reaches to within `BORDER` pixel of the field's border is flagged ``touches_border``:
   its cell is probably cut.

``cells.csv`` stands at the root of an imported dataset, one line a cell image, with the columns of
`COLUMNS`: ``file`` (relative to the root, forward slashes), ``source`` (the field's image, relative
to the imported folder), ``field`` (its name), ``lab``, the box in pixels of the field
(``xmin, ymin, xmax, ymax``; the last two exclusive; empty where there is none),
``touches_border`` (true or false), ``class``, ``split`` (train, valid, test or empty) and ``group``
(what must stay on one side of a split). Text that a spreadsheet would take for a formula has an
apostrophe in front, which `read_cells` takes away.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision.data.samples import SPLITS, Box, Split
from hematovision.data.tables import Row, read_table
from hematovision.errors import AnnotationError
from hematovision.files import write_text
from hematovision.names import csv_row

__all__ = [
    "BORDER",
    "CELLS_FILE",
    "COLUMNS",
    "CONTEXT",
    "MIN_SIDE",
    "Cell",
    "clip_box",
    "crop",
    "read_cells",
    "write_cells",
]

CONTEXT = 1.2
"""Side of a cell image, in longer sides of its box."""

MIN_SIDE = 2.0
"""Sides under this many pixels show no cell."""

BORDER = 1.0
"""A box this near to the field's border, in pixels, touches it."""

CELLS_FILE = "cells.csv"

_BOX = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("file", "source", "field", "lab", *_BOX, "touches_border", "class", "split", "group")

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of ``cells.csv``; the module's docstring tells its columns."""

    file: str
    source: str
    field: str
    lab: str | None
    box: Box | None
    label: str
    split: Split | None = None
    touches_border: bool = False
    group: str = ""


def clip_box(box: Box, width: int, height: int) -> Box:
    """Clip a box to its field.

    Parameters
    ----------
    box : Box
        ``(xmin, ymin, xmax, ymax)`` in pixels.
    width, height : int
        The field's size in pixels.

    Returns
    -------
    Box
        The part of the box inside the field.

    Raises
    ------
    AnnotationError
        If the box is degenerate; the message is the reason.
    """
    xmin, ymin, xmax, ymax = box
    if not all(map(math.isfinite, box)):
        raise AnnotationError(f"the box {_show(box)} has a side that is not a number")
    if xmax <= xmin or ymax <= ymin:
        raise AnnotationError(f"the box {_show(box)} has no area (xmax <= xmin or ymax <= ymin)")
    if xmax <= 0 or ymax <= 0 or xmin >= width or ymin >= height:
        raise AnnotationError(f"the box {_show(box)} lies outside the {width}x{height} field")
    clipped = (max(xmin, 0.0), max(ymin, 0.0), min(xmax, float(width)), min(ymax, float(height)))
    sides = (clipped[2] - clipped[0], clipped[3] - clipped[1])
    if min(sides) < MIN_SIDE:
        raise AnnotationError(
            f"the box {_show(box)} has {sides[0]:g}x{sides[1]:g} pixels in the field; a cell has "
            f"at least {MIN_SIDE:g} a side"
        )
    return clipped


def crop(
    field: NDArray[np.uint8], box: Box, context: float = CONTEXT
) -> tuple[NDArray[np.uint8], bool]:
    """Cut one cell out of its field, by the crop rule of this module.

    Parameters
    ----------
    field : ndarray of uint8, shape (H, W, 3)
        The field.
    box : Box
        The cell's box in pixels of the field.
    context : float
        Side of the square, in longer sides of the box.

    Returns
    -------
    image : ndarray of uint8, shape (S, S, 3)
        The cell image, a copy.
    touches_border : bool
        Whether the box reaches to within `BORDER` pixel of the field's border.

    Raises
    ------
    AnnotationError
        If the box is degenerate.

    Examples
    --------
    >>> field = np.zeros((100, 200, 3), np.uint8)
    >>> image, touches_border = crop(field, (50.0, 40.0, 60.0, 60.0))
    >>> image.shape, touches_border
    ((24, 24, 3), False)
    """
    height, width = field.shape[:2]
    clipped = clip_box(box, width, height)
    xmin, ymin, xmax, ymax = clipped
    side = max(1, _round(context * max(xmax - xmin, ymax - ymin)))
    left, top = _round((xmin + xmax - side) / 2), _round((ymin + ymax - side) / 2)
    # Clamped indices repeat the border pixels without making a padded copy of the whole field.
    rows = np.arange(top, top + side).clip(0, height - 1)
    columns = np.arange(left, left + side).clip(0, width - 1)
    touches = xmin <= BORDER or ymin <= BORDER or xmax >= width - BORDER or ymax >= height - BORDER
    return field[rows][:, columns], touches


def read_cells(path: Path) -> list[Cell]:
    """Read a ``cells.csv``.

    Raises
    ------
    AnnotationError
        If it cannot be understood: the message names the file and the line.
    """
    cells: list[Cell] = []
    seen: dict[str, int] = {}
    for row in read_table(path, COLUMNS).rows:
        cell = _cell(row)
        first = seen.setdefault(cell.file, row.line)
        if first != row.line:
            raise row.error(f"the file {cell.file!r} is already in line {first}. Remove one line.")
        cells.append(cell)
    return cells


def write_cells(path: Path, cells: Iterable[Cell]) -> Path:
    """Write a ``cells.csv``, read back unchanged by `read_cells`.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in cells:
        box = ("",) * 4 if cell.box is None else tuple(map(_number, cell.box))
        flag = "true" if cell.touches_border else "false"
        place = (cell.file, cell.source, cell.field, cell.lab or "")
        writer.writerow(csv_row((*place, *box, flag, cell.label, cell.split or "", cell.group)))
    return write_text(path, stream.getvalue())


def _cell(row: Row) -> Cell:
    if not row["file"] or not row["class"]:
        raise row.error("the columns 'file' and 'class' may not be empty.")
    flag = _FLAGS.get(row["touches_border"].casefold())
    if flag is None:
        raise row.error(
            f"touches_border should be true or false. Received: {row['touches_border']!r}"
        )
    split = next((s for s in SPLITS if s == row["split"]), None)
    if split is None and row["split"]:
        raise row.error(f"split should be train, valid, test or empty. Received: {row['split']!r}")
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
        raise row.error(f"the box {_show(box)} has no area. Expected xmin < xmax and ymin < ymax.")
    return box


def _round(value: float) -> int:
    # Python's round() goes to even, which would shift every second half-pixel crop.
    return math.floor(value + 0.5)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(float(value))


def _show(box: Box) -> str:
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"
