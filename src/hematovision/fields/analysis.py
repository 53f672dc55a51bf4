"""The analyses of fields: their cells and counts, as rows, arrays, tables and plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as column
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from hematovision import figures, images
from hematovision.errors import ImageError
from hematovision.fields.counts import Counts, Differential, Tally
from hematovision.fields.overlay import draw_cells
from hematovision.fields.rows import CELL_CLASSES, CELL_SCHEMA, CellRow, FieldRow, table_schema
from hematovision.frames import data_frame
from hematovision.listing import Listing
from hematovision.model.inference import Source
from hematovision.paths import shown
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = ["PLOTTED", "FieldAnalyses", "FieldAnalysis"]

_PANEL = 8.0  # inches, the width of a plotted field
PLOTTED = 12
"""How many fields a figure shows."""


@dataclass(frozen=True)
class FieldAnalysis:
    """The cells of one field.

    Parameters
    ----------
    field : FieldRow
        Size, scale, counts and quality; ``error`` if the image could not be read.
    cells : tuple of CellRow
        All cells, also those that the edge rule does not count, top to bottom; boxes are in pixels
        of the image as displayed.
    subtypes : tuple of str
        The classes of the classifier of white cells; empty without one.
    source : path, bytes, ndarray or None
        Where `plot` reads the image; None for the file named in `field`.

    Examples
    --------
    >>> import hematovision
    >>> analysis = hematovision.FieldAnalyzer.load().predict("field.png")[0]
    >>> analysis
    FieldAnalysis('field.png': 35 RBC, 1 WBC, 3 Platelets)
    >>> analysis.counts["RBC"], analysis.field.scale_source
    (35, 'red cells')
    >>> analysis.boxes.shape == (len(analysis.cells), 4)
    True
    >>> analysis.to_pandas()["label"].tolist().count("WBC")
    1
    >>> analysis.plot().savefig("cells.png")
    """

    field: FieldRow
    cells: tuple[CellRow, ...] = ()
    subtypes: tuple[str, ...] = ()
    source: Source | None = column(default=None, compare=False)

    def __repr__(self) -> str:
        return f"FieldAnalysis({self.field.image!r}: {_summary(self.field)})"

    @property
    def counts(self) -> dict[str, int]:
        """The counted cells by label, including those for review; 0 if it could not be read."""
        return _counts([self.field])

    @property
    def differential(self) -> Differential:
        """The white cells by kind, with limits from 50 white cells on, and nucleated red cells."""
        return self.statistics.differential

    @cached_property
    def statistics(self) -> Counts:
        """All counts with their limits: differential, platelets per 1,000 red cells, sizes."""
        return _statistics([self], self.subtypes)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """The boxes of `cells` as ``x_min, y_min, x_max, y_max`` in pixels, shape (N, 4)."""
        boxes = [(cell.x_min, cell.y_min, cell.x_max, cell.y_max) for cell in self.cells]
        return np.array(boxes, np.float64).reshape(-1, 4)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of `cells`."""
        return tuple(cell.label for cell in self.cells)

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row per cell and the columns of ``cells.csv``.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return data_frame(CELL_SCHEMA, self.cells)

    def image(self) -> NDArray[np.uint8]:
        """Read the field: RGB uint8 (H, W, 3).

        Raises
        ------
        ImageError
            If it cannot be read, or was in memory and is not kept.
        """
        source = self.field.image if self.source is None else self.source
        if isinstance(source, np.ndarray):
            return source
        if isinstance(source, str | Path | bytes):
            return images.read(source, name=self.field.image)
        name = self.field.image
        raise source if isinstance(source, ImageError) else ImageError(name, "not an image")

    def overlay(self) -> NDArray[np.uint8]:
        """Return the field with the outlines of its cells and a legend, RGB uint8 (H, W, 3).

        Cells for review are dashed, cells that do not count faint: the overlay of
        ``hematovision analyze --overlays``.

        Raises
        ------
        ImageError
            If the image cannot be read.
        """
        diameter = self.field.rbc_diameter_px
        return draw_cells(self.image(), self.cells, rbc_diameter_px=diameter)

    def plot(self) -> Figure:
        """Return a matplotlib figure of `overlay`.

        Raises
        ------
        ImageError
            If the image cannot be read.
        MissingExtraError
            If matplotlib is not installed.
        """
        panel = figures.Panel(self.overlay(), f"{shown(self.field.image)}: {_summary(self.field)}")
        return figures.show(figures.image_grid([panel], side=_PANEL))


