"""The options of an analysis, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hematovision.data.formats import FORMATS, is_written
from hematovision.fields.edges import EdgeRule
from hematovision.fields.scale import given_scale
from hematovision.fields.summary import Setting
from hematovision.model.registry import DEFAULT_DETECTOR, DEFAULT_SUBTYPES
from hematovision.regions import Region

__all__ = ["AnalyzeOptions", "TableFormat"]

TableFormat: TypeAlias = Literal["csv", "parquet", "jsonl"]

_MOST_RED, _MOST_WHITE = 20.0, 2000.0


@dataclass(frozen=True)
class AnalyzeOptions:
    """What `analyze` does with the images.

    Parameters
    ----------
    detector : str or Path
        A bundled detector's name or a run folder.
    classifier : str or Path, optional
        The classifier of white cells: a bundled model's name or a run folder; None for none.
    rbc_diameter : float, optional
        Width of a red cell in pixels, instead of the measured one.
    um_per_px : float, optional
        Micrometres per pixel, instead of the measured scale; excludes `rbc_diameter`.
    edges : {"two", "inside", "all"}
        Which cells at the border count: those at the top and left (Gundersen's rule), none, or all.
    format : {"csv", "parquet", "jsonl"}
        Of the tables ``cells`` and ``fields``.
    exports : tuple of str
        Formats for other programs, from `data.formats.FORMATS`.
    overlays : bool
        Whether to draw the cells on each image.
    region : str
        The part of each image to analyse, ``"x,y,width,height"`` in pixels (of level 0, if it is a
        slide); all by default.
    level : int
        The level of slides to analyse; 0 has the full resolution. Boxes are in pixels of level 0.
    rbc_count : float, optional
        The analyser's red cells in 10^12/L, for an estimate of platelets.
    wbc_count : float, optional
        The analyser's white cells in 10^9/L, for absolute numbers of white cells.

    Raises
    ------
    ValueError
        If a value is out of range, or two exclude each other.

    Examples
    --------
    >>> import hematovision
    >>> options = hematovision.AnalyzeOptions(edges="all", um_per_px=0.1)
    >>> options.settings()
    {'edges': 'all', 'um_per_px': 0.1}
    """

    detector: str | Path = DEFAULT_DETECTOR
    classifier: str | Path | None = DEFAULT_SUBTYPES
    rbc_diameter: float | None = None
    um_per_px: float | None = None
    edges: EdgeRule = "two"
    format: TableFormat = "csv"
    exports: tuple[str, ...] = ()
    overlays: bool = False
    region: str = ""
    level: int = 0
    rbc_count: float | None = None
    wbc_count: float | None = None

    def __post_init__(self) -> None:
        if self.rbc_diameter is not None and self.um_per_px is not None:
            raise ValueError(
                "`rbc_diameter` and `um_per_px` both set the scale. Pass one of them, or neither "
                "to measure it."
            )
        given_scale(rbc_diameter=self.rbc_diameter, um_per_px=self.um_per_px)
        _check("rbc_count", self.rbc_count, _MOST_RED, "10^12/L, such as 4.8")
        _check("wbc_count", self.wbc_count, _MOST_WHITE, "10^9/L, such as 7.5")
        if self.level < 0:
            raise ValueError(f"`level` must be 0 or above. Received: {self.level}")
        if self.region:
            try:
                box = Region.parse(Path(), self.region).box
            except ValueError as error:
                raise ValueError(f"`region`: {error}") from error
            object.__setattr__(self, "region", box)
        _check_exports(self.exports)
        if self.edges not in ("two", "inside", "all"):
            raise ValueError(f"`edges` must be two, inside or all. Received: {self.edges!r}")
        if self.format not in ("csv", "parquet", "jsonl"):
            raise ValueError(f"`format` must be csv, parquet or jsonl. Received: {self.format!r}")

    def settings(self) -> dict[str, Setting]:
        """Return what the counts depend on, apart from the models; without unused options."""
        given: dict[str, Setting] = {
            "rbc_diameter": self.rbc_diameter,
            "um_per_px": self.um_per_px,
            "region": self.region or None,
            "level": self.level or None,
        }
        return {"edges": self.edges, **{k: v for k, v in given.items() if v is not None}}


def _check_exports(names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise TypeError(f"`exports` must be a tuple of formats. Received: {names!r}")
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"`exports` must be among {', '.join(FORMATS)}. Received: {name!r}")
        if not is_written(name):
            raise ValueError(f"`exports`: the format {name!r} can be read, but not written.")


def _check(name: str, value: float | None, most: float, unit: str) -> None:
    if value is not None and not (math.isfinite(value) and 0 < value <= most):
        raise ValueError(
            f"`{name}` must be above 0 and at most {most:g}, in {unit}. Received: {value:g}"
        )
