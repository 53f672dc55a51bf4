"""Cells of any kind as stamps: amounts of dye and pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.synthetic.labs import AZURE, BLUE, DYES, EDGE, EOSIN, HAEM, Appearance
from hematovision.synthetic.shapes import (
    Array,
    Patch,
    capsule_depth,
    coverage,
    grain,
    make_patch,
    outline,
    outline_depth,
    spots,
)

__all__ = ["KINDS", "WHITE_KINDS", "Stamp", "disc_thickness", "paint"]

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
"""The kinds of cells: the classes of `hematovision.taxonomy.PBC8`, and red cells."""

Range = tuple[float, float]

_THICKEST = 2.565  # maximum of `disc_thickness` in micrometres, at 0.70 of the radius
_HOLLOW = 1.0 - 0.81 / _THICKEST


@dataclass(frozen=True, eq=False)
class Stamp:
    """A rendered cell in the middle of a patch; arrays of shape (n, n), `dyes` (DYES, n, n)."""

    dyes: Array  # amount of each dye
    solid: Array  # how far the cell displaces cells below it, 0 to 1
    mask: NDArray[np.bool_]  # the pixels whose centres are within the cell's outline


def _oriented_patch(rng: np.random.Generator, appearance: Appearance, reach: float) -> Patch:
    """Return a patch with a random rotation and subpixel offset."""
    offset = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5)))
    turn = float(rng.uniform(0.0, 2.0 * np.pi))
    return make_patch(reach, appearance.scale, offset, turn, appearance.oval)


def _edge_line(depth: Array, width: float) -> Array:
    """Return the thin line of refraction along an outline: 1 on it, fading over `width`."""
    return np.asarray(np.exp(-((depth / np.float32(width)) ** 2)), dtype=np.float32)


def _scatter(
    rng: np.random.Generator,
    patch: Patch,
    allowed: Array,
    per_area: float,
    radius: tuple[float, float],
) -> Array:
    """Return the coverage of granules with centres where `allowed` is positive.

    `per_area` is their mean number per square micrometre, `radius` the smallest and largest in
    micrometres.
    """
    height, width = patch.shape
    count = int(rng.poisson(per_area * height * width / patch.scale**2))
    points = np.asarray(rng.uniform(0.0, (width, height), (count, 2)), dtype=np.float32)
    points = np.minimum(points, np.array([width, height], dtype=np.float32) - 0.01)
    radii = np.asarray(rng.uniform(*radius, count) * patch.scale, dtype=np.float32)
    stays = allowed[points[:, 1].astype(np.int64), points[:, 0].astype(np.int64)] > 0.0
    return spots(patch, points[stays], radii[stays])


def _red_outline(rng: np.random.Generator, radius: float) -> Array:
    """Sample the outline of a red cell: mostly round, some oval, teardrop, crenated, irregular."""
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
    """Return the thickness of a red cell relative to its maximum, by relative radius (0 to 1).

    The biconcave disc of Evans & Fung 1972, Microvasc. Res. 4:335-347 (mean cell at 300 mOsm:
    coefficients 0.81, 7.83 and -4.39 micrometres).
    """
    square = np.clip(relative, 0.0, 1.0) ** 2
    profile = np.sqrt(1.0 - square) * (0.81 + 7.83 * square - 4.39 * square * square)
    return np.asarray(profile / np.float32(_THICKEST), dtype=np.float32)


def _paint_red(rng: np.random.Generator, appearance: Appearance) -> Stamp:
    """Render a red cell: a dried biconcave disc, about 7.5 micrometres across.

    Smears flatten the rim, so the thickness is a plateau with the hollow of `disc_thickness`. The
    hollow may be shallow, steep, off centre, or wider or narrower than in the textbook.
    """
    radius = float(np.clip(rng.normal(3.75, 0.38), 2.6, 4.9))
    radii = _red_outline(rng, radius)
    patch = _oriented_patch(rng, appearance, float(radii.max()))
    depth, relative = outline_depth(patch, radii)
    off = rng.normal(0.0, 0.09, 2).astype(np.float32) / np.float32(radius)
    hollow = relative + (off[0] * patch.x + off[1] * patch.y) * np.clip(1.0 - relative, 0.0, 1.0)
    power = float(np.exp(rng.normal(0.05, 0.25)))
    disc = disc_thickness(np.clip(hollow, 0.0, 1.0) ** np.float32(power))
    plateau = np.clip(1.1 - 0.12 * relative**4, 0.0, 1.0)
    share = np.float32(np.clip(appearance.pallor * rng.normal(0.9, 0.2), 0.08, 1.0))
    lost = np.asarray((1.0 - disc) / np.float32(_HOLLOW), dtype=np.float32) * (relative < 0.8)
    steep = np.float32(rng.uniform(0.0, 1.0))
    lost = (1.0 - steep) * lost + steep * coverage(lost - 0.42, 1.0, 0.75)
    body = coverage(depth, appearance.scale, 1.5 + 0.12 * appearance.scale)
    amount = plateau * (1.0 - share * lost) * body * np.float32(rng.normal(1.0, 0.09))
    dyes = np.zeros((DYES, *patch.shape), dtype=np.float32)
    dyes[HAEM] = amount * (1.0 + 0.02 * grain(rng, patch.shape, 0.5 * appearance.scale))
    dyes[EDGE] = _edge_line(depth + 0.1, 0.35)
    if rng.uniform() < 0.06:  # a speck of stain or a Howell-Jolly body
        dyes[AZURE] = 0.6 * _scatter(rng, patch, depth - 1.0, 0.03, (0.12, 0.35))
    return Stamp(dyes, np.zeros(patch.shape, dtype=np.float32), depth >= 0.0)


def _paint_platelet(rng: np.random.Generator, appearance: Appearance) -> Stamp:
    """Render a platelet: 1.8 to 5 micrometres, pale blue, with violet granules in the middle."""
    radius = float(np.clip(np.exp(rng.normal(0.55, 0.28)), 0.9, 2.9))
    spikes = float(rng.choice((0.0, 0.08, 0.18), p=(0.72, 0.22, 0.06)))
    oval = float(rng.uniform(1.0, 1.5))
    radii = outline(rng, radius, oval=oval, wobble=0.05, spikes=spikes)
    patch = _oriented_patch(rng, appearance, float(radii.max()))
    depth, relative = outline_depth(patch, radii)
    fuzz = 0.12 * grain(rng, patch.shape, 0.45 * appearance.scale)
    depth = depth + fuzz.astype(np.float32)
    body = coverage(depth, appearance.scale, 1.5 + 0.3 * appearance.scale)
    gathered = np.clip(1.2 - relative**2 * float(rng.uniform(0.6, 1.3)), 0.0, 1.0)
    strength = float(rng.uniform(0.25, 1.0))
    cloud = np.clip(0.75 + 0.35 * grain(rng, patch.shape, 0.35 * appearance.scale), 0.0, 1.6)
    granules = _scatter(rng, patch, depth - 0.1, 6.0, (0.10, 0.24))
    dyes = np.zeros((DYES, *patch.shape), dtype=np.float32)
    dyes[BLUE] = body * np.float32(rng.uniform(0.25, 0.6))
    dyes[EOSIN] = body * np.float32(rng.uniform(0.0, 0.25))
    azure = gathered * np.float32(strength) * (0.55 * cloud + 0.5 * granules)
    dyes[AZURE] = body * azure
    return Stamp(dyes, 0.6 * body, depth >= 0.0)


def _round_nucleus(
    smallest: float, largest: float, off: float
) -> Callable[[np.random.Generator], Array]:
    """Return a sampler of round to oval nuclei, as capsules in units of the cell's radius.

    The radius is from `smallest` to `largest`; the centre is at most `off` from the cell's centre.
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


