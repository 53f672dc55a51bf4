"""Rows of a field analysis: one per cell, and one per field or region of a slide.

An analysis yields both kinds together, in the columns of `ANALYSIS_SCHEMA`; `split` separates them
into the tables ``cells`` and ``fields``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from hematovision.rows import ERROR, Column, Schema, Value

__all__ = [
    "ANALYSIS_SCHEMA", "CELL_CLASSES", "CELL_SCHEMA", "FEW_CELLS", "FIELD_SCHEMA", "NO_RED_CELLS",
    "SKIPPED", "TOO_FEW_CELLS", "AnalysisRow", "CellRow", "FieldRow", "combine", "join_flags",
    "parse", "split", "table_schema",
]  # fmt: skip

CELL_CLASSES = ("RBC", "WBC", "Platelets")
"""The classes of cells in a field, in the order of the columns."""

SKIPPED = "background skipped"
"""The flag of a region of a slide that shows no cells and was not analysed; it is not a problem."""

NO_RED_CELLS, TOO_FEW_CELLS = "no red cells found", "too few cells"

FEW_CELLS = 5
"""With fewer red cells a field has too few: the standard error of their median width is above 4%,
and counts mean little."""

CELL_SCHEMA = Schema(
    (
        Column("image"),
        *(Column(name, "number") for name in ("x_min", "y_min", "x_max", "y_max")),
        Column("label"),
        Column("confidence", "number"),
        Column("decision"),
        Column("reason"),
        Column("subtype"),
        Column("subtype_confidence", "number", required=False),
        *(Column(f"p_{name}", "number") for name in CELL_CLASSES),
        Column("on_edge", "flag"),
        Column("counted", "flag"),
        Column("source"),
        Column(ERROR),
    )
)
"""The columns of ``cells.csv``."""

FIELD_SCHEMA = Schema(
    (
        Column("image"),
        Column("region"),
        Column("width", "integer"),
        Column("height", "integer"),
        Column("rbc_diameter_px", "number", required=False),
        Column("um_per_px", "number", required=False),
        Column("scale_source"),
        *(Column(name, "integer") for name in ("rbc", "wbc", "platelets", "review")),
        Column("focus", "number", required=False),
        Column("overlap", "number", required=False),
        Column("saturation", "number", required=False),
        Column("flags"),
        Column(ERROR),
    )
)
"""The columns of ``fields.csv``."""


def table_schema(table: str) -> Schema:
    """Return the columns of the table ``"cells"`` or ``"fields"``; `ValueError` for another."""
    schema = {"cells": CELL_SCHEMA, "fields": FIELD_SCHEMA}.get(table)
    if schema is None:
        raise ValueError(f"`table` must be 'cells' or 'fields'. Received: {table!r}")
    return schema


def _optional(schema: Schema) -> list[Column]:
    own = [column for column in schema.columns if column.name not in ("image", ERROR)]
    return [Column(column.name, column.type, required=False) for column in own]


ANALYSIS_SCHEMA = Schema(
    (
        Column("image"),
        Column("row"),
        *_optional(FIELD_SCHEMA),
        *_optional(CELL_SCHEMA),
        Column(ERROR),
    )
)
"""The columns of both kinds of rows; ``row`` is ``field`` or ``cell``.

