"""The scale of a field, measured on its red cells.

A red cell is about 7.2 um wide, whatever the lab, the optics or the camera. The detector is trained
to find red cells of one width only, and nothing at a scale that is far off. So the search tries
scales on a window of the field; where red cells are found, their width gives the scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.fields.tiles import FieldImage
from hematovision.model.detector import PADDING, CellFinder, Detections

__all__ = [
    "LARGEST", "RED_CELL_UM", "SMALLEST", "Scale", "ScaleSource", "Sighting", "Window",
    "diameters", "find_scale", "given_scale", "look", "unclipped",
]  # fmt: skip

RED_CELL_UM = 7.2
"""Diameter of a red cell in a dried smear in um (Bain 2015, "Blood Cells", 5th ed., p. 63: 6.7 to
7.7)."""

SMALLEST, LARGEST = 10.0, 700.0
"""Diameters of red cells, in pixels, between which the scale is searched."""

Window: TypeAlias = tuple[int, int, int, int]
"""``(x_min, y_min, x_max, y_max)`` in a scaled field, in whole pixels."""

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
        If a value of the user is not above 0 or not finite, means red cells that are too small or
        too large to be found, or both are given. A useless value of the file is ignored.
    """
    given: Mapping[str, Any] = {"rbc_diameter": rbc_diameter, "um_per_px": um_per_px}
    for name, value in given.items():
        is_number = (
            isinstance(value, int | float | np.integer | np.floating)
            and math.isfinite(value)
            and value > 0
        )
        if value is not None and not is_number:
            raise ValueError(f"`{name}` must be a number above 0. Received: {value!r}")
        diameter = value if value is None or name == "rbc_diameter" else RED_CELL_UM / value
        if diameter is not None and not SMALLEST / 2 <= diameter <= 2 * LARGEST:
            raise ValueError(
                f"`{name}` of {value:g} means red cells of {diameter:.3g} pixels; they must be "
                f"{SMALLEST / 2:g} to {2 * LARGEST:g} pixels wide. Check the unit."
            )
    if rbc_diameter is not None and um_per_px is not None:
        raise ValueError("Give either `rbc_diameter` or `um_per_px`, not both.")
    if rbc_diameter is not None:
        return Scale(float(rbc_diameter), "--rbc-diameter")
    if um_per_px is not None:
        return Scale(RED_CELL_UM / float(um_per_px), "--um-per-px", float(um_per_px))
    if metadata is not None and math.isfinite(metadata) and metadata > 0:
        diameter = RED_CELL_UM / metadata
        if SMALLEST / 2 <= diameter <= 2 * LARGEST:
            return Scale(diameter, "metadata", metadata)
    return None