def _lobed(rng: np.random.Generator) -> Array:
    """Sample the nucleus of a neutrophil: a band, or 2 to 5 lobes joined by bridges."""
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


def _bilobed(rng: np.random.Generator) -> Array:
    """Sample the nucleus of an eosinophil: two, sometimes three, wide lobes."""
    lobes = 3 if rng.uniform() < 0.15 else 2
    points = _along_arc(rng, lobes, 0.50, float(rng.uniform(1.7, 2.7)) * (lobes - 1) ** 0.6, 0.1)
    points = points + np.array([0.1, 0.0], dtype=np.float32)
    radii = rng.uniform(0.33, 0.41, (lobes, 1)).astype(np.float32) * np.float32(1.6 / lobes**0.68)
    blobs = np.hstack([points, points + rng.normal(0.0, 0.08, points.shape), radii])
    bridges = _chain(points, float(rng.uniform(0.09, 0.2)))
    return np.vstack([blobs, bridges]).astype(np.float32)


def _kidney(rng: np.random.Generator) -> Array:
    """Sample the nucleus of a monocyte: a bean, a kidney or a horseshoe."""
    reach, width = float(rng.uniform(0.26, 0.42)), float(rng.uniform(0.36, 0.50))
    points = _along_arc(rng, 4, reach, float(rng.uniform(1.6, 3.6)), 0.12)
    return _chain(points, width)


