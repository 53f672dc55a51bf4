"""The stain of a field, measured on its background and its red cells, and changed to another.

Labs differ in dye, buffer, lamp, filter and camera. Every field shows its background and red cells,
whose haemoglobin takes up eosin alike in nearly all patients. Matching these two colours makes
fields of different labs comparable: the red cell is the colour chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colour", "Stain", "measure_stain", "median_stain", "recoloured"]

Colour: TypeAlias = tuple[float, float, float]
"""Red, green and blue, 0 to 255."""

_FEW = 3
"""Fewest red cells that show the stain."""

_GRID, _REACH = 9, 0.8
"""Each red cell is sampled at the points of a grid this wide, within an ellipse that covers this
share of its box: without its rim, with its pale centre."""

_SHARE = 0.5
"""The exponent of the gains. Red cells differ in thickness within a lab, so half of the difference
(in the logarithm) is ascribed to the stain."""

_GAINS = (0.5, 2.0)
_LEAST_DENSITY = 0.02
"""The range of the gains, and the density from which on a channel has one."""


@dataclass(frozen=True)
class Stain:
    """The colours of the background and of the median red cell.

    Raises `ValueError` if a value is not from 0 to 255.
    """

    background: Colour
    red_cell: Colour

    def __post_init__(self) -> None:
        values = (*self.background, *self.red_cell)
        if len(values) != 6 or not all(math.isfinite(v) and 0 <= v <= 255 for v in values):
            raise ValueError(f"A stain is two colours from 0 to 255. Received: {self}.")


def measure_stain(
    pixels: NDArray[np.uint8], background: Colour, red_cells: NDArray[np.float32]
) -> Stain | None:
    """Measure the stain of a field.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The field as recorded.
    background : tuple of float
        See `preprocessing.white_point`.
    red_cells : ndarray of float32, shape (N, 4)
        Boxes of red cells in pixels of the field.

    Returns
    -------
    stain : Stain or None
        The red-cell colour is the median over red cells of each one's median colour. None with
        fewer than three red cells.
    """
    if len(red_cells) < _FEW:
        return None
    steps = np.linspace(-1.0, 1.0, _GRID)
    x, y = (axis.ravel() for axis in np.meshgrid(steps, steps))
    inside = x**2 + y**2 <= 1.0
    middle = (red_cells[:, :2] + red_cells[:, 2:]) / 2
    reach = _REACH * (red_cells[:, 2:] - red_cells[:, :2]) / 2
    height, width = pixels.shape[:2]
    columns = (middle[:, :1] + reach[:, :1] * x[inside]).astype(int).clip(0, width - 1)
    rows = (middle[:, 1:] + reach[:, 1:] * y[inside]).astype(int).clip(0, height - 1)
    each = np.median(pixels[rows, columns], axis=1)
    red, green, blue = map(float, np.median(each, axis=0))
    return Stain(background, (red, green, blue))


def median_stain(stains: Sequence[Stain]) -> Stain | None:
    """Return the median of each value over several stains; None if there are none."""
    if not stains:
        return None
    values = [(*one.background, *one.red_cell) for one in stains]
    r, g, b, red, green, blue = map(float, np.median(values, axis=0))
    return Stain((r, g, b), (red, green, blue))


def recoloured(pixels: NDArray[np.uint8], stain: Stain, target: Stain) -> NDArray[np.uint8]:
    """Change the stain of an image, (H, W, 3) uint8, from `stain` towards `target`.

    In each channel the optical density, relative to the background, is multiplied: dyes are
    additive in it (Beer-Lambert law), and the background stays what it is. The gain is the square
    root of the ratio of the red cells' densities, 0.5 to 2; then the background becomes that of
    `target`. A channel in which red cells have a density under 0.02 keeps its densities.
    """
    tables = [
        _table(*colours)
        for colours in zip(
            stain.background, stain.red_cell, target.background, target.red_cell, strict=True
        )
    ]
    return np.stack([table[pixels[..., c]] for c, table in enumerate(tables)], axis=-1)


def _table(begin: float, red: float, end: float, goal: float) -> NDArray[np.uint8]:
    begin, end = max(begin, 1.0), max(end, 1.0)
    own, wanted = (math.log(a / max(b, 1.0)) for a, b in ((begin, red), (end, goal)))
    usable = min(own, wanted) >= _LEAST_DENSITY
    gain = min(max((wanted / own) ** _SHARE, _GAINS[0]), _GAINS[1]) if usable else 1.0
    levels = np.arange(256.0)
    values = np.rint((end * (levels / begin) ** gain).clip(0, 255))
    return np.asarray(values, np.uint8)