def unclipped(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which boxes (N, 4) are clear of the border of an image of `size` (width, height)."""
    limits = np.array(size, np.float32) - _BORDER
    return np.asarray((boxes[:, :2] > _BORDER).all(axis=1) & (boxes[:, 2:] < limits).all(axis=1))


def diameters(
    field: FieldImage, boxes: NDArray[np.float32], size: tuple[int, int], window: Window
) -> NDArray[np.float32]:
    """Return the diameters of the cells whose size is visible, at most (N,), in pixels.

    They are the means of width and height of the cells clear of the border, of the window or of an
    eyepiece's circle. If there are fewer than three, cells cut by one side of the window are added:
    their length along that side, if their centre is visible.

    Parameters
    ----------
    field : FieldImage
    boxes : ndarray of float32, shape (N, 4)
        In pixels of the field scaled to `size`, from the window's corner.
    size : tuple of int
        Width and height of the scaled field.
    window : tuple of int
        Part of the scaled field that the boxes are from.
    """
    x0, y0, x1, y1 = window
    extent = np.array((x1 - x0, y1 - y0), np.float32)
    free = (boxes[:, :2] > _BORDER) & (boxes[:, 2:] < extent - _BORDER)  # across, down
    if field.circle is not None:
        factor = field.width / size[0]
        placed = (boxes + np.array((x0, y0, x0, y0), np.float32)) * np.float32(factor)
        reach = field.circle.distance(placed)
        free &= np.less(reach, field.circle.radius - _BORDER * factor).reshape(-1, 1)
    sides = boxes[:, 2:] - boxes[:, :2]
    clear = np.all(free, axis=1)
    whole = sides[clear].mean(axis=1)
    if len(whole) >= _FEW:
        return np.asarray(whole)
    seen = free & (sides[:, ::-1] > _CENTRE * sides) & ~clear.reshape(-1, 1)
    return np.concatenate([whole, sides[seen]])


_BORDER = 1.5  # pixels at the detector's scale
_FEW = 3  # whole cells from which on cut ones are not measured
_CENTRE = 0.55  # of a cell's length that its other, cut side has if the centre is visible
_PROBE = 224  # side of the windows in which a scale is tried first, in the same pixels
_WINDOW = 320  # side of the windows in which it is measured
_SOME, _ENOUGH = 3, 12  # red cells after which no further window is tried, or measured
_SURE = 0.5  # confidence of the cells that are measured
_STEP = 2.0  # between scales that are tried: the detector finds cells 0.65 to 1.5 times their width
_USUAL = 0.2  # a red cell in units of the field's shorter side, the first scale that is tried
_WIDEST = 0.6  # in the same units: wider ones are ignored: noise has been taken for one
_SETTLED = 0.06  # relative change of the diameter below which the search ends
_ROUNDS = 4
# A scale is certain, and no other is tried, with at least this many red cells if the cells found
# cover this share of the windows, or in a sparse field with more and more confident red cells. In
# 160 validation fields at half and twice their size, cells covered 57 to 100% at the right scale,
# and what was found at wrong ones up to 11%, with one exception at 0.8 times the right scale.
_CERTAIN = (2, 0.25)
_CERTAIN_IN_SPARSE = (8, 0.85, 0.06)


@dataclass(frozen=True, eq=False)
class Sighting:
    """What the detector finds in a field, or in windows of it, at one scale."""

    diameter: float  # the scale: of red cells in the field, in pixels, if they are as expected
    found: Detections  # in the field scaled to `size`, or in the last window of it
    size: tuple[int, int]
    is_whole: bool  # whether the window was the whole field
    reds: int  # confident red cells whose size is visible
    measured: float  # their median diameter in pixels of the field
    confidence: float  # mean of all confident red cells
    cover: float  # share of the windows covered by confident cells of all classes

    @property
    def evidence(self) -> float:
        """How much speaks for this scale; 0 without red cells.

        Few cells are found at wrong scales (`_CERTAIN`), and they are less confident.
        """
        return self.cover * self.confidence**2

    @property
    def is_certain(self) -> bool:
        """Whether no other scale needs to be tried."""
        reds, confidence, cover = _CERTAIN_IN_SPARSE
        if self.reds >= reds and self.confidence >= confidence and self.cover >= cover:
            return True
        return self.reds >= _CERTAIN[0] and self.cover >= _CERTAIN[1]


def find_scale(finder: CellFinder, field: FieldImage) -> tuple[Scale, Sighting | None]:
    """Measure the diameter of the red cells of a field.

    Scales a factor `_STEP` apart are tried in a small window, the usual ones first. Where red cells
    are found, the scale is corrected by their width until it settles. Of several scales that
    settle, the one wins at which confident cells cover most of the field. The result depends on
    the field alone.

    Returns
    -------
    scale : Scale
        Its source is ``red cells``; or ``none`` if there are none, with the scale at which other
        cells cover most of the field.
    sighting : Sighting or None
        What was found at that scale, if anything.
    """
    widest = _WIDEST * min(field.width, field.height)
    best: Sighting | None = None
    other: Sighting | None = None  # where cells are found, but no red cells
    tried: list[float] = []
    for start in _starts(field):
        if any(abs(math.log(start / near)) < math.log(_STEP) / 2 for near in tried):
            continue
        tried.append(start)
        probe = look(finder, field, start, side=_PROBE, enough=_SOME)
        sighting = _settled(finder, field, probe, tried) if probe.reds else None
        if other is None or probe.cover > other.cover:
            other = probe
        if sighting and sighting.measured > widest:
            continue
        if sighting and (best is None or sighting.evidence > best.evidence):
            best = sighting
        if best and best.is_certain:
            break
    if best is None:
        return Scale(other.diameter if other else _USUAL * field.height, "none"), None
    return Scale(best.measured, "red cells"), best


def _starts(field: FieldImage) -> list[float]:
    side = min(field.width, field.height)
    if field.circle is not None:
        side = min(side, round(2 * field.circle.radius))
    usual = min(max(_USUAL * side, 2 * SMALLEST), LARGEST / 2)
    steps = sorted(range(-8, 9), key=lambda step: (abs(step), step))
    every = [usual * _STEP**step for step in steps]
    most = min(LARGEST * 1.2, _WIDEST * side)
    return [one for one in every if SMALLEST / 1.2 <= one <= most]


def _settled(
    finder: CellFinder, field: FieldImage, probe: Sighting, tried: list[float]
) -> Sighting:
    """Follow the measured width from one scale to the next until it settles."""
    best = sighting = probe
    for _ in range(_ROUNDS):
        settles = abs(sighting.measured / sighting.diameter - 1) < _SETTLED
        if settles and (sighting is not probe or probe.is_whole):
            break
        diameter = min(max(sighting.measured, SMALLEST), LARGEST)
        sighting = look(finder, field, diameter)
        tried.append(diameter)
        if not sighting.reds:
            break
        if best is probe or sighting.evidence >= best.evidence / 2:
            best = sighting
    return best


def look(
    finder: CellFinder,
    field: FieldImage,
    diameter: float,
    *,
    side: int = _WINDOW,
    enough: int = _ENOUGH,
) -> Sighting:
    """Return what the detector finds if red cells are `diameter` pixels wide.

    It looks at windows of at most about `side` x `side` pixels of its input until it has found
    `enough` red cells clear of a window's border.
    """
    size = field.size(finder.red_cell_px / diameter)
    widths: list[NDArray[np.float32]] = []
    confidences: list[NDArray[np.float32]] = []
    pixels, covered, is_whole, found = 0, 0.0, False, Detections.empty(len(finder.classes))
    for box in _windows(size, finder.multiple, side):
        view = field.window(size, box)
        found = finder.distinct(finder.candidates(view))
        extent = (box[2] - box[0], box[3] - box[1])
        is_whole = extent == size
        sure = found[found.confidence >= _SURE]
        red = sure[sure.labels == finder.classes.index("RBC")]
        widths.append(diameters(field, red.boxes, size, box))
        confidences.append(red.confidence)
        pixels += int((view != PADDING).any(axis=2).sum()) if field.circle else view.size // 3
        covered += float((sure.boxes[:, 2:] - sure.boxes[:, :2]).prod(axis=1).sum())
        if sum(map(len, widths)) >= enough:
            break
    width, confidence = np.concatenate(widths), np.concatenate(confidences)
    factor = field.width / size[0]
    return Sighting(
        diameter=diameter,
        found=found,
        size=size,
        is_whole=is_whole,
        reds=len(width),
        measured=float(np.median(width)) * factor if len(width) else 0.0,
        confidence=float(confidence.mean()) if len(confidence) else 0.0,
        cover=min(1.0, covered / max(pixels, 1)),
    )


def _windows(size: tuple[int, int], multiple: int, side: int) -> Iterable[Window]:
    """Return the windows to search: the whole field, or up to three in a diagonal."""
    if size[0] * size[1] <= side**2 and max(size) <= 2 * side:
        return [(0, 0, *size)]
    boxes = []
    for place in (0.5, 0.2, 0.8):
        sides = [min(length, side) for length in size]
        low = [
            round(place * (whole - length) / multiple) * multiple
            for whole, length in zip(size, sides, strict=True)
        ]
        high = [min(a + b, whole) for a, b, whole in zip(low, sides, size, strict=True)]
        boxes.append((low[0], low[1], high[0], high[1]))
    return list(dict.fromkeys(boxes))
