"""Synthetic fields and cell images, with exact ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hematovision.synthetic.cells import KINDS, Stamp, paint
from hematovision.synthetic.labs import DYES, EDGE, HAEM, Appearance, expose, sample_appearance
from hematovision.synthetic.shapes import Array, random_generator

__all__ = ["Field", "RenderedCell", "render_cell", "render_field"]

_Region = tuple[float, float, float, float]
"""``(xmin, ymin, xmax, ymax)`` in pixels, the bounds of centres."""


_APPEARANCE, _LAYOUT, _CAMERA, _CELL = range(4)
_WHITE_SHARES: Mapping[str, float] = {
    "neutrophil": 0.50,
    "lymphocyte": 0.25,
    "monocyte": 0.08,
    "eosinophil": 0.06,
    "basophil": 0.03,
    "ig": 0.05,
    "erythroblast": 0.03,
}


@dataclass
class _Layout:
    """Positions of cells as discs, so that later cells avoid earlier ones."""

    # centre and radius ``(x, y, radius)`` of each cell so far, in pixels
    discs: list[tuple[float, float, float]]

    def add(self, x: float, y: float, radius: float) -> tuple[float, float]:
        """Add a cell at a position."""
        self.discs.append((x, y, radius))
        return x, y

    def overlap(self, points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
        """Return the overlap of a disc at each point with its neighbours, shape (n,).

        In radii of the smaller disc: 0 is touching, 2 is covered.
        """
        if not self.discs:
            return np.full(len(points), -np.inf)
        there = np.array(self.discs)
        distance = np.hypot(*(points[:, None, :] - there[None, :, :2]).transpose(2, 0, 1))
        cut = radius + there[:, 2] - distance
        return np.asarray((cut / np.minimum(radius, there[:, 2])).max(axis=1))

    def find(
        self, rng: np.random.Generator, radius: float, region: _Region, tolerance: float
    ) -> tuple[float, float, float]:
        """Sample up to 40 positions; return x, y and overlap of the first good one, or the best."""
        points = rng.uniform(region[:2], region[2:], (40, 2))
        cuts = self.overlap(points, radius)
        good = np.flatnonzero(cuts <= tolerance)
        best = int(good[0]) if len(good) else int(np.argmin(cuts))
        return float(points[best, 0]), float(points[best, 1]), float(cuts[best])


class _Canvas:
    """Dyes on glass, with the topmost cell and the number of cells at each pixel."""

    def __init__(self, height: int, width: int) -> None:
        self.dyes: Array = np.zeros((DYES, height, width), dtype=np.float32)
        self.labels = np.zeros((height, width), dtype=np.int32)
        self.layers = np.zeros((height, width), dtype=np.uint8)

    def add(self, stamp: Stamp, x: float, y: float, number: int) -> None:
        """Put a cell on the glass, with its centre in the pixel of ``(x, y)``.

        Overlapping red cells are translucent, with less than the sum of their dye, since the smear
        dries thinner there. White cells and platelets displace them.
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
        """Return the part of a cell's mask within the image, and its first column and row."""
        there, part = self._overlap(stamp, x, y)
        return (there[1].start, there[0].start), stamp.mask[part]

    def _overlap(
        self, stamp: Stamp, x: float, y: float
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the image region covered by a stamp, and the part of the stamp inside it."""
        size = stamp.mask.shape[0]
        there, part = [], []
        for centre, length in ((y, self.labels.shape[0]), (x, self.labels.shape[1])):
            start = int(np.floor(centre)) - size // 2
            first, last = max(start, 0), min(start + size, length)
            last = max(first, last)
            there.append(slice(first, last))
            part.append(slice(first - start, last - start))
        return (there[0], there[1]), (part[0], part[1])


@dataclass(frozen=True, eq=False)
class RenderedCell:
    """One cell of a synthetic field."""

    kind: str  # one of `KINDS`
    # ``(xmin, ymin, xmax, ymax)``, `xmax` and `ymax` exclusive: bounds the cell within the field,
    # including pixels hidden by other cells
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]  # the cell's pixels in its box, including hidden ones
    # whether the box reaches the field's border, so that part of the cell may be missing
    touches_border: bool
    overlapped: bool  # whether it shares pixels with another cell, above or below it


@dataclass(frozen=True, eq=False)
class Field:
    """A synthetic field, its cells from bottom to top, and its ground truth; arrays (H, W[, 3])."""

    image: NDArray[np.uint8]  # RGB
    cells: tuple[RenderedCell, ...]  # from bottom to top
    labels: NDArray[np.int32]  # 0 on the background, ``i + 1`` where ``cells[i]`` is on top
    lab: str  # the lab whose stain and optics it shows
    seed: int  # the seed it was rendered from

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Return all pixels of ``cells[index]``, including hidden ones, shape (H, W)."""
        xmin, ymin, xmax, ymax = self.cells[index].box
        whole = np.zeros(self.labels.shape, dtype=np.bool_)
        whole[ymin:ymax, xmin:xmax] = self.cells[index].mask
        return whole


@dataclass(frozen=True, eq=False)
class _Placed:
    kind: str
    stamp: Stamp
    x: float
    y: float


def render_field(
    seed: int,
    size: tuple[int, int] = (480, 640),
    lab: str | None = None,
    cells: Mapping[str, int] | None = None,
) -> Field:
    """Render a microscope field with exact ground truth.

    Raises `ValueError` if an argument is out of range, or a kind or lab is unknown.

    Parameters
    ----------
    seed : int
        At least 0. The same seed and arguments give the same pixels.
    size : tuple of int
        Height and width in pixels, at least 64. A larger field shows more cells, not larger ones.
    lab : str or None
        One of `LABS`; None samples one.
    cells : mapping of str to int, optional
        Exact number of each kind; by default sampled for a field of that size.
    """
    height, width = _checked_size(size)
    appearance = sample_appearance(random_generator(seed, _APPEARANCE), lab)
    rng = random_generator(seed, _LAYOUT)
    kinds = (
        _random_kinds(rng, appearance, height * width) if cells is None else _requested_kinds(cells)
    )
    placed = _place_all(seed, rng, appearance, kinds, (0.0, 0.0, float(width), float(height)))
    canvas = _lay(placed, height, width)
    image = expose(canvas.dyes, appearance, random_generator(seed, _CAMERA))
    return Field(
        image, tuple(_truth(canvas, cell) for cell in placed), canvas.labels, appearance.lab, seed
    )


def render_cell(
    kind: str, seed: int, *, lab: str | None = None, size: int = 200
) -> NDArray[np.uint8]:
    """Render a cell image: one cell in the middle, with neighbours as in a smear.

    Raises `ValueError` if an argument is out of range, or the kind or lab is unknown.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    seed : int
        At least 0. The same seed and arguments give the same pixels.
    lab : str or None
        One of `LABS`; None samples one.
    size : int
        Height and width in pixels, at least 64; the image shows 22 to 37 micrometres, by lab, at
        any size.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
    """
    _checked_size((size, size))
    appearance = sample_appearance(random_generator(seed, _APPEARANCE), lab)
    appearance = replace(appearance, scale=size / appearance.view)
    rng = random_generator(seed, _LAYOUT)
    layout = _Layout([])
    stamp = paint(kind, random_generator(seed, _CELL, 0), appearance)
    x, y = size / 2.0 + rng.normal(0.0, 0.015 * size, 2)
    layout.add(float(x), float(y), 1.08 * _radius(stamp))
    centre = _Placed(kind, stamp, float(x), float(y))
    placed = [*_neighbours(seed, rng, appearance, layout, size), centre]
    if kind == "platelet" and rng.uniform() < 0.2:
        placed += _clump(seed, rng, appearance, layout, centre)
    canvas = _lay(placed, size, size)
    return expose(canvas.dyes, appearance, random_generator(seed, _CAMERA))


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 64:
        raise ValueError(f"`size` must be at least 64 pixels on each side. Received: {size}")
    return size


def _requested_kinds(cells: Mapping[str, int]) -> list[str]:
    unknown = [kind for kind in cells if kind not in KINDS]
    if unknown or any(count < 0 for count in cells.values()):
        raise ValueError(
            f"`cells` must map kinds ({', '.join(KINDS)}) to numbers of 0 or more. "
            f"Received: {dict(cells)}"
        )
    return [kind for kind in KINDS for _ in range(cells.get(kind, 0))]


def _random_kinds(rng: np.random.Generator, appearance: Appearance, pixels: int) -> list[str]:
    """Sample the cells of a field: red cells by crowding, some platelets, mostly one white cell."""
    area = pixels / appearance.scale**2 / 1000.0
    reds, platelets = int(rng.poisson(appearance.crowding * area)), int(rng.poisson(0.7 * area))
    whites = int(rng.poisson(0.35 * area)) if rng.uniform() < 0.3 else max(1, int(0.25 * area))
    shares = np.array(list(_WHITE_SHARES.values()))
    kinds = rng.choice(list(_WHITE_SHARES), size=whites, p=shares / shares.sum())
    return [*map(str, kinds), *["platelet"] * platelets, *["rbc"] * max(1, reds)]


def _radius(stamp: Stamp) -> float:
    """Return the radius of the disc of the cell's area, in pixels."""
    return float(np.sqrt(max(1.0, float(stamp.mask.sum())) / np.pi))


def _tolerance(rng: np.random.Generator, kind: str) -> float:
    """Return the allowed overlap of a cell with others: red cells sometimes overlap."""
    if kind != "rbc":
        return 0.06
    return float(rng.choice((0.05, rng.uniform(0.1, 0.9)), p=(0.65, 0.35)))


def _place_all(
    seed: int, rng: np.random.Generator, appearance: Appearance, kinds: list[str], region: _Region
) -> list[_Placed]:
    """Render and place every cell, starting with white cells, which need most space."""
    layout = _Layout([])
    placed = []
    order = sorted(kinds, key=lambda kind: {"rbc": 2, "platelet": 1}.get(kind, 0))
    for number, kind in enumerate(order):
        stamp = paint(kind, random_generator(seed, _CELL, number), appearance)
        radius = _radius(stamp)
        x, y, _ = layout.find(rng, radius, region, _tolerance(rng, kind))
        layout.add(x, y, radius)
        placed.append(_Placed(kind, stamp, x, y))
    return placed[::-1]


def _neighbours(
    seed: int, rng: np.random.Generator, appearance: Appearance, layout: _Layout, size: int
) -> list[_Placed]:
    """Render the cells around the middle one of a cell image, partly beyond its border."""
    reach = 3.0 * appearance.scale
    region = (-reach, -reach, size + reach, size + reach)
    count = int(
        rng.poisson(appearance.crowding * ((size + 2.0 * reach) / appearance.scale) ** 2 / 1000.0)
    )
    kinds = ["rbc"] * count + ["platelet"] * int(rng.poisson(0.5))
    placed = []
    for number, kind in enumerate(kinds, start=1):
        stamp = paint(kind, random_generator(seed, _CELL, number), appearance)
        radius, tolerance = _radius(stamp), _tolerance(rng, kind)
        x, y, cut = layout.find(rng, radius, region, tolerance)
        away = np.hypot(x - layout.discs[0][0], y - layout.discs[0][1])
        if cut > 1.0 or away < 0.92 * (radius + layout.discs[0][2]):
            continue
        layout.add(x, y, radius)
        placed.append(_Placed(kind, stamp, x, y))
    return placed


def _clump(
    seed: int, rng: np.random.Generator, appearance: Appearance, layout: _Layout, centre: _Placed
) -> list[_Placed]:
    """Render further platelets that cling to the one in the middle."""
    placed = [centre]
    for number in range(int(rng.integers(1, 5))):
        stamp = paint("platelet", random_generator(seed, _CELL, 1000 + number), appearance)
        other = placed[int(rng.integers(len(placed)))]
        angle, near = rng.uniform(0.0, 2.0 * np.pi), 0.9 * (_radius(stamp) + _radius(other.stamp))
        x, y = layout.add(
            other.x + near * float(np.cos(angle)),
            other.y + near * float(np.sin(angle)),
            _radius(stamp),
        )
        placed.append(_Placed("platelet", stamp, x, y))
    return placed[1:]


def _lay(placed: list[_Placed], height: int, width: int) -> _Canvas:
    """Put cells on a canvas in order."""
    canvas = _Canvas(height, width)
    for number, cell in enumerate(placed, start=1):
        canvas.add(cell.stamp, cell.x, cell.y, number)
    return canvas


def _truth(canvas: _Canvas, cell: _Placed) -> RenderedCell:
    """Return the ground truth of one cell on the finished canvas; its centre lies in the field."""
    (left, top), mask = canvas.clip(cell.stamp, cell.x, cell.y)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    xmin, ymin, xmax, ymax = map(int, box)
    height, width = canvas.labels.shape
    inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    border = xmin == 0 or ymin == 0 or xmax == width or ymax == height
    shared = bool((canvas.layers[ymin:ymax, xmin:xmax][inner] > 1).any())
    return RenderedCell(cell.kind, (xmin, ymin, xmax, ymax), inner.copy(), border, shared)