The columns of the other kind are empty.
"""


@dataclass(frozen=True, slots=True)
class CellRow:
    """One cell of a field.

    Examples
    --------
    >>> import hematovision
    >>> analysis = hematovision.FieldAnalyzer.load().predict("field.png")[0]
    >>> (cell,) = [one for one in analysis.cells if one.label == "WBC"]
    >>> cell.decision, cell.counted, cell.x_max > cell.x_min
    ('accepted', True, True)
    """

    schema: ClassVar[Schema] = CELL_SCHEMA

    image: str  # as passed by the caller
    # the box in pixels of the image as displayed; of a slide, pixels of level 0
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    label: str  # one of `CELL_CLASSES`
    confidence: float  # the probability of `label`
    decision: Literal["accepted", "review"]
    reason: str  # why it needs review; else empty
    subtype: str  # the kind of white cell; empty if not classified
    subtype_confidence: float | None
    p_RBC: float  # noqa: N815 - the names of the columns
    p_WBC: float  # noqa: N815
    p_Platelets: float  # noqa: N815
    on_edge: bool  # whether the border of the field, or of its visible circle, cuts the cell
    counted: bool  # whether it counts by the edge rule
    source: Literal["model", "person"] = "model"
    error: str = ""

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> CellRow:
        """Restore a cell from `values` or a row of `ANALYSIS_SCHEMA`.

        Raises `KeyError`, `TypeError` or `ValueError` if a value is missing or invalid.
        """
        given = {name: values[name] for name in CELL_SCHEMA.names}
        CELL_SCHEMA.check(given)
        if given["label"] not in CELL_CLASSES or given["decision"] not in ("accepted", "review"):
            raise ValueError(f"not a cell: {given}")
        return cls(**given)

    def values(self) -> dict[str, Value]:
        """Return the values by column."""
        return {name: getattr(self, name) for name in CELL_SCHEMA.names}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field, or one region of a slide; an unreadable image has one with an error.

    Examples
    --------
    >>> import hematovision
    >>> field = hematovision.FieldAnalyzer.load().predict("field.png")[0].field
    >>> field.width, field.height, field.rbc, field.problems
    (640, 480, 35, ())
    """

    schema: ClassVar[Schema] = FIELD_SCHEMA

    image: str  # as passed by the caller
    region: str = ""  # "x,y,width,height" in pixels of level 0; empty for a whole image
    width: int | None = None  # in pixels
    height: int | None = None
    rbc_diameter_px: float | None = None  # median red cell; None if unknown
    um_per_px: float | None = None
    # "red cells", "--rbc-diameter", "--um-per-px", "metadata" or "none"
    scale_source: str = "none"
    rbc: int | None = None  # counted cells by label, accepted or not
    wbc: int | None = None
    platelets: int | None = None
    review: int | None = None  # counted cells that need review
    focus: float | None = None  # see `quality.measure`
    overlap: float | None = None  # share of red cells that overlap others
    saturation: float | None = None  # share of saturated pixels
    flags: str = ""  # what limits the use of the field, separated by "; "
    error: str = ""  # why it could not be read

    @property
    def problems(self) -> tuple[str, ...]:
        """The flags that limit the use of the field."""
        flags = tuple(flag for flag in self.flags.split("; ") if flag)
        return tuple(flag for flag in flags if not flag.startswith(SKIPPED))

    @classmethod
    def unreadable(cls, image: str, reason: str, region: str = "") -> FieldRow:
        """Return the row of an image or region that could not be read."""
        return cls(image, region, error=reason)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> FieldRow:
        """Restore a field from `values` or a row of `ANALYSIS_SCHEMA`.

        Raises `KeyError`, `TypeError` or `ValueError` if a value is missing or invalid.
        """
        given = {name: values[name] for name in FIELD_SCHEMA.names}
        FIELD_SCHEMA.check(given)
        return cls(**given)

    def values(self) -> dict[str, Value]:
        """Return the values by column."""
        return {name: getattr(self, name) for name in FIELD_SCHEMA.names}


_EMPTY: Mapping[str, Value] = {
    column.name: "" if column.type == "text" else None for column in ANALYSIS_SCHEMA.columns
}


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    """A cell or a field, in the columns of `ANALYSIS_SCHEMA`."""

    schema: ClassVar[Schema] = ANALYSIS_SCHEMA

    of: CellRow | FieldRow

    def values(self) -> dict[str, Value]:
        """Return the values by column."""
        kind = "cell" if isinstance(self.of, CellRow) else "field"
        return {**_EMPTY, **self.of.values(), "row": kind}


_Given: TypeAlias = AnalysisRow | Mapping[str, Any]


def parse(values: Mapping[str, Any]) -> CellRow | FieldRow:
    """Restore a cell or field from a row of `ANALYSIS_SCHEMA`.

    Raises `KeyError`, `TypeError` or `ValueError` if it is neither.
    """
    kind = values["row"]
    if kind == "cell":
        return CellRow.from_values(values)
    if kind == "field":
        return FieldRow.from_values(values)
    raise ValueError(f"the column 'row' must be 'cell' or 'field'. Received: {kind!r}")


def split(rows: Iterable[_Given]) -> tuple[list[CellRow], list[FieldRow]]:
    """Separate the rows of an analysis into cells and fields, each in order.

    For more cells than fit into memory, call `parse` on one row after the other.
    """
    cells: list[CellRow] = []
    found: list[FieldRow] = []
    for row in rows:
        one = row.of if isinstance(row, AnalysisRow) else parse(row)
        if isinstance(one, CellRow):
            cells.append(one)
        else:
            found.append(one)
    return cells, found


