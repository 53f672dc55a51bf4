"""Drawn fields and drawn cell images, with the truth that no annotator can give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hematovision.synthetic.camera import expose
from hematovision.synthetic.cells import Stamp
from hematovision.synthetic.scene import KINDS, Canvas, Layout, Region, paint
from hematovision.synthetic.shapes import random_generator
from hematovision.synthetic.stain import Look, sample_appearance

__all__ = ["Field", "RenderedCell", "render_cell", "render_field"]

_LOOK, _LAYOUT, _CAMERA, _CELL = range(4)
_WHITE_SHARES: Mapping[str, float] = {
    "neutrophil": 0.50,
    "lymphocyte": 0.25,
    "monocyte": 0.08,
    "eosinophil": 0.06,
    "basophil": 0.03,
    "ig": 0.05,
    "erythroblast": 0.03,
}


@dataclass(frozen=True, eq=False)
class RenderedCell:
    """One cell of a drawn field.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    box : tuple of int
        ``(xmin, ymin, xmax, ymax)``, `xmax` and `ymax` exclusive: bounds the whole cell as far
        as it lies in the field, what another cell hides included.
    mask : ndarray of bool, shape (ymax - ymin, xmax - xmin)
        The cell's pixels in its box, hidden ones included.
    touches_border : bool
        Whether the box reaches the field's border, so that part of the cell may be missing.
    overlapped : bool
        Whether it shares pixels with another cell, above or below it.
    """

    kind: str
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]
    touches_border: bool
    overlapped: bool


@dataclass(frozen=True, eq=False)
class Field:
    """A drawn field and its truth.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    cells : tuple of RenderedCell
        In drawing order; what comes later lies on top.
    labels : ndarray of int32, shape (H, W)
        0 on the background, ``i + 1`` where ``cells[i]`` lies on top.
    lab : str
        The lab whose stain and optics it shows.
    seed : int
        What it was drawn from.
    """

    image: NDArray[np.uint8]
    cells: tuple[RenderedCell, ...]
    labels: NDArray[np.int32]
    lab: str
    seed: int

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Return all pixels of ``cells[index]``, hidden ones included, shape (H, W)."""
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
    """Draw a microscope field with exact truth.

    Parameters
    ----------
    seed : int
        At least 0. The same seed and arguments give the same pixels.
    size : tuple of int
        Height and width in pixels, each at least 64. A larger field shows more of the smear,
        not larger cells.
    lab : str or None
        One of `LABS`; None takes one by chance.
    cells : mapping of str to int, optional
        How many of each kind, exactly; by default as many as a field of that size has by chance.

    Raises
    ------
    ValueError
        If an argument is out of range or a kind or lab is not known.
    """
    height, width = _checked_size(size)
    look = sample_appearance(random_generator(seed, _LOOK), lab)
    rng = random_generator(seed, _LAYOUT)
    kinds = _chance_kinds(rng, look, height * width) if cells is None else _asked_kinds(cells)
    placed = _place_all(seed, rng, look, kinds, (0.0, 0.0, float(width), float(height)))
    canvas = _lay(placed, height, width)
    image = expose(canvas.dyes, look, random_generator(seed, _CAMERA))
    return Field(
        image, tuple(_truth(canvas, cell) for cell in placed), canvas.labels, look.lab, seed
    )


def render_cell(
    kind: str, seed: int, *, lab: str | None = None, size: int = 200
) -> NDArray[np.uint8]:
    """Draw a cell image: one cell in the middle, neighbours around it as in a crop of a smear.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    seed : int
        At least 0. The same seed and arguments give the same pixels.
    lab : str or None
        One of `LABS`; None takes one by chance.
    size : int
        Height and width in pixels, at least 64; what the image shows (22 to 37 micrometres,
        by lab) does not depend on it.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)

    Raises
    ------
    ValueError
        If an argument is out of range or the kind or lab is not known.
    """
    _checked_size((size, size))
    look = sample_appearance(random_generator(seed, _LOOK), lab)
    look = replace(look, scale=size / look.view)
    rng = random_generator(seed, _LAYOUT)
    layout = Layout()
    stamp = paint(kind, random_generator(seed, _CELL, 0), look)
    x, y = size / 2.0 + rng.normal(0.0, 0.015 * size, 2)
    layout.add(float(x), float(y), 1.08 * _radius(stamp))
    centre = _Placed(kind, stamp, float(x), float(y))
    placed = [*_neighbours(seed, rng, look, layout, size), centre]
    if kind == "platelet" and rng.uniform() < 0.2:
        placed += _clump(seed, rng, look, layout, centre)
    canvas = _lay(placed, size, size)
    return expose(canvas.dyes, look, random_generator(seed, _CAMERA))


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 64:
        raise ValueError(f"`size` must be at least 64 pixels to each side. Received: {size}")
    return size


