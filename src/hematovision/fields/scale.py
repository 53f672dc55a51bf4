"""The scale of a field, measured with its red cells: the ruler that every field holds.

A red cell is about 7.2 um wide whatever the lab, the optics or the camera. The detector is trained
to find red cells of one width only, and nothing at a scale that is far off. So the search tries
scales, on a window of the field; where red cells appear, their detected width gives the scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.fields.tiles import FieldImage
from hematovision.model.detector import CellFinder, Detections

__all__ = [
    "LARGEST", "RED_CELL_UM", "SMALLEST", "Scale", "ScaleSource", "Sighting", "find_scale",
    "given_scale", "look", "red_cell_diameter", "unclipped",
]  # fmt: skip

RED_CELL_UM = 7.2
"""Diameter of a red cell in a dried smear in um (Bain 2015, "Blood Cells", 5th ed., p. 63: 6.7 to
7.7)."""

SMALLEST, LARGEST = 10.0, 700.0
"""Diameters of red cells, in pixels, between which the scale is searched."""

ScaleSource: TypeAlias = Literal["red cells", "--rbc-diameter", "--um-per-px", "metadata", "none"]


@dataclass(frozen=True)
class Scale:
    """The scale of a field."""

    diameter: float  # of the median red cell, in pixels; a guess if `source` is "none"
    source: ScaleSource
    um_per_px: float | None = None  # if known

    @property
    def known(self) -> bool:
        """Whether the scale was measured or given."""
        return self.source != "none"


def given_scale(
    *,
    rbc_diameter: float | None = None,
    um_per_px: float | None = None,
    metadata: float | None = None,
) -> Scale | None:
    """Return the scale that the user or the file states, or None.

    Parameters
    ----------
    rbc_diameter : float, optional
        Diameter of a red cell in pixels; takes precedence.
    um_per_px : float, optional
        Micrometres per pixel, by the user.
    metadata : float, optional
        Micrometres per pixel, by the file.

    Raises
    ------
    ValueError
        If a value of the user is not above 0 or not finite, or both are given. A useless value of
        the file is ignored.
    """
    for name, value in (("rbc_diameter", rbc_diameter), ("um_per_px", um_per_px)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"`{name}` must be a number above 0. Received: {value}")
    if rbc_diameter is not None and um_per_px is not None:
        raise ValueError("Give either `rbc_diameter` or `um_per_px`, not both.")
    if rbc_diameter is not None:
        return Scale(rbc_diameter, "--rbc-diameter")
    if um_per_px is not None:
        return Scale(RED_CELL_UM / um_per_px, "--um-per-px", um_per_px)
    if metadata is not None and math.isfinite(metadata) and metadata > 0:
        diameter = RED_CELL_UM / metadata
        if SMALLEST / 2 <= diameter <= 2 * LARGEST:
            return Scale(diameter, "metadata", metadata)
    return None


def unclipped(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which boxes (N, 4) are clear of the border of an image of `size` (width, height)."""
    limits = np.array(size, np.float32) - _BORDER
    return np.asarray((boxes[:, :2] > _BORDER).all(axis=1) & (boxes[:, 2:] < limits).all(axis=1))


def red_cell_diameter(found: Detections, reds: NDArray[np.bool_]) -> float | None:
    """Return the median of the mean of width and height of some cells, or None if there is none."""
    sides = found.boxes[reds, 2:] - found.boxes[reds, :2]
    return float(np.median(sides.mean(axis=1))) if len(sides) else None


_BORDER = 1.5  # pixels at the detector's scale
_WINDOW = 320  # side of the windows that are searched, in the same pixels
_ENOUGH = 12  # red cells after which no further window is searched
_SURE = 0.5  # confidence of the red cells that are measured
_STEP = 2.0  # between scales that are tried: the detector finds cells 0.65 to 1.5 times their width
_USUAL = 0.15  # a red cell in units of the field's shorter side, the first scale that is tried
_SETTLED = 0.03  # relative change of the diameter below which the search ends
_ROUNDS = 4
# A scale is certain, and no other is tried, with this many red cells, of this mean confidence,
# covering this share of the window.
_CERTAIN = (8, 0.7, 0.08)


@dataclass(frozen=True, eq=False)
class Sighting:
    """What the detector finds in a field, or in windows of it, at one scale."""

    diameter: float  # the scale: of red cells in the field, in pixels, if they are as expected
    found: Detections  # in the field scaled to `size`, or in the last window of it
    size: tuple[int, int]
    is_whole: bool  # whether the window was the whole field
    reds: int  # confident red cells clear of the window's border
    width: float  # their median width in pixels of the scaled field
    confidence: float  # their mean confidence
    cover: float  # share of the windows that they cover

    @property
    def measured(self) -> float:
        """The diameter of the red cells, in pixels of the field."""
        return self.width * self.diameter / self.expected

    expected: float = 36.0

    @property
    def evidence(self) -> float:
        """How much speaks for this scale; 0 without red cells."""
        return self.cover * self.confidence

    @property
    def is_certain(self) -> bool:
        """Whether no other scale needs to be tried."""
        reds, confidence, cover = _CERTAIN
        return self.reds >= reds and self.confidence >= confidence and self.cover >= cover