def _off_centre(rng: np.random.Generator) -> Array:
    """Sample the nucleus of a basophil: a broad, folded body that granules hide."""
    points = _along_arc(rng, 3, 0.35, float(rng.uniform(1.5, 3.0)), 0.2)
    return _chain(points, float(rng.uniform(0.32, 0.44)))


@dataclass(frozen=True)
class _Granules:
    """Granules of a cytoplasm."""

    per_area: Range  # number per square micrometre
    radius: Range  # smallest and largest, in micrometres
    dyes: Mapping[int, float]  # amount of dye in a granule, by plane
    over_nucleus: float = 0.0  # relative strength of granules over the nucleus


@dataclass(frozen=True)
class _WhiteKind:
    """The features of a kind of nucleated cell; ranges are uniform, lengths in micrometres."""

    diameter: Range  # of the whole cell
    wobble: Range  # irregularity of the outline
    # ``(rng) -> (k, 5)`` capsules in units of the cell's radius
    nucleus: Callable[[np.random.Generator], Array]
    chromatin: Range  # amount of azure in the nucleus
    clumps: tuple[float, float]  # size of the grains of chromatin, and their contrast
    cytoplasm: Mapping[int, Range]  # amount of dye in the cytoplasm, by plane
    mottle: float = 0.15  # contrast of the cytoplasm's grain
    granules: _Granules | None = None  # if any are visible
    vacuoles: Range = (0.0, 0.0)  # number per square micrometre