def combine(
    regions: Sequence[FieldRow], *, width: int | None = None, height: int | None = None
) -> FieldRow:
    """Combine the regions of one image into one row.

    Counts are summed. Focus and saturation are means weighted by area, the overlap by red cells,
    the scale by red cells too. A flag states in how many regions it occurs, unless it is all of
    them. Few or no red cells are a flag only if the whole image has few or none; the share of the
    area that was skipped as background is always stated. If some regions could not be read, a flag
    states how many; if none could, the row has the error of the first.

    Parameters
    ----------
    regions : sequence of FieldRow
        At least one, all of the same image. Each pixel belongs to one region.
    width, height : int, optional
        Size of the image in pixels; by default of the rectangle around the regions.

    Raises
    ------
    ValueError
        If there is no region, or they belong to several images.
    """
    names = {region.image for region in regions}
    if len(names) != 1:
        raise ValueError(f"`regions` must be of one image. Received: {sorted(names)}")
    if len(regions) == 1 and not regions[0].region:
        return regions[0]
    read = [region for region in regions if not region.error]
    if not read:
        return FieldRow.unreadable(regions[0].image, regions[0].error)
    found_width, found_height = _extent(read)
    areas = [(one.width or 0) * (one.height or 0) for one in read]
    reds = [one.rbc or 0 for one in read]
    flags = _common_flags(read)
    if len(read) < len(regions):
        flags.append(f"{len(regions) - len(read)} of {len(regions)} regions could not be read")
    return FieldRow(
        image=regions[0].image,
        width=width or found_width,
        height=height or found_height,
        rbc_diameter_px=_mean([one.rbc_diameter_px for one in read], reds),
        um_per_px=_mean([one.um_per_px for one in read], reds),
        scale_source=next((r.scale_source for r in read if r.scale_source != "none"), "none"),
        rbc=_total(one.rbc for one in read),
        wbc=_total(one.wbc for one in read),
        platelets=_total(one.platelets for one in read),
        review=_total(one.review for one in read),
        focus=_mean([one.focus for one in read], areas),
        overlap=_mean([one.overlap for one in read], reds),
        saturation=_mean([one.saturation for one in read], areas),
        flags=join_flags(flags),
    )


def join_flags(flags: Iterable[str]) -> str:
    """Return flags as text, each once, in order."""
    return "; ".join(dict.fromkeys(flag for flag in flags if flag))


def _total(values: Iterable[int | None]) -> int:
    return sum(value or 0 for value in values)


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of known values; unweighted if all weights are zero."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    if not known:
        return None
    total = sum(weight for _, weight in known)
    if not total:
        return sum(value for value, _ in known) / len(known)
    return sum(value * weight for value, weight in known) / total


def _extent(regions: Sequence[FieldRow]) -> tuple[int, int]:
    boxes = []
    for one in regions:
        match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", one.region)
        x, y, w, h = map(int, match.groups()) if match else (0, 0, one.width or 0, one.height or 0)
        boxes.append((x, y, x + w, y + h))
    left, top, right, bottom = zip(*boxes, strict=True)
    return max(right) - min(left), max(bottom) - min(top)


def _common_flags(regions: Sequence[FieldRow]) -> list[str]:
    """Return the flags of an image with several regions."""
    seen = [one for one in regions if one.flags != SKIPPED]
    of_all = (SKIPPED, NO_RED_CELLS, TOO_FEW_CELLS)
    counts = Counter(flag for one in seen for flag in one.problems if flag not in of_all)
    n, reds = len(seen), _total(one.rbc for one in regions)
    found = [NO_RED_CELLS] if not reds else [TOO_FEW_CELLS] if reds < FEW_CELLS else []
    found += [
        flag if times == n else f"{flag} ({times} of {n} regions)" for flag, times in counts.items()
    ]
    areas = [(one.width or 0) * (one.height or 0) for one in regions]
    skipped = sum(areas) - sum((one.width or 0) * (one.height or 0) for one in seen)
    return [*found, f"{SKIPPED} ({skipped / sum(areas):.0%} of the area)"] if skipped else found