def find_scale(finder: CellFinder, field: FieldImage) -> tuple[Scale, Sighting | None]:
    """Measure the diameter of the red cells of a field.

    Scales a factor `_STEP` apart are tried, the usual ones first. Where red cells are found, the
    scale is corrected by their width until it settles. Of several scales that settle, the one
    wins at which confident red cells cover most of the field. The result depends on the field
    alone.

    Returns
    -------
    scale : Scale
        Its source is ``red cells``, or ``none`` if there are none.
    sighting : Sighting or None
        What was found at that scale, if anything.
    """
    best: Sighting | None = None
    tried: list[float] = []
    for start in _starts(field):
        if any(abs(math.log(start / other)) < math.log(_STEP) / 2 for other in tried):
            continue
        sighting = _settled(finder, field, start, tried)
        if sighting and (best is None or sighting.evidence > best.evidence):
            best = sighting
        if best and best.is_certain:
            break
    if best is None:
        return Scale(next(iter(_starts(field))), "none"), None
    return Scale(best.measured, "red cells"), best


def _starts(field: FieldImage) -> list[float]:
    usual = min(max(_USUAL * min(field.width, field.height), 2 * SMALLEST), LARGEST / 2)
    steps = sorted(range(-8, 9), key=lambda step: (abs(step), step))
    every = [usual * _STEP**step for step in steps]
    return [one for one in every if SMALLEST / 1.2 <= one <= LARGEST * 1.2]


def _settled(
    finder: CellFinder, field: FieldImage, start: float, tried: list[float]
) -> Sighting | None:
    """Follow the measured width from one scale to the next; None if there are no red cells."""
    diameter, last = start, None
    for _ in range(_ROUNDS):
        sighting = look(finder, field, diameter)
        tried.append(diameter)
        if not sighting.reds:
            return last
        if last is None or sighting.evidence >= last.evidence / 2:
            last = sighting
        if abs(sighting.measured / diameter - 1) < _SETTLED:
            return last
        diameter = min(max(sighting.measured, SMALLEST), LARGEST)
    return last


def look(finder: CellFinder, field: FieldImage, diameter: float) -> Sighting:
    """Return what the detector finds if red cells are `diameter` pixels wide."""
    size = field.size(finder.red_cell_px / diameter)
    widths: list[NDArray[np.float32]] = []
    confidences: list[NDArray[np.float32]] = []
    pixels, covered = 0, 0.0
    for box in _windows(size, finder.multiple):
        found = finder.distinct(finder.candidates(field.window(size, box)))
        extent = (box[2] - box[0], box[3] - box[1])
        red = found.labels == finder.classes.index("RBC")
        red &= found.confidence >= _SURE
        red &= unclipped(found.boxes, extent)
        sides = found.boxes[red, 2:] - found.boxes[red, :2]
        widths.append(sides.mean(axis=1))
        confidences.append(found.confidence[red])
        pixels += extent[0] * extent[1]
        covered += float(sides.prod(axis=1).sum())
        if sum(map(len, widths)) >= _ENOUGH:
            break
    width, confidence = np.concatenate(widths), np.concatenate(confidences)
    return Sighting(
        diameter=diameter,
        found=found,
        size=size,
        is_whole=extent == size,
        reds=len(width),
        width=float(np.median(width)) if len(width) else 0.0,
        confidence=float(confidence.mean()) if len(width) else 0.0,
        cover=covered / pixels,
        expected=finder.red_cell_px,
    )


def _windows(size: tuple[int, int], multiple: int) -> Iterable[tuple[int, int, int, int]]:
    """Return the windows to search: the whole field, or up to three in a diagonal."""
    if size[0] * size[1] <= _WINDOW**2 and max(size) <= 2 * _WINDOW:
        return [(0, 0, *size)]
    boxes = []
    for place in (0.5, 0.2, 0.8):
        sides = [min(side, _WINDOW) for side in size]
        low = [
            round(place * (side - length) / multiple) * multiple
            for side, length in zip(size, sides, strict=True)
        ]
        high = [min(a + b, side) for a, b, side in zip(low, sides, size, strict=True)]
        boxes.append((low[0], low[1], high[0], high[1]))
    return list(dict.fromkeys(boxes))