WHITE_KINDS: Mapping[str, _WhiteKind] = {
    "neutrophil": _WhiteKind(
        diameter=(11.0, 14.5), wobble=(0.01, 0.03), nucleus=_lobed, chromatin=(0.95, 1.15),
        clumps=(0.55, 0.15),
        cytoplasm={EOSIN: (0.10, 0.32), AZURE: (0.03, 0.10), BLUE: (0.0, 0.15)}, mottle=0.28,
        granules=_Granules((1.0, 3.5), (0.10, 0.22), {AZURE: 0.22, EOSIN: 0.15}),
    ),
    "eosinophil": _WhiteKind(
        diameter=(11.5, 14.5), wobble=(0.01, 0.03), nucleus=_bilobed, chromatin=(0.85, 1.1),
        clumps=(0.6, 0.17), cytoplasm={EOSIN: (0.45, 0.7), BLUE: (0.0, 0.25), HAEM: (0.2, 0.5)},
        mottle=0.2, granules=_Granules((4.0, 7.0), (0.18, 0.36), {EOSIN: 0.42, HAEM: 0.3}),
    ),
    "basophil": _WhiteKind(
        diameter=(10.0, 13.5), wobble=(0.02, 0.05), nucleus=_off_centre, chromatin=(0.6, 0.85),
        clumps=(0.8, 0.2), cytoplasm={AZURE: (0.1, 0.3), EOSIN: (0.1, 0.3), BLUE: (0.0, 0.2)},
        mottle=0.3, granules=_Granules((2.4, 4.5), (0.25, 0.5), {AZURE: 0.75}, over_nucleus=0.7),
    ),
    "lymphocyte": _WhiteKind(
        diameter=(8.3, 12.0), wobble=(0.015, 0.045), nucleus=_round_nucleus(0.82, 0.97, 0.12),
        chromatin=(0.9, 1.15), clumps=(0.65, 0.15), cytoplasm={BLUE: (0.6, 1.3), AZURE: (0.0, 0.1)},
        mottle=0.2,
    ),
    "monocyte": _WhiteKind(
        diameter=(12.0, 17.0), wobble=(0.03, 0.06), nucleus=_kidney, chromatin=(0.7, 0.92),
        clumps=(0.5, 0.22), cytoplasm={BLUE: (0.4, 0.85), AZURE: (0.04, 0.14)}, mottle=0.22,
        granules=_Granules((0.5, 2.0), (0.09, 0.16), {AZURE: 0.15}), vacuoles=(0.0, 0.09),
    ),
    "ig": _WhiteKind(
        diameter=(12.5, 17.0), wobble=(0.01, 0.03), nucleus=_round_nucleus(0.64, 0.86, 0.25),
        chromatin=(0.65, 0.88), clumps=(0.5, 0.2),
        cytoplasm={BLUE: (0.25, 0.6), EOSIN: (0.05, 0.3), AZURE: (0.05, 0.15)}, mottle=0.25,
        granules=_Granules((2.0, 5.5), (0.12, 0.26), {AZURE: 0.42}, over_nucleus=0.45),
    ),
    "erythroblast": _WhiteKind(
        diameter=(8.0, 11.5), wobble=(0.015, 0.045), nucleus=_round_nucleus(0.54, 0.72, 0.25),
        chromatin=(1.0, 1.25), clumps=(0.65, 0.16),
        cytoplasm={BLUE: (0.3, 0.75), HAEM: (0.35, 0.9)}, mottle=0.08,
    ),
}  # fmt: skip
"""The kinds of nucleated cells. Diameters and features as in the atlases of peripheral blood
(for instance Bain, Blood Cells: A Practical Guide, 5th ed. 2015, chapter 3)."""


def _paint_white(rng: np.random.Generator, appearance: Appearance, kind: str) -> Stamp:
    """Render a nucleated cell of one of `WHITE_KINDS`."""
    recipe = WHITE_KINDS[kind]
    radius = float(rng.uniform(*recipe.diameter)) / 2.0
    wobble, oval = float(rng.uniform(*recipe.wobble)), float(rng.uniform(1.0, 1.2))
    radii = outline(rng, radius, oval=oval, wobble=wobble)
    patch = _oriented_patch(rng, appearance, float(radii.max()))
    depth, _ = outline_depth(patch, radii)
    ragged = 2.0 * wobble * grain(rng, patch.shape, 0.9 * appearance.scale)
    depth = depth + ragged.astype(np.float32)
    inside = _nucleus_depth(rng, patch, recipe, radius, depth)
    dyes = np.zeros((DYES, *patch.shape), dtype=np.float32)
    nucleus = coverage(inside, appearance.scale, 1.3 + 0.12 * appearance.scale)
    _stain_cytoplasm(rng, patch, recipe, dyes)
    dyes *= 1.0 - nucleus
    dyes[AZURE] += nucleus * _chromatin(rng, patch, recipe, inside)
    if recipe.granules is not None:
        _add_granules(rng, patch, recipe.granules, depth, nucleus, dyes)
    body = coverage(depth, appearance.scale, 1.5 + 0.15 * appearance.scale)
    dyes *= body
    dyes[EDGE] = _edge_line(depth + 0.15, 0.35)
    return Stamp(dyes, body, depth >= 0.0)


