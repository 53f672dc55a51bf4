"""The geometry of cells: outlines, chains of lobes, grain and spots, on a grid in micrometres.

Every shape is a *depth*: the distance of each pixel from the outline in micrometres, positive
inside. `coverage` converts depths to masks with soft edges; `depth >= 0` is the exact shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "Array", "Patch", "capsule_depth", "coverage", "grain", "make_patch", "outline",
    "outline_depth", "random_generator", "spots",
]  # fmt: skip

Array = NDArray[np.float32]

_ANGLES = 360


def random_generator(seed: int, *key: int) -> np.random.Generator:
    """Return the random stream of one object in a rendered image.

    `key` is the object (image and cell). Streams of different keys are independent, so objects do
    not depend on the order of rendering. Raises `ValueError` if `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"`seed` must be 0 or more. Received: {seed}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True, eq=False)
class Patch:
    """A square grid around a cell's centre, shape (n, n)."""

    x: Array  # position relative to the cell's centre, in micrometres
    y: Array  # likewise
    scale: float  # pixels per micrometre

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.x.shape[0], self.x.shape[1]


def make_patch(
    reach: float,
    scale: float,
    offset: tuple[float, float] = (0.0, 0.0),
    turn: float = 0.0,
    stretch: float = 1.0,
) -> Patch:
    """Return a grid that extends `reach` micrometres from the cell's centre on every side.

    `scale` is in pixels per micrometre. `offset` is the position of the cell's centre in pixels,
    relative to the middle pixel's centre. `turn` is the rotation of the cell's axes in radians, and
    `stretch` the height over width of a circle in the image.
    """
    half = int(np.ceil(reach * scale * np.sqrt(stretch))) + 2
    steps = np.arange(-half, half + 1, dtype=np.float32)
    x = (steps - np.float32(offset[0]))[None, :] / np.float32(scale / np.sqrt(stretch))
    y = (steps - np.float32(offset[1]))[:, None] / np.float32(scale * np.sqrt(stretch))
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return Patch(cosine * x + sine * y, cosine * y - sine * x, scale)


def coverage(depth: Array, scale: float, softness: float = 1.5) -> Array:
    """Return the fraction of each pixel inside a shape, 0 to 1, smooth over `softness` pixels."""
    step = np.clip(depth * np.float32(scale / softness) + np.float32(0.5), 0.0, 1.0)
    return np.asarray(step * step * (3.0 - 2.0 * step), dtype=np.float32)


def outline(
    rng: np.random.Generator,
    radius: float,
    *,
    oval: float = 1.0,
    wobble: float = 0.02,
    spikes: float = 0.0,
    tail: float = 0.0,
) -> Array:
    """Return a closed outline as radii over the full circle, shape (360,), in micrometres.

    Parameters
    ----------
    radius : float
        Mean radius in micrometres.
    oval : float
        Long axis over short axis of the underlying ellipse.
    wobble, spikes, tail : float
        Relative size of smooth irregularities (2 to 7 waves per turn), of a crenated cell's points
        (9 to 14 per turn, of uneven heights), and of a teardrop's single tail.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, _ANGLES, endpoint=False)
    long, short = np.sqrt(oval), 1.0 / np.sqrt(oval)
    radii = 1.0 / np.sqrt((np.cos(angle) / long) ** 2 + (np.sin(angle) / short) ** 2)
    for waves in range(2, 8):
        height, phase = rng.normal(0.0, wobble / (waves - 1) ** 0.7), rng.uniform(0.0, 2.0 * np.pi)
        radii = radii + height * np.cos(waves * angle + phase)
    points, phase = rng.integers(9, 15), rng.uniform(0.0, 2.0 * np.pi)
    uneven = 1.0 + 0.5 * np.cos(3.0 * angle + rng.uniform(0.0, 2.0 * np.pi))
    radii = radii + spikes * uneven * np.abs(np.cos(points * angle / 2.0 + phase)) ** 3
    radii = radii + tail * np.exp(-(((angle - np.pi) / 0.28) ** 2))
    return np.asarray(radius * radii, dtype=np.float32)


def outline_depth(patch: Patch, radii: Array) -> tuple[Array, Array]:
    """Return the depth inside an outline, in micrometres, and the relative radius.

    The depth is exact to first order: the radial distance divided by the slant of the outline. The
    relative radius is 0 at the centre and 1 on the outline.
    """
    distance = np.sqrt(patch.x * patch.x + patch.y * patch.y)
    place = np.arctan2(patch.y, patch.x) * np.float32(_ANGLES / (2.0 * np.pi))
    below = np.floor(place)
    share = place - below
    first = below.astype(np.int32) % _ANGLES
    there = radii[first] * (1.0 - share) + radii[(first + 1) % _ANGLES] * share
    slope = (np.roll(radii, -1) - np.roll(radii, 1)) * np.float32(_ANGLES / (4.0 * np.pi))
    slant = np.sqrt(np.float32(1.0) + (slope / radii) ** 2).astype(np.float32)
    return (there - distance) / slant[first], distance / there


def capsule_depth(patch: Patch, capsules: Array, blend: float) -> Array:
    """Return the depth inside a smooth union of capsules (log-sum-exp of the distances).

    Each row of `capsules` (k, 5) is ``x0, y0, x1, y1, radius`` in micrometres: all points nearer
    than `radius` to the segment from ``(x0, y0)`` to ``(x1, y1)``. `blend` is the width of the
    transition between them.
    """
    total = np.zeros(patch.shape, dtype=np.float32)
    for x0, y0, x1, y1, radius in np.asarray(capsules, dtype=np.float32):
        dx, dy = x1 - x0, y1 - y0
        along = ((patch.x - x0) * dx + (patch.y - y0) * dy) / max(dx * dx + dy * dy, 1e-6)
        along = np.clip(along, 0.0, 1.0)
        px, py = patch.x - x0 - along * dx, patch.y - y0 - along * dy
        depth = radius - np.sqrt(px * px + py * py)
        total += np.exp(np.clip(depth / np.float32(blend), -40.0, 40.0))
    return np.float32(blend) * np.log(total)


def grain(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Array:
    """Return smooth noise of mean 0, standard deviation about 1 and grain size `size` in pixels.

    White noise on a coarse grid, enlarged with a bicubic filter.
    """
    size = max(size, 1.0)
    rows, columns = (int(np.ceil(length / size)) + 3 for length in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    start = rng.uniform(0.0, 1.0, 2)
    left, top = float(start[0]), float(start[1])
    box = (left, top, left + shape[1] / size, top + shape[0] / size)
    large = Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box)
    return np.asarray(large, dtype=np.float32) * np.float32(1.25)


def spots(patch: Patch, points: Array, radii: Array) -> Array:
    """Return the coverage of small discs, 0 to 1; the maximum where discs overlap.

    `points` (k, 2) are the column and row of each centre in the patch, `radii` (k,) in pixels.
    """
    height, width = patch.shape
    cover = np.zeros(height * width, dtype=np.float32)
    if len(points) == 0:
        return cover.reshape(height, width)
    reach = int(np.ceil(float(np.max(radii)))) + 1
    steps = np.arange(-reach, reach + 1)
    columns = np.floor(points[:, 0]).astype(np.int64)[:, None, None] + steps[None, None, :]
    rows = np.floor(points[:, 1]).astype(np.int64)[:, None, None] + steps[None, :, None]
    away = np.hypot(columns - points[:, 0, None, None], rows - points[:, 1, None, None])
    level = np.clip(radii[:, None, None] - away + 0.5, 0.0, 1.0).astype(np.float32)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    place = np.clip(rows, 0, height - 1) * width + np.clip(columns, 0, width - 1)
    np.maximum.at(cover, place.ravel(), np.where(inside, level, 0.0).ravel())
    return cover.reshape(height, width)
