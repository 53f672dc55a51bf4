"""One cell of any kind as a stamp: how much of each dye it holds, and which pixels are its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.synthetic.shapes import (
    Array,
    Patch,
    coverage,
    grain,
    make_patch,
    outline,
    outline_depth,
    spots,
)
from hematovision.synthetic.stain import AZURE, BLUE, DYES, EDGE, EOSIN, HAEM, Look

__all__ = [
    "Stamp",
    "disc_thickness",
    "edge_line",
    "oriented_patch",
    "paint_platelet",
    "paint_red",
    "scatter",
]

_THICKEST = 2.565  # of the disc of `disc_thickness`, in micrometres: at 0.70 of its radius
_HOLLOW = 1.0 - 0.81 / _THICKEST


@dataclass(frozen=True, eq=False)
class Stamp:
    """A painted cell, its centre in the middle of a square patch.

    Parameters
    ----------
    dyes : ndarray of float32, shape (DYES, n, n)
        Amount of each dye.
    solid : ndarray of float32, shape (n, n)
        How much the cell pushes away what lies below it, 0 to 1.
    mask : ndarray of bool, shape (n, n)
        The pixels whose centres lie within the cell's outline.
    """

    dyes: Array
    solid: Array
    mask: NDArray[np.bool_]


def oriented_patch(rng: np.random.Generator, look: Look, reach: float) -> Patch:
    """Return a patch turned at random and shifted by a part of a pixel."""
    offset = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5)))
    turn = float(rng.uniform(0.0, 2.0 * np.pi))
    return make_patch(reach, look.scale, offset, turn, look.oval)


def edge_line(depth: Array, width: float) -> Array:
    """Return the thin line of refraction around an outline: 1 on it, fading over `width`."""
    return np.asarray(np.exp(-((depth / np.float32(width)) ** 2)), dtype=np.float32)


def scatter(
    rng: np.random.Generator,
    patch: Patch,
    room: Array,
    per_area: float,
    radius: tuple[float, float],
) -> Array:
    """Return the coverage of granules scattered where `room` is positive.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where they fall.
    patch : Patch
        Where to draw.
    room : ndarray, shape of the patch
        Granules whose centre falls where this is at or below 0 are left out.
    per_area : float
        Mean number in a square micrometre.
    radius : tuple of float
        Smallest and largest, in micrometres.
    """
    height, width = patch.shape
    count = int(rng.poisson(per_area * height * width / patch.scale**2))
    points = np.asarray(rng.uniform(0.0, (width, height), (count, 2)), dtype=np.float32)
    points = np.minimum(points, np.array([width, height], dtype=np.float32) - 0.01)
    radii = np.asarray(rng.uniform(*radius, count) * patch.scale, dtype=np.float32)
    stays = room[points[:, 1].astype(np.int64), points[:, 0].astype(np.int64)] > 0.0
    return spots(patch, points[stays], radii[stays])


def _red_outline(rng: np.random.Generator, radius: float) -> Array:
    """Draw the outline of a red cell: mostly round, some oval, teardrop, crenated, irregular."""
    style = rng.choice(5, p=(0.63, 0.20, 0.13, 0.02, 0.02))
    oval, wobble = float(rng.uniform(1.0, 1.12)), float(rng.uniform(0.005, 0.02))
    if style == 1:
        return outline(rng, radius, oval=float(rng.uniform(1.15, 1.5)), wobble=wobble)
    if style == 2:
        return outline(rng, radius, oval=oval, wobble=float(rng.uniform(0.03, 0.055)))
    if style == 3:
        tail = float(rng.uniform(0.35, 0.7))
        return outline(rng, 0.93 * radius, oval=oval * 1.1, wobble=wobble, tail=tail)
    if style == 4:
        spikes = float(rng.uniform(0.04, 0.09))
        return outline(rng, 0.96 * radius, oval=oval, wobble=wobble, spikes=spikes)
    return outline(rng, radius, oval=oval, wobble=wobble)


def disc_thickness(relative: Array) -> Array:
    """Return the thickness of a red cell over its largest, by relative radius (0 to 1).

    The biconcave disc of Evans & Fung 1972, Microvasc. Res. 4:335-347 (mean cell at 300 mOsm:
    coefficients 0.81, 7.83 and -4.39 micrometres).
    """
    square = np.clip(relative, 0.0, 1.0) ** 2
    profile = np.sqrt(1.0 - square) * (0.81 + 7.83 * square - 4.39 * square * square)
    return np.asarray(profile / np.float32(_THICKEST), dtype=np.float32)


def paint_red(rng: np.random.Generator, look: Look) -> Stamp:
    """Paint a red cell: a dried biconcave disc, about 7.5 micrometres across.

    Smears flatten the rim, so the thickness is a plateau with the hollow of `disc_thickness` in
    it; the hollow may be shallow, steep, off the centre, wider or narrower than the textbook's.
    """
    radius = float(np.clip(rng.normal(3.75, 0.38), 2.6, 4.9))
    radii = _red_outline(rng, radius)
    patch = oriented_patch(rng, look, float(radii.max()))
    depth, relative = outline_depth(patch, radii)
    off = rng.normal(0.0, 0.09, 2).astype(np.float32) / np.float32(radius)
    hollow = relative + (off[0] * patch.x + off[1] * patch.y) * np.clip(1.0 - relative, 0.0, 1.0)
    power = float(np.exp(rng.normal(0.05, 0.25)))
    disc = disc_thickness(np.clip(hollow, 0.0, 1.0) ** np.float32(power))
    plateau = np.clip(1.1 - 0.12 * relative**4, 0.0, 1.0)
    share = np.float32(np.clip(look.pallor * rng.normal(0.9, 0.2), 0.08, 1.0))
    lost = np.asarray((1.0 - disc) / np.float32(_HOLLOW), dtype=np.float32) * (relative < 0.8)
    steep = np.float32(rng.uniform(0.0, 1.0))
    lost = (1.0 - steep) * lost + steep * coverage(lost - 0.42, 1.0, 0.75)
    body = coverage(depth, look.scale, 1.5 + 0.12 * look.scale)
    amount = plateau * (1.0 - share * lost) * body * np.float32(rng.normal(1.0, 0.09))
    dyes = np.zeros((DYES, *patch.shape), dtype=np.float32)
    dyes[HAEM] = amount * (1.0 + 0.02 * grain(rng, patch.shape, 0.5 * look.scale))
    dyes[EDGE] = edge_line(depth + 0.1, 0.35)
    if rng.uniform() < 0.06:  # a speck of stain or a Howell-Jolly body
        dyes[AZURE] = 0.6 * scatter(rng, patch, depth - 1.0, 0.03, (0.12, 0.35))
    return Stamp(dyes, np.zeros(patch.shape, dtype=np.float32), depth >= 0.0)


def paint_platelet(rng: np.random.Generator, look: Look) -> Stamp:
    """Paint a platelet: 1.8 to 5 micrometres, pale blue, with violet granules in its middle."""
    radius = float(np.clip(np.exp(rng.normal(0.55, 0.28)), 0.9, 2.9))
    spikes = float(rng.choice((0.0, 0.08, 0.18), p=(0.72, 0.22, 0.06)))
    oval = float(rng.uniform(1.0, 1.5))
    radii = outline(rng, radius, oval=oval, wobble=0.05, spikes=spikes)
    patch = oriented_patch(rng, look, float(radii.max()))
    depth, relative = outline_depth(patch, radii)
    fuzz = 0.12 * grain(rng, patch.shape, 0.45 * look.scale)
    depth = depth + fuzz.astype(np.float32)
    body = coverage(depth, look.scale, 1.5 + 0.3 * look.scale)
    gathered = np.clip(1.2 - relative**2 * float(rng.uniform(0.6, 1.3)), 0.0, 1.0)
    strength = float(rng.uniform(0.25, 1.0))
    cloud = np.clip(0.75 + 0.35 * grain(rng, patch.shape, 0.35 * look.scale), 0.0, 1.6)
    granules = scatter(rng, patch, depth - 0.1, 6.0, (0.10, 0.24))
    dyes = np.zeros((DYES, *patch.shape), dtype=np.float32)
    dyes[BLUE] = body * np.float32(rng.uniform(0.25, 0.6))
    dyes[EOSIN] = body * np.float32(rng.uniform(0.0, 0.25))
    azure = gathered * np.float32(strength) * (0.55 * cloud + 0.5 * granules)
    dyes[AZURE] = body * azure
    return Stamp(dyes, 0.6 * body, depth >= 0.0)