def _nucleus_depth(
    rng: np.random.Generator, patch: Patch, recipe: _WhiteKind, radius: float, depth: Array
) -> Array:
    """Return the depth inside the nucleus, clipped to the cell."""
    capsules = recipe.nucleus(rng) * np.float32(radius)
    inside = capsule_depth(patch, capsules, 0.06 * radius)
    uneven = 0.14 * grain(rng, patch.shape, 1.5 * patch.scale)
    uneven = uneven + 0.05 * grain(rng, patch.shape, 0.6 * patch.scale)
    return np.asarray(np.minimum(inside + uneven, depth - 0.12), dtype=np.float32)


def _stain_cytoplasm(
    rng: np.random.Generator, patch: Patch, recipe: _WhiteKind, dyes: Array
) -> None:
    """Fill the whole patch with cytoplasm."""
    mottle = 1.0 + recipe.mottle * grain(rng, patch.shape, 0.45 * patch.scale)
    mottle += 0.12 * grain(rng, patch.shape, 3.0 * patch.scale)
    if recipe.vacuoles[1] > 0.0:
        everywhere = np.ones(patch.shape, dtype=np.float32)
        per_area = float(rng.uniform(*recipe.vacuoles))
        mottle *= 1.0 - 0.85 * _scatter(rng, patch, everywhere, per_area, (0.2, 0.55))
    for plane, amount in recipe.cytoplasm.items():
        dyes[plane] = np.clip(mottle, 0.1, 3.0) * np.float32(rng.uniform(*amount))


def _chromatin(rng: np.random.Generator, patch: Patch, recipe: _WhiteKind, inside: Array) -> Array:
    """Return the amount of azure in the nucleus: clumps, threads, and a denser membrane."""
    size, contrast = recipe.clumps
    clumps = grain(rng, patch.shape, size * patch.scale)
    threads = np.abs(grain(rng, patch.shape, 0.8 * size * patch.scale)) - 0.8
    fine = grain(rng, patch.shape, 0.25 * patch.scale)
    texture = 1.0 + contrast * (clumps - 0.9 * threads + 0.6 * fine)
    membrane = 1.0 + 0.12 * _edge_line(inside - 0.2, 0.25)
    amount = np.float32(rng.uniform(*recipe.chromatin))
    return np.asarray(amount * np.clip(texture, 0.35, 1.6) * membrane, dtype=np.float32)


def _add_granules(
    rng: np.random.Generator,
    patch: Patch,
    granules: _Granules,
    depth: Array,
    nucleus: Array,
    dyes: Array,
) -> None:
    """Add granules over the cytoplasm and, in some kinds, over the nucleus."""
    per_area = float(rng.uniform(*granules.per_area))
    granule_cover = _scatter(rng, patch, depth, per_area, granules.radius)
    level = 1.0 - nucleus * np.float32(1.0 - granules.over_nucleus)
    strength = float(rng.normal(1.0, 0.1))
    for plane, amount in granules.dyes.items():
        dyes[plane] += granule_cover * level * np.float32(amount * strength)


def paint(kind: str, rng: np.random.Generator, appearance: Appearance) -> Stamp:
    """Render one cell of any of `KINDS`.

    Raises `ValueError` if there is no such kind.
    """
    if kind == "rbc":
        return _paint_red(rng, appearance)
    if kind == "platelet":
        return _paint_platelet(rng, appearance)
    if kind in WHITE_KINDS:
        return _paint_white(rng, appearance, kind)
    raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: {kind!r}")
