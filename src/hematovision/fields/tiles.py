"""A field at the detector's scale, and detection in tiles.

Tiles overlap, and each place of the detector's map belongs to the core of one tile, so that a large
field yields the cells that it would yield in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.fields.edges import Circle
from hematovision.model.detector import PADDING, CellFinder, Detections
from hematovision.model.preprocessing import DARKEST_WHITE, WHITE

__all__ = ["CORE", "MARGIN", "FieldImage", "Tile", "detect", "tiles"]

CORE = 512
"""Side of a tile's core in pixels of the detector's input, a multiple of `CellFinder.multiple`.

With its margins a tile has 896 pixels, which take 270 MB."""

MARGIN = 192
"""Width of the margin around a core, likewise: 2.5 white cells or more. The heat of the bundled
detector depends on the pixels up to 160 away: further inside, a tile's heat is that of the whole
field, bit for bit."""

_RING = 96
"""How far around a region cells are found, too: more than the reach of suppression, which compares
cells of up to 2.5 red cells."""

_WHOLE = CORE + 2 * MARGIN
"""A field with at most this side at the detector's scale is not cut into tiles."""

_IN_MEMORY = 2**26
"""Pixels of a scaled field that are kept; a larger one is scaled tile by tile."""


_AT_ONCE = 2**22
"""Pixels of the field that are scaled together: 16 MB in Pillow's format."""


