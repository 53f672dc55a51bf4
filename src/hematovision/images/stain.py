"""The stain of a field, measured on its background, red cells and nuclei, and changed to another.

Labs differ in dye, buffer, lamp, filter and camera. Every field shows its background and red cells,
whose haemoglobin takes up the same amount of eosin in nearly all patients. Matching these two
colours makes fields of different labs comparable. The other dye, azure with methylene blue, is
measured on a white cell's own nucleus.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colour", "Stain", "measure_stain", "median_stain", "recoloured", "redyed"]

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

_DARKEST = 0.3
"""The share of the pixels around the middle of a white cell whose median is the nucleus."""

_SAMPLED = 24.0
"""Pixels from the middle to the end, at least, among which the darkest are searched."""

_LEAST_ANGLE = math.radians(6)
"""Nuclei and red cells whose densities point nearer to each other have one colour."""

_TINY = 1e-6


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


def redyed(
    cell: NDArray[np.uint8],
    stain: Stain,
    target: Stain,
    nucleus: Colour,
    radius: float,
    turn: float = 0.5,
) -> NDArray[np.uint8]:
    """Change the stain of a white cell as `recoloured` does, then the dye of its nucleus.

    Optical densities are sums of those of the dyes (Ruifrok and Johnston 2001). Red cells show one
    dye, the nucleus the other. A linear map keeps the colour of the median red cell, turns the
    nucleus towards the hue of `nucleus`, and multiplies its density by the root of their ratio.

    Parameters
    ----------
    cell : ndarray of uint8, shape (S, S, 3)
        A white cell in the middle. Its nucleus is the median of the darkest 30% near the middle.
        The map is left out if that has the hue of red cells, before or after, or no density.
    stain, target : Stain
        Of the image, and the one wanted.
    nucleus : tuple of float
        The nuclear colour that belongs to `target`.
    radius : float
        How near to the middle the nucleus is measured, in pixels.
    turn : float
        How far the nucleus is turned: 0 keeps its hue, 1 gives it that of `nucleus`. By default
        half-way: nuclei differ within a lab as well.
    """
    changed = recoloured(cell, stain, target)
    median = recoloured(_pixel(stain.red_cell), stain, target)
    red, goal = (_density(one, target)[0, 0] for one in (median, _pixel(nucleus)))
    density = _density(changed, target)
    own = _nuclear(density, radius)
    map_ = _between(red, own, goal, turn)
    if map_ is None:
        return changed
    values = np.exp(density @ -map_.T)
    values *= np.array(target.background, np.float32) + 1.0
    # Adding a half and subtracting the one of `_density` rounds.
    return np.asarray((values - 0.5).clip(0, 255), np.uint8)


def _pixel(colour: Colour) -> NDArray[np.uint8]:
    return np.array([[colour]]).round().astype(np.uint8)


def _density(colours: NDArray[np.uint8], stain: Stain) -> NDArray[np.float32]:
    lit = np.array(stain.background, np.float32) + 1.0
    tables = np.log(lit[:, None] / np.arange(1.0, 257.0)).astype(np.float32)
    return np.stack([table[colours[..., c]] for c, table in enumerate(tables)], axis=-1)


def _nuclear(density: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Return the median density, (3,), of the darkest pixels near the middle."""
    height, width = density.shape[:2]
    step = max(1, int(radius / _SAMPLED))
    y, x = np.ogrid[:height:step, :width:step]
    square = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2
    values = density[::step, ::step][square < max(radius, 1.0) ** 2]
    total = values.sum(axis=1)
    return np.asarray(np.median(values[total >= np.quantile(total, 1 - _DARKEST)], axis=0))


def _between(
    red: NDArray[np.float32], own: NDArray[np.float32], goal: NDArray[np.float32], turn: float
) -> NDArray[np.float32] | None:
    """Return the map, (3, 3), that keeps `red` and turns `own` towards `goal`; None without one."""
    densities = [float(np.linalg.norm(one)) for one in (red, own, goal)]
    if min(densities) < _LEAST_DENSITY:
        return None
    eosin, hue, wanted = (one / n for one, n in zip((red, own, goal), densities, strict=True))
    hues = hue, _unit((1.0 - turn) * hue + turn * wanted)
    across = [np.cross(eosin, one) for one in hues]
    if min(float(np.linalg.norm(one)) for one in across) < math.sin(_LEAST_ANGLE):
        return None
    amounts = 1.0, (densities[2] / densities[1]) ** _SHARE
    begin, end = (
        np.stack([eosin, amount * one, _unit(third)], axis=1)
        for amount, one, third in zip(amounts, hues, across, strict=True)
    )
    return np.asarray(end @ np.linalg.inv(begin), np.float32)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the direction of a vector; zeros have none and stay zeros."""
    return np.asarray(vector / np.maximum(np.linalg.norm(vector), _TINY))


def _table(begin: float, red: float, end: float, goal: float) -> NDArray[np.uint8]:
    begin, end = max(begin, 1.0), max(end, 1.0)
    own, wanted = (math.log(a / max(b, 1.0)) for a, b in ((begin, red), (end, goal)))
    usable = min(own, wanted) >= _LEAST_DENSITY
    gain = min(max((wanted / own) ** _SHARE, _GAINS[0]), _GAINS[1]) if usable else 1.0
    levels = np.arange(256.0)
    values = np.rint((end * (levels / begin) ** gain).clip(0, 255))
    return np.asarray(values, np.uint8)
