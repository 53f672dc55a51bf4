"""Quality of a field: what limits its use, measured on the image and on the cells found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.model.suppression import overlapping

__all__ = ["Quality", "flags", "measure", "overlap_share"]

MIN_FOCUS = 0.11
"""Sharpness below which a field is flagged as blurred. See `measure`."""

MAX_OVERLAP = 0.6
"""Share of overlapping red cells above which a field is too dense."""

MAX_SATURATION = 0.25
"""Share of saturated pixels above which a field is over- or underexposed, or overstained."""

FEW_CELLS = 10
"""A field with fewer red cells has too few: their median width has a standard error above 3%."""

_TOUCHING = 0.9
"""Two red cells overlap if their centres are nearer than this, in units of their mean width. Cells
that only touch are at 1.0, and detected widths vary by 5%."""


@dataclass(frozen=True)
class Quality:
    """What is measured of a field."""

    focus: float | None  # gradient at the edges of cells, in contrasts per pixel; None if blank
    overlap: float | None  # share of red cells that overlap others; None without red cells
    saturation: float  # share of pixels that are black or that lost a channel


def measure(view: NDArray[np.uint8], raw: NDArray[np.uint8], reds: NDArray[np.float32]) -> Quality:
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
    """
    dark = (raw.max(axis=2) < 16) | (raw.min(axis=2) == 0)
    return Quality(_focus(view), overlap_share(reds), float(dark.mean()))


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
    slope = np.percentile(np.hypot(across, down) / 2, 99)
    return float(slope / (high - low))


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


def flags(quality: Quality, reds: int, *, scale_known: bool) -> list[str]:
    """Return what limits the use of a field, most important first."""
    found = {
        "no red cells found": reds == 0,
        "scale unknown": reds > 0 and not scale_known,
        "too few cells": 0 < reds < FEW_CELLS,
        "too dense": (quality.overlap or 0) > MAX_OVERLAP,
        "blurred": quality.focus is not None and quality.focus < MIN_FOCUS,
        "overstained": quality.saturation > MAX_SATURATION,
    }
    return [text for text, applies in found.items() if applies]