class FieldImage:
    """A field, white-balanced, that can be scaled as a whole or in windows.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The field as displayed.
    white : ndarray of float32, shape (3,)
        The background's value in each channel (`preprocessing.white_point`).
    circle : Circle, optional
        The visible part; the rest becomes grey, like the padding.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], white: NDArray[np.float32], circle: Circle | None = None
    ) -> None:
        self.pixels, self.white, self.circle = pixels, white, circle
        self.height, self.width = pixels.shape[:2]
        gains = WHITE / np.maximum(white, DARKEST_WHITE)
        levels = np.rint(np.minimum(np.arange(256)[:, None] * gains, 255)).astype(int)
        self._table: list[int] = levels.T.ravel().tolist()

    def size(self, factor: float) -> tuple[int, int]:
        """Return width and height when scaled by about `factor`, at least 1."""
        return max(1, round(self.width * factor)), max(1, round(self.height * factor))

    def window(
        self, size: tuple[int, int], box: tuple[int, int, int, int] | None = None
    ) -> NDArray[np.uint8]:
        """Return a window of the field scaled to `size`, uint8 (h, w, 3).

        Pixels are averaged by area when the field shrinks (Pillow's ``BOX``), and interpolated
        (``BICUBIC``) when it grows.

        Parameters
        ----------
        size : tuple of int
            Width and height of the whole scaled field.
        box : tuple of int, optional
            ``(x_min, y_min, x_max, y_max)`` of the window in the scaled field; by default all.
        """
        x0, y0, x1, y1 = box or (0, 0, *size)
        across, down = self.width / size[0], self.height / size[1]
        grows = across < 1 or down < 1
        if (x1 - x0) * (y1 - y0) * across * down > _AT_ONCE and y1 - y0 > 1:
            middle = (y0 + y1) // 2
            halves = ((x0, y0, x1, middle), (x0, middle, x1, y1))
            return np.concatenate([self.window(size, half) for half in halves])
        near = 3 + math.ceil(max(across, down))  # pixels that the interpolation reaches beyond
        left, top = max(0, int(x0 * across) - near), max(0, int(y0 * down) - near)
        right = min(self.width, math.ceil(x1 * across) + near)
        bottom = min(self.height, math.ceil(y1 * down) + near)
        part = Image.fromarray(np.ascontiguousarray(self.pixels[top:bottom, left:right]))
        edges = (x0 * across - left, y0 * down - top, x1 * across - left, y1 * down - top)
        limits = (part.width, part.height) * 2
        scaled = (part.point(self._table) if grows else part).resize(
            (x1 - x0, y1 - y0),
            Image.Resampling.BICUBIC if grows else Image.Resampling.BOX,
            box=tuple(
                min(max(edge, 0.0), limit) for edge, limit in zip(edges, limits, strict=True)
            ),
        )
        balanced = scaled if grows else scaled.point(self._table)  # whichever has fewer pixels
        return self._masked(np.array(balanced), (x0, y0), across, down)

    def _masked(
        self, window: NDArray[np.uint8], origin: tuple[int, int], across: float, down: float
    ) -> NDArray[np.uint8]:
        if self.circle is not None:
            height, width = window.shape[:2]
            x = (np.arange(width) + origin[0] + 0.5) * across - self.circle.x
            y = (np.arange(height) + origin[1] + 0.5) * down - self.circle.y
            window[y[:, None] ** 2 + x**2 > self.circle.radius**2] = PADDING
        return window


class Tile(NamedTuple):
    """A tile of a scaled field, ``(x_min, y_min, x_max, y_max)`` each, in pixels."""

    core: tuple[int, int, int, int]  # the places that belong to the tile
    outer: tuple[int, int, int, int]  # with the margin


def tiles(
    size: tuple[int, int],
    *,
    multiple: int,
    core: int = 0,
    margin: int = 0,
    within: tuple[int, int, int, int] | None = None,
) -> Iterator[Tile]:
    """Yield the tiles of a scaled field of `size` (width, height), row by row.

    Every tile starts at a multiple of `multiple`, so that the network samples it like the whole
    field. `core` and `margin` default to `CORE` and `MARGIN`. With `within`, a box that starts at
    multiples too, the cores are those of this part and a ring around it.
    """
    width, height = size
    if max(size) <= _WHOLE and not core:
        yield Tile((0, 0, width, height), (0, 0, width, height))
        return
    x0, y0, x1, y1 = within or (0, 0, width, height)
    ring = _RING if within else 0
    around = multiple * math.ceil((margin or MARGIN) / multiple)
    for top, bottom in _cuts(y0, y1, core or CORE, multiple, even=within is not None):
        for left, right in _cuts(x0, x1, core or CORE, multiple, even=within is not None):
            yield Tile(
                (
                    max(0, left - ring * (left == x0)),
                    max(0, top - ring * (top == y0)),
                    min(width, right + ring * (right == x1)),
                    min(height, bottom + ring * (bottom == y1)),
                ),
                (
                    max(0, left - around),
                    max(0, top - around),
                    min(width, right + around),
                    min(height, bottom + around),
                ),
            )


def _cuts(
    start: int, stop: int, longest: int, multiple: int, *, even: bool
) -> list[tuple[int, int]]:
    """Cut a range into parts of up to `longest`, of about the same length if `even`."""
    length = (stop - start) / math.ceil((stop - start) / longest) if even else longest
    step = multiple * math.ceil(length / multiple)
    return [(at, min(at + step, stop)) for at in range(start, stop, step)]


def detect(
    finder: CellFinder,
    field: FieldImage,
    size: tuple[int, int],
    *,
    core: int = 0,
    margin: int = 0,
    within: tuple[int, int, int, int] | None = None,
) -> Detections:
    """Find the cells of a field scaled to `size`; boxes are in pixels of the scaled field.

    With `within`, those in this part of it, and some around it; see `tiles`.
    """
    found = []
    whole = field.window(size) if size[0] * size[1] <= _IN_MEMORY else None
    for tile in tiles(size, multiple=finder.multiple, core=core, margin=margin, within=within):
        x0, y0, x1, y1 = tile.outer
        window = field.window(size, tile.outer) if whole is None else whole[y0:y1, x0:x1]
        found.append(_own(finder.candidates(window), tile, finder.stride))
    return finder.distinct(Detections.joined(found))


def _own(found: Detections, tile: Tile, stride: int) -> Detections:
    """Return the candidates in the core of a tile, in the coordinates of the scaled field."""
    origin = np.array(tile.outer[:2])
    points = found.points + (origin // stride).astype(np.int32)
    middle = (points + 0.5) * stride
    low, high = np.array(tile.core[:2]), np.array(tile.core[2:])
    inside = np.all((middle >= low) & (middle < high), axis=1)
    moved = found.boxes + np.tile(origin, 2).astype(np.float32)
    return Detections(moved, found.scores, found.labels, points)[inside]
