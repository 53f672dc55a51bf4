"""Quality of a field: what limits its use, measured on the image and on the cells found.

The limits were chosen on 100 to 160 validation fields of four laboratories: as they are, and with
the stain and the blur of a microscope simulated. Within them counts of red and white cells changed
by less than 5%.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.fields.rows import FEW_CELLS, NO_RED_CELLS, TOO_FEW_CELLS
from hematovision.model.preprocessing import WHITE
from hematovision.model.suppression import overlapping

__all__ = ["Quality", "flags", "measure", "overlap_share"]

MIN_FOCUS = 0.105
"""Sharpness below which a field is blurred. Validation fields have 0.14 to 0.37. A blur of 6% of a
red cell's width (0.077 to 0.163) changed the counts of red cells, white cells and platelets by
0.2%, 1% and 4%; one of 8% (0.063 to 0.130) by 2%, 1% and 22%."""

MAX_OVERLAP = 0.75
"""Share of overlapping red cells above which a field is too dense."""

MAX_SATURATION = 0.25
"""Share of black or white pixels above which a field is saturated: edges of cells are lost."""

STAIN = (0.13, 1.2)
"""Optical density of red cells in green below which a field is pale, and above which it is
overstained. Validation fields have 0.18 to 0.87; a quarter of their stain loses 14% of the red
cells, half of it 4%, and three times as much 1%."""

_OTHER_SCALE = 1.3
"""Ratio of the width of the red cells and the given one, or its inverse, beyond which the given
scale is doubtful."""

_TOUCHING = 0.8
"""Two red cells overlap if their centres are nearer than this, in units of their mean width."""

_BLACK, _FULL = 16, 254  # sample values; the camera's black is often not 0


@dataclass(frozen=True)
class Quality:
    """What is measured of a field."""

    focus: float | None  # gradient at the edges of cells, in contrasts per pixel; None if blank
    overlap: float | None  # share of red cells that overlap others; None without red cells
    saturation: float  # share of black or white pixels
    stain: float | None  # median optical density of red cells; None without red cells


def measure(
    view: NDArray[np.uint8],
    raw: NDArray[np.uint8],
    reds: NDArray[np.float32],
    seen: NDArray[np.float32],
) -> Quality:
    """Measure a field's quality.

    Parameters
    ----------
    view : ndarray of uint8, shape (H, W, 3)
        The field, or a large window of it, white-balanced and at the detector's scale, at which
        blur that matters is visible whatever the camera's resolution.
    raw : ndarray of uint8, shape (H', W', 3)
        The same, as recorded; it may be subsampled.
    reds : ndarray of float32, shape (N, 4)
        Boxes of the red cells.
    seen : ndarray of float32, shape (M, 4)
        Boxes of those in `view`, in its pixels; they may reach beyond it.
    """
    least = np.minimum(np.minimum(raw[..., 0], raw[..., 1]), raw[..., 2])
    most = np.maximum(np.maximum(raw[..., 0], raw[..., 1]), raw[..., 2])
    saturated = (most < _BLACK) | (least >= _FULL)
    return Quality(_focus(view), overlap_share(reds), float(saturated.mean()), _stain(view, seen))


def _focus(view: NDArray[np.uint8]) -> float | None:
    """Return the steepest gradients of the green channel in units of its contrast.

    Red cells are most visible in green. The 99th percentile of the gradient is the slope at the
    edges of cells; the 2nd and 98th percentiles of the values are cells and background.
    """
    if min(view.shape[:2]) < 8:
        return None
    green = view[..., 1].astype(np.float32)
    low, high = np.percentile(green, (2, 98))
    if high - low < 8:
        return None
    across = green[1:-1, 2:] - green[1:-1, :-2]
    down = green[2:, 1:-1] - green[:-2, 1:-1]
    slope = np.sqrt(np.percentile(across * across + down * down, 99)) / 2
    return float(slope / (high - low))


def _stain(view: NDArray[np.uint8], seen: NDArray[np.float32]) -> float | None:
    """Return the median density of red cells in green, between their centres and edges."""
    if not len(seen):
        return None
    middle, part = (seen[:, :2] + seen[:, 2:]) / 2, 0.3 * (seen[:, 2:] - seen[:, :2])
    steps = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    points = (middle[:, None] + part[:, None] * steps).astype(int)
    height, width = view.shape[:2]
    x, y = points[..., 0].clip(0, width - 1), points[..., 1].clip(0, height - 1)
    green = view[y, x, 1].mean(axis=1)
    return float(np.median(-np.log((green + 1) / (WHITE + 1))))


def overlap_share(reds: NDArray[np.float32]) -> float | None:
    """Return the share of red cells that overlap another, as discs; None without red cells."""
    if not len(reds):
        return None
    middle, width = (reds[:, :2] + reds[:, 2:]) / 2, (reds[:, 2:] - reds[:, :2]).mean(axis=1)
    touching = np.zeros(len(reds), np.bool_)
    for first, second, _ in overlapping(reds):
        distance = np.hypot(*(middle[first] - middle[second]).T)
        near = distance < _TOUCHING * (width[first] + width[second]) / 2
        touching[first[near]] = True
        touching[second[near]] = True
    return float(touching.mean())


def flags(
    quality: Quality, reds: int, *, scale_known: bool, relative_width: float | None = None
) -> list[str]:
    """Return what limits the use of a field, most important first.

    `reds` is the number of red cells; `relative_width` is their median width in units of the scale
    that the user or the file states, if one does.
    """
    stain = quality.stain
    width = relative_width or 1.0
    found = {
        NO_RED_CELLS: reds == 0,
        "scale unknown": reds > 0 and not scale_known,
        "scale doubtful": reds >= FEW_CELLS and max(width, 1 / width) > _OTHER_SCALE,
        TOO_FEW_CELLS: 0 < reds < FEW_CELLS,
        "too dense": (quality.overlap or 0) > MAX_OVERLAP,
        "blurred": quality.focus is not None and quality.focus < MIN_FOCUS,
        "pale": stain is not None and stain < STAIN[0],
        "overstained": stain is not None and stain > STAIN[1],
        "saturated": quality.saturation > MAX_SATURATION,
    }
    return [text for text, applies in found.items() if applies]
