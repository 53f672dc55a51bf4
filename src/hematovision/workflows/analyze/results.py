"""The results of an analysis, read from its store: images, their cells, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from hematovision.fields.analysis import FieldAnalyses, FieldAnalysis
from hematovision.fields.rows import (
    CELL_SCHEMA,
    FIELD_SCHEMA,
    SKIPPED,
    CellRow,
    FieldRow,
    combine,
)
from hematovision.rows import Value
from hematovision.tables.reading import read_table
from hematovision.tables.store import RunItem

__all__ = ["AnalyzedImage", "Results", "read_analyses"]

Values: TypeAlias = Mapping[str, Value]
RowsOf: TypeAlias = Callable[[RunItem], Sequence[Values]]


@dataclass(frozen=True)
class AnalyzedImage:
    """One image: its row of ``fields.csv``, and its cells."""

    items: tuple[RunItem, ...]  # the image, or its regions
    field: FieldRow
    _rows_of: RowsOf

    def parts(self) -> Iterator[tuple[FieldRow, Iterator[CellRow]]]:
        """Yield the field, or each region of it, with its cells.

        Skipped background is left out; an image of nothing else is one field.
        """
        is_empty = True
        for item in self.items:
            field, cells = None, list[Values]()
            for values in self._rows_of(item):
                if values["row"] == "field":
                    field = FieldRow.from_values(values)
                else:
                    cells.append(values)
            assert field is not None  # every item has the row of its field
            if field.flags != SKIPPED:
                is_empty = False
                yield field, map(CellRow.from_values, cells)
        if is_empty:
            yield self.field, iter(())

    def cells(self) -> Iterator[CellRow]:
        """Yield the cells, region by region."""
        for _, cells in self.parts():
            yield from cells


class Results:
    """The rows of all images of a run, in order.

    Each method reads them again, so memory does not grow with their number.

    `items` are the items of the run, `rows_of` returns the rows of an item.
    """

    def __init__(self, items: Iterable[RunItem], rows_of: RowsOf) -> None:
        self._items, self._rows_of = items, rows_of

    def first_items(self) -> list[RunItem]:
        """Return the item of each image, or the first of its regions."""
        return [next(group) for _, group in groupby(self._items, lambda item: item.path)]

    def images(self) -> Iterator[AnalyzedImage]:
        """Yield the images in order."""
        for _, group in groupby(self._items, lambda item: item.path):
            yield self._image(tuple(group))

    def fields(self) -> Iterator[FieldRow]:
        """Yield the row of each image."""
        for image in self.images():
            yield image.field

    def _image(self, items: tuple[RunItem, ...]) -> AnalyzedImage:
        if items[0].region:
            return AnalyzedImage(items, combine(list(self._fields(items))), self._rows_of)
        rows = self._rows_of(items[0])  # read once, for both kinds of rows
        (field,) = (FieldRow.from_values(row) for row in rows if row["row"] == "field")
        return AnalyzedImage(items, field, lambda _: rows)

    def _fields(self, items: Iterable[RunItem]) -> Iterator[FieldRow]:
        for item in items:
            for row in self._rows_of(item):
                if row["row"] == "field":
                    yield FieldRow.from_values(row)


def read_analyses(folder: Path, most: int) -> FieldAnalyses:
    """Read the tables of an analysis: all fields, and the cells of the first `most`.

    Raises `OutputError` if there is no such table.
    """
    fields = [FieldRow.from_values(row) for row in read_table(folder, "fields", FIELD_SCHEMA)]
    cells: dict[str, list[CellRow]] = {field.image: [] for field in fields[: max(0, most)]}
    for row in read_table(folder, "cells", CELL_SCHEMA):
        if row["image"] in cells:
            cells[str(row["image"])].append(CellRow.from_values(row))
    return FieldAnalyses(FieldAnalysis(one, tuple(cells.get(one.image, ()))) for one in fields)