class FieldAnalyses(Sequence[FieldAnalysis]):
    """The analyses of N images, in order; a slice is also `FieldAnalyses`.

    Parameters
    ----------
    analyses : iterable of FieldAnalysis
        Of one analyzer.
    subtypes : tuple of str
        The classes of its classifier of white cells; empty without one.

    Examples
    --------
    >>> import hematovision
    >>> analyses = hematovision.FieldAnalyzer.load().predict("fields")
    >>> analyses
    FieldAnalyses: 2 fields: 64 RBC, 2 WBC, 6 Platelets; 1 to review
      image         RBC  WBC  Platelets  review  flags
      fields/a.png   35    1          3       0
      fields/b.png   29    1          3       1
    >>> analyses.counts["RBC"] == sum(one.counts["RBC"] for one in analyses)
    True
    >>> analyses.differential.n
    2
    >>> analyses.to_pandas("fields")["rbc"].tolist()
    [35, 29]
    """

    def __init__(self, analyses: Iterable[FieldAnalysis], subtypes: tuple[str, ...] = ()) -> None:
        self._all = tuple(analyses)
        self.subtypes = subtypes

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[FieldAnalysis]:
        return iter(self._all)

    @overload
    def __getitem__(self, index: int) -> FieldAnalysis: ...
    @overload
    def __getitem__(self, index: slice) -> FieldAnalyses: ...
    def __getitem__(self, index: int | slice) -> FieldAnalysis | FieldAnalyses:
        if isinstance(index, slice):
            return FieldAnalyses(self._all[index], self.subtypes)
        return self._all[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FieldAnalyses | list | tuple):
            return self._all == tuple(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return self._listing.text()

    def _repr_html_(self) -> str:
        return self._listing.html()

    @property
    def fields(self) -> tuple[FieldRow, ...]:
        """The row of each image."""
        return tuple(one.field for one in self._all)

    @property
    def cells(self) -> tuple[CellRow, ...]:
        """The cells of all images."""
        return tuple(chain.from_iterable(one.cells for one in self._all))

    @property
    def counts(self) -> dict[str, int]:
        """The counted cells of all images by label, including those for review."""
        return _counts(self.fields)

    @property
    def differential(self) -> Differential:
        """The white cells of all images by kind; see `FieldAnalysis.differential`."""
        return self.statistics.differential

    @cached_property
    def statistics(self) -> Counts:
        """All counts with their limits, over all images."""
        return _statistics(self._all, self.subtypes)

    def to_pandas(self, table: Literal["cells", "fields"] = "cells") -> DataFrame:
        """Return a data frame with the columns of ``cells.csv`` or ``fields.csv``.

        Parameters
        ----------
        table : {"cells", "fields"}
            Whether a row is a cell or an image.

        Raises
        ------
        ValueError
            If `table` is neither.
        MissingExtraError
            If pandas is not installed.
        """
        schema = table_schema(table)
        return data_frame(schema, self.cells if table == "cells" else self.fields)

    def plot(self, most: int = PLOTTED, *, columns: int = 2) -> Figure:
        """Return a matplotlib figure of the fields with the outlines of their cells.

        Parameters
        ----------
        most : int
            How many fields to show, from the first.
        columns : int
            Fields per row.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        panels = [_panel(one) for one in self._all[: max(0, most)]]
        left_out = len(self) > len(panels)
        title = f"{len(panels)} of {counted(len(self), 'field')}" if left_out else ""
        return figures.show(figures.image_grid(panels, columns, title, side=_PANEL / 2))

    @property
    def _listing(self) -> Listing[FieldAnalysis]:
        return Listing(self._title, _COLUMNS, self._all, _listed)

    @property
    def _title(self) -> str:
        unreadable = sum(bool(one.error) for one in self.fields)
        refused = f", {unreadable:,} refused" if unreadable else ""
        found = f": {_cells_text(self.fields)}" if len(self) > unreadable else ""
        return f"FieldAnalyses: {counted(len(self), 'field')}{refused}{found}"


_COLUMNS = ("image", *CELL_CLASSES, "review", "flags")


def _listed(one: FieldAnalysis) -> tuple[str, ...]:
    row = one.field
    numbers = (row.rbc, row.wbc, row.platelets, row.review)
    return row.image, *("" if n is None else f"{n:,}" for n in numbers), row.error or row.flags


def _panel(one: FieldAnalysis) -> figures.Panel:
    try:
        pixels = None if one.field.error else one.overlay()
    except ImageError:  # changed since it was analysed
        pixels = None
    flagged = bool(one.field.error or one.field.problems)
    title = "Not read" if one.field.error else _summary(one.field)
    return figures.Panel(pixels, title, shown(one.field.image), is_flagged=flagged)


def _summary(row: FieldRow) -> str:
    return f"refused: {row.error}" if row.error else _cells_text([row])


def _cells_text(rows: Sequence[FieldRow]) -> str:
    """Return the counted cells in words."""
    review = sum(row.review or 0 for row in rows)
    text = ", ".join(f"{n:,} {label}" for label, n in _counts(rows).items())
    return f"{text}; {review:,} to review" if review else text


def _counts(rows: Sequence[FieldRow]) -> dict[str, int]:
    totals = [sum(n or 0 for n in ns) for ns in zip(*map(_numbers, rows), strict=True)]
    return dict(zip(CELL_CLASSES, totals or [0] * len(CELL_CLASSES), strict=True))


def _numbers(row: FieldRow) -> tuple[int | None, ...]:
    return row.rbc, row.wbc, row.platelets


def _statistics(analyses: Iterable[FieldAnalysis], subtypes: Sequence[str]) -> Counts:
    tally = Tally(subtypes)
    for one in analyses:
        tally.add(one.field, one.cells)
    return tally.counts()
