"""Shapes of nuclei as chains of capsules, in units of the cell's radius."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hematovision.synthetic.shapes import Array

__all__ = ["bilobed", "kidney", "lobed", "off_centre", "round_nucleus"]


def round_nucleus(
    smallest: float, largest: float, off: float
) -> Callable[[np.random.Generator], Array]:
    """Return a maker of round to oval nuclei.

    Parameters
    ----------
    smallest, largest : float
        Radius, in cell radii.
    off : float
        How far the centre may lie from the cell's, in cell radii.
    """

    def make(rng: np.random.Generator) -> Array:
        radius = float(rng.uniform(smallest, largest))
        half = radius * float(rng.uniform(0.02, 0.16))
        angle = float(rng.uniform(0.0, 2.0 * np.pi))
        away = float(rng.uniform(0.0, min(off, max(0.0, 0.95 - radius))))
        dx, dy = half * np.cos(angle), half * np.sin(angle)
        return np.array([[away - dx, -dy, away + dx, dy, radius - half]], dtype=np.float32)

    return make


def _along_arc(
    rng: np.random.Generator, bends: int, reach: float, span: float, jitter: float
) -> Array:
    """Return points along an arc around the cell's centre, shape (bends, 2)."""
    angles = np.linspace(-span / 2.0, span / 2.0, bends) + rng.normal(0.0, jitter, bends)
    reaches = reach * (1.0 + rng.normal(0.0, 0.12, bends))
    points = np.stack([reaches * np.cos(angles), reaches * np.sin(angles)], axis=1)
    return np.asarray(points - 0.25 * points.mean(axis=0), dtype=np.float32)


def _chain(points: Array, width: float) -> Array:
    """Return capsules of radius `width` from each point to the next, shape (n - 1, 5)."""
    widths = np.full((len(points) - 1, 1), width, dtype=np.float32)
    return np.hstack([points[:-1], points[1:], widths])


def lobed(rng: np.random.Generator) -> Array:
    """Make the nucleus of a neutrophil: a band, or 2 to 5 lobes joined by bridges."""
    lobes = int(rng.choice((1, 2, 3, 4, 5), p=(0.18, 0.16, 0.34, 0.24, 0.08)))
    if lobes == 1:
        points = _along_arc(
            rng, 5, float(rng.uniform(0.4, 0.55)), float(rng.uniform(2.6, 4.4)), 0.1
        )
        return _chain(points, float(rng.uniform(0.19, 0.26)))
    span = float(rng.uniform(0.85, 1.25)) * (1.0 + 0.85 * lobes)
    points = _along_arc(rng, lobes, float(rng.uniform(0.48, 0.62)), span, 0.18)
    radius = 0.62 / lobes**0.6
    lengths = 0.5 * radius * rng.uniform(0.1, 1.1, lobes)
    angles = np.arctan2(points[:, 1], points[:, 0]) + np.pi / 2 + rng.normal(0.0, 0.5, lobes)
    half = (lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(
        np.float32
    )
    radii = (radius * rng.uniform(0.75, 1.1, (lobes, 1))).astype(np.float32)
    bridges = _chain(points, float(rng.uniform(0.07, 0.13)))
    return np.vstack([np.hstack([points - half, points + half, radii]), bridges])


def bilobed(rng: np.random.Generator) -> Array:
    """Make the nucleus of an eosinophil: two fat lobes, now and then three."""
    lobes = 3 if rng.uniform() < 0.15 else 2
    points = _along_arc(rng, lobes, 0.50, float(rng.uniform(1.7, 2.7)) * (lobes - 1) ** 0.6, 0.1)
    points = points + np.array([0.1, 0.0], dtype=np.float32)
    radii = rng.uniform(0.33, 0.41, (lobes, 1)).astype(np.float32) * np.float32(1.6 / lobes**0.68)
    blobs = np.hstack([points, points + rng.normal(0.0, 0.08, points.shape), radii])
    bridges = _chain(points, float(rng.uniform(0.09, 0.2)))
    return np.vstack([blobs, bridges]).astype(np.float32)


def kidney(rng: np.random.Generator) -> Array:
    """Make the nucleus of a monocyte: a bean, a kidney or a horseshoe."""
    reach, width = float(rng.uniform(0.26, 0.42)), float(rng.uniform(0.36, 0.50))
    points = _along_arc(rng, 4, reach, float(rng.uniform(1.6, 3.6)), 0.12)
    return _chain(points, width)


def off_centre(rng: np.random.Generator) -> Array:
    """Make the nucleus of a basophil: a broad, folded body that granules hide."""
    points = _along_arc(rng, 3, 0.35, float(rng.uniform(1.5, 3.0)), 0.2)
    return _chain(points, float(rng.uniform(0.32, 0.44)))
