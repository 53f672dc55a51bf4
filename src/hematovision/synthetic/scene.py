"""Laying cells side by side on a smear, and keeping book of which pixel is whose."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hematovision.synthetic.cells import Stamp, paint_platelet, paint_red
from hematovision.synthetic.shapes import Array
from hematovision.synthetic.stain import DYES, EDGE, HAEM, Look
from hematovision.synthetic.white import WHITE_KINDS, paint_white

__all__ = ["KINDS", "Canvas", "Layout", "Region", "paint"]

KINDS: tuple[str, ...] = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
    "rbc",
)
"""What can be drawn: the classes of `hematovision.taxonomy.PBC8`, and red cells."""

Region = tuple[float, float, float, float]
"""``(xmin, ymin, xmax, ymax)`` in pixels, within which centres may lie."""


def paint(kind: str, rng: np.random.Generator, look: Look) -> Stamp:
    """Paint one cell of any of `KINDS`.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind == "rbc":
        return paint_red(rng, look)
    if kind == "platelet":
        return paint_platelet(rng, look)
    if kind in WHITE_KINDS:
        return paint_white(rng, look, kind)
    raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: {kind!r}")


@dataclass
class Layout:
    """Where cells lie, as discs; what is placed later keeps clear of what is there.

    Parameters
    ----------
    discs : list of tuple of float
        Centre and radius ``(x, y, radius)`` of each cell so far, in pixels.
    """

    discs: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, x: float, y: float, radius: float) -> tuple[float, float]:
        """Put a cell at a place."""
        self.discs.append((x, y, radius))
        return x, y

    def overlap(self, points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
        """Return how deep a disc at each point would cut into its neighbours, shape (n,).

        In radii of the smaller of the two: 0 is touching, 2 is covered.
        """
        if not self.discs:
            return np.full(len(points), -np.inf)
        there = np.array(self.discs)
        distance = np.hypot(*(points[:, None, :] - there[None, :, :2]).transpose(2, 0, 1))
        cut = radius + there[:, 2] - distance
        return np.asarray((cut / np.minimum(radius, there[:, 2])).max(axis=1))

    def find(
        self, rng: np.random.Generator, radius: float, region: Region, tolerance: float
    ) -> tuple[float, float, float]:
        """Return the first of some random places that overlaps little enough, or the best.

        Returns
        -------
        tuple of float
            ``(x, y, overlap)``; nothing is added yet.
        """
        points = rng.uniform(region[:2], region[2:], (40, 2))
        cuts = self.overlap(points, radius)
        good = np.flatnonzero(cuts <= tolerance)
        best = int(good[0]) if len(good) else int(np.argmin(cuts))
        return float(points[best, 0]), float(points[best, 1]), float(cuts[best])


class Canvas:
    """Dyes on glass, with the truth beside them.

    Parameters
    ----------
    height, width : int
        In pixels.

    Attributes
    ----------
    dyes : ndarray of float32, shape (DYES, H, W)
    labels : ndarray of int32, shape (H, W)
        0 on the background, else 1 + the number of the cell that lies on top.
    layers : ndarray of uint8, shape (H, W)
        How many cells lie there.
    """

    def __init__(self, height: int, width: int) -> None:
        self.dyes: Array = np.zeros((DYES, height, width), dtype=np.float32)
        self.labels = np.zeros((height, width), dtype=np.int32)
        self.layers = np.zeros((height, width), dtype=np.uint8)

    def add(self, stamp: Stamp, x: float, y: float, number: int) -> None:
        """Lay a cell on the glass, its centre in the pixel of ``(x, y)``.

        Red cells let one another shine through, though less than their sum: where two lie on one
        another the smear dries thinner. White cells and platelets push them aside.
        """
        there, part = self._overlap(stamp, x, y)
        below, above = self.dyes[:, *there], stamp.dyes[:, *part]
        mixed = below * (1.0 - 0.85 * stamp.solid[part]) + above
        thin = np.minimum(below[HAEM], above[HAEM])
        mixed[HAEM] -= 0.65 * thin * (1.0 - stamp.solid[part])
        mixed[EDGE] = np.maximum(below[EDGE], above[EDGE])
        self.dyes[:, *there] = mixed
        mask = stamp.mask[part]
        self.labels[there][mask] = number
        self.layers[there][mask] += 1

    def clip(self, stamp: Stamp, x: float, y: float) -> tuple[tuple[int, int], NDArray[np.bool_]]:
        """Return the part of a cell's mask within the picture, with its first column and row."""
        there, part = self._overlap(stamp, x, y)
        return (there[1].start, there[0].start), stamp.mask[part]

    def _overlap(
        self, stamp: Stamp, x: float, y: float
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return where a stamp falls in the picture, and which part of it does."""
        size = stamp.mask.shape[0]
        there, part = [], []
        for centre, length in ((y, self.labels.shape[0]), (x, self.labels.shape[1])):
            start = int(np.floor(centre)) - size // 2
            first, last = max(start, 0), min(start + size, length)
            last = max(first, last)
            there.append(slice(first, last))
            part.append(slice(first - start, last - start))
        return (there[0], there[1]), (part[0], part[1])