def _asked_kinds(cells: Mapping[str, int]) -> list[str]:
    unknown = [kind for kind in cells if kind not in KINDS]
    if unknown or any(count < 0 for count in cells.values()):
        raise ValueError(
            f"`cells` must give a number of 0 or more for kinds of {', '.join(KINDS)}. "
            f"Received: {dict(cells)}"
        )
    return [kind for kind in KINDS for _ in range(cells.get(kind, 0))]


def _chance_kinds(rng: np.random.Generator, look: Look, pixels: int) -> list[str]:
    """Draw what a field holds: red cells by crowding, platelets by chance, mostly one white."""
    area = pixels / look.scale**2 / 1000.0
    reds, platelets = int(rng.poisson(look.crowding * area)), int(rng.poisson(0.7 * area))
    whites = int(rng.poisson(0.35 * area)) if rng.uniform() < 0.3 else max(1, int(0.25 * area))
    shares = np.array(list(_WHITE_SHARES.values()))
    kinds = rng.choice(list(_WHITE_SHARES), size=whites, p=shares / shares.sum())
    return [*map(str, kinds), *["platelet"] * platelets, *["rbc"] * max(1, reds)]


def _radius(stamp: Stamp) -> float:
    """Return the radius of the disc of the cell's area, in pixels."""
    return float(np.sqrt(max(1.0, float(stamp.mask.sum())) / np.pi))


def _tolerance(rng: np.random.Generator, kind: str) -> float:
    """Return how deep a cell may cut into others: red cells lie on one another now and then."""
    if kind != "rbc":
        return 0.06
    return float(rng.choice((0.05, rng.uniform(0.1, 0.9)), p=(0.65, 0.35)))


def _place_all(
    seed: int, rng: np.random.Generator, look: Look, kinds: list[str], region: Region
) -> list[_Placed]:
    """Paint and place every cell: white cells first, for they need most room; reds drawn first."""
    layout = Layout()
    placed = []
    order = sorted(kinds, key=lambda kind: {"rbc": 2, "platelet": 1}.get(kind, 0))
    for number, kind in enumerate(order):
        stamp = paint(kind, random_generator(seed, _CELL, number), look)
        radius = _radius(stamp)
        x, y, _ = layout.find(rng, radius, region, _tolerance(rng, kind))
        layout.add(x, y, radius)
        placed.append(_Placed(kind, stamp, x, y))
    return placed[::-1]


def _neighbours(
    seed: int, rng: np.random.Generator, look: Look, layout: Layout, size: int
) -> list[_Placed]:
    """Paint what lies around the cell in the middle of a cell image, partly beyond its border."""
    reach = 3.0 * look.scale
    region = (-reach, -reach, size + reach, size + reach)
    count = int(rng.poisson(look.crowding * ((size + 2.0 * reach) / look.scale) ** 2 / 1000.0))
    kinds = ["rbc"] * count + ["platelet"] * int(rng.poisson(0.5))
    placed = []
    for number, kind in enumerate(kinds, start=1):
        stamp = paint(kind, random_generator(seed, _CELL, number), look)
        radius, tolerance = _radius(stamp), _tolerance(rng, kind)
        x, y, cut = layout.find(rng, radius, region, tolerance)
        away = np.hypot(x - layout.discs[0][0], y - layout.discs[0][1])
        if cut > 1.0 or away < 0.92 * (radius + layout.discs[0][2]):
            continue
        layout.add(x, y, radius)
        placed.append(_Placed(kind, stamp, x, y))
    return placed


def _clump(
    seed: int, rng: np.random.Generator, look: Look, layout: Layout, centre: _Placed
) -> list[_Placed]:
    """Paint further platelets that cling to the one in the middle."""
    placed = [centre]
    for number in range(int(rng.integers(1, 5))):
        stamp = paint("platelet", random_generator(seed, _CELL, 1000 + number), look)
        other = placed[int(rng.integers(len(placed)))]
        angle, near = rng.uniform(0.0, 2.0 * np.pi), 0.9 * (_radius(stamp) + _radius(other.stamp))
        x, y = layout.add(
            other.x + near * float(np.cos(angle)),
            other.y + near * float(np.sin(angle)),
            _radius(stamp),
        )
        placed.append(_Placed("platelet", stamp, x, y))
    return placed[1:]


def _lay(placed: list[_Placed], height: int, width: int) -> Canvas:
    """Lay cells on a canvas in order."""
    canvas = Canvas(height, width)
    for number, cell in enumerate(placed, start=1):
        canvas.add(cell.stamp, cell.x, cell.y, number)
    return canvas


def _truth(canvas: Canvas, cell: _Placed) -> RenderedCell:
    """Read the truth about one cell off the finished canvas; its centre lies in the field."""
    (left, top), mask = canvas.clip(cell.stamp, cell.x, cell.y)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    xmin, ymin, xmax, ymax = map(int, box)
    height, width = canvas.labels.shape
    inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    border = xmin == 0 or ymin == 0 or xmax == width or ymax == height
    shared = bool((canvas.layers[ymin:ymax, xmin:xmax][inner] > 1).any())
    return RenderedCell(cell.kind, (xmin, ymin, xmax, ymax), inner.copy(), border, shared)
