"""White cells and erythroblasts: a table of what tells the kinds apart, and how it is painted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hematovision.synthetic.cells import Stamp, edge_line, oriented_patch, scatter
from hematovision.synthetic.nuclei import bilobed, kidney, lobed, off_centre, round_nucleus
from hematovision.synthetic.shapes import (
    Array,
    Patch,
    capsule_depth,
    coverage,
    grain,
    outline,
    outline_depth,
)
from hematovision.synthetic.stain import AZURE, BLUE, DYES, EDGE, EOSIN, HAEM, Look

__all__ = ["WHITE_KINDS", "Granules", "WhiteKind", "paint_white"]

Range = tuple[float, float]


@dataclass(frozen=True)
class Granules:
    """Granules of a cytoplasm.

    Parameters
    ----------
    per_area : tuple of float
        Number in a square micrometre.
    radius : tuple of float
        Smallest and largest, in micrometres.
    dyes : mapping of int to float
        Amount of dye in a granule, by plane.
    over_nucleus : float
        Share of their strength where they lie over the nucleus.
    """

    per_area: Range
    radius: Range
    dyes: Mapping[int, float]
    over_nucleus: float = 0.0


@dataclass(frozen=True)
class WhiteKind:
    """What tells one kind of cell from another; ranges are uniform, lengths in micrometres.

    Parameters
    ----------
    diameter : tuple of float
        Of the whole cell.
    wobble : tuple of float
        Irregularity of its outline.
    nucleus : callable
        ``(rng) -> (k, 5)`` capsules in units of the cell's radius.
    chromatin : tuple of float
        Amount of azure in the nucleus.
    clumps : tuple of float
        Size of the grains of chromatin, and their contrast.
    cytoplasm : mapping of int to tuple of float
        Amount of dye in the cytoplasm, by plane.
    mottle : float
        Contrast of the cytoplasm's own grain.
    granules : Granules or None
        If it has any that the microscope shows.
    vacuoles : tuple of float
        Number in a square micrometre.
    """

    diameter: Range
    wobble: Range
    nucleus: Callable[[np.random.Generator], Array]
    chromatin: Range
    clumps: tuple[float, float]
    cytoplasm: Mapping[int, Range]
    mottle: float = 0.15
    granules: Granules | None = None
    vacuoles: Range = field(default=(0.0, 0.0))


WHITE_KINDS: Mapping[str, WhiteKind] = {
    "neutrophil": WhiteKind(
        diameter=(11.0, 14.5),
        wobble=(0.01, 0.03),
        nucleus=lobed,
        chromatin=(0.95, 1.15),
        clumps=(0.55, 0.15),
        cytoplasm={EOSIN: (0.10, 0.32), AZURE: (0.03, 0.10), BLUE: (0.0, 0.15)},
        mottle=0.28,
        granules=Granules((1.0, 3.5), (0.10, 0.22), {AZURE: 0.22, EOSIN: 0.15}),
    ),
    "eosinophil": WhiteKind(
        diameter=(11.5, 14.5),
        wobble=(0.01, 0.03),
        nucleus=bilobed,
        chromatin=(0.85, 1.1),
        clumps=(0.6, 0.17),
        cytoplasm={EOSIN: (0.45, 0.7), BLUE: (0.0, 0.25), HAEM: (0.2, 0.5)},
        mottle=0.2,
        granules=Granules((4.0, 7.0), (0.18, 0.36), {EOSIN: 0.42, HAEM: 0.3}),
    ),
    "basophil": WhiteKind(
        diameter=(10.0, 13.5),
        wobble=(0.02, 0.05),
        nucleus=off_centre,
        chromatin=(0.6, 0.85),
        clumps=(0.8, 0.2),
        cytoplasm={AZURE: (0.1, 0.3), EOSIN: (0.1, 0.3), BLUE: (0.0, 0.2)},
        mottle=0.3,
        granules=Granules((2.4, 4.5), (0.25, 0.5), {AZURE: 0.75}, over_nucleus=0.7),
    ),
    "lymphocyte": WhiteKind(
        diameter=(8.3, 12.0),
        wobble=(0.015, 0.045),
        nucleus=round_nucleus(0.82, 0.97, 0.12),
        chromatin=(0.9, 1.15),
        clumps=(0.65, 0.15),
        cytoplasm={BLUE: (0.6, 1.3), AZURE: (0.0, 0.1)},
        mottle=0.2,
    ),
    "monocyte": WhiteKind(
        diameter=(12.0, 17.0),
        wobble=(0.03, 0.06),
        nucleus=kidney,
        chromatin=(0.7, 0.92),
        clumps=(0.5, 0.22),
        cytoplasm={BLUE: (0.4, 0.85), AZURE: (0.04, 0.14)},
        mottle=0.22,
        granules=Granules((0.5, 2.0), (0.09, 0.16), {AZURE: 0.15}),
        vacuoles=(0.0, 0.09),
    ),
    "ig": WhiteKind(
        diameter=(12.5, 17.0),
        wobble=(0.01, 0.03),
        nucleus=round_nucleus(0.64, 0.86, 0.25),
        chromatin=(0.65, 0.88),
        clumps=(0.5, 0.2),
        cytoplasm={BLUE: (0.25, 0.6), EOSIN: (0.05, 0.3), AZURE: (0.05, 0.15)},
        mottle=0.25,
        granules=Granules((2.0, 5.5), (0.12, 0.26), {AZURE: 0.42}, over_nucleus=0.45),
    ),
    "erythroblast": WhiteKind(
        diameter=(8.0, 11.5),
        wobble=(0.015, 0.045),
        nucleus=round_nucleus(0.54, 0.72, 0.25),
        chromatin=(1.0, 1.25),
        clumps=(0.65, 0.16),
        cytoplasm={BLUE: (0.3, 0.75), HAEM: (0.35, 0.9)},
        mottle=0.08,
    ),
}
"""The kinds of nucleated cells. Diameters and features as in the atlases of peripheral blood
(for instance Bain, Blood Cells: A Practical Guide, 5th ed. 2015, chapter 3)."""


def paint_white(rng: np.random.Generator, look: Look, kind: str) -> Stamp:
    """Paint a nucleated cell of one of `WHITE_KINDS`."""
    recipe = WHITE_KINDS[kind]
    radius = float(rng.uniform(*recipe.diameter)) / 2.0
    wobble, oval = float(rng.uniform(*recipe.wobble)), float(rng.uniform(1.0, 1.2))
    radii = outline(rng, radius, oval=oval, wobble=wobble)
    patch = oriented_patch(rng, look, float(radii.max()))
    depth, _ = outline_depth(patch, radii)
    ragged = 2.0 * wobble * grain(rng, patch.shape, 0.9 * look.scale)
    depth = depth + ragged.astype(np.float32)
    inside = _nucleus_depth(rng, patch, recipe, radius, depth)
    dyes = np.zeros((DYES, *patch.shape), dtype=np.float32)
    nucleus = coverage(inside, look.scale, 1.3 + 0.12 * look.scale)
    _stain_cytoplasm(rng, patch, recipe, dyes)
    dyes *= 1.0 - nucleus
    dyes[AZURE] += nucleus * _chromatin(rng, patch, recipe, inside)
    if recipe.granules is not None:
        _add_granules(rng, patch, recipe.granules, depth, nucleus, dyes)
    body = coverage(depth, look.scale, 1.5 + 0.15 * look.scale)
    dyes *= body
    dyes[EDGE] = edge_line(depth + 0.15, 0.35)
    return Stamp(dyes, body, depth >= 0.0)


def _nucleus_depth(
    rng: np.random.Generator, patch: Patch, recipe: WhiteKind, radius: float, depth: Array
) -> Array:
    """Return the depth inside the nucleus, which stays within the cell."""
    capsules = recipe.nucleus(rng) * np.float32(radius)
    inside = capsule_depth(patch, capsules, 0.06 * radius)
    uneven = 0.14 * grain(rng, patch.shape, 1.5 * patch.scale)
    uneven = uneven + 0.05 * grain(rng, patch.shape, 0.6 * patch.scale)
    return np.asarray(np.minimum(inside + uneven, depth - 0.12), dtype=np.float32)


def _stain_cytoplasm(
    rng: np.random.Generator, patch: Patch, recipe: WhiteKind, dyes: Array
) -> None:
    """Fill the whole patch with cytoplasm."""
    mottle = 1.0 + recipe.mottle * grain(rng, patch.shape, 0.45 * patch.scale)
    mottle += 0.12 * grain(rng, patch.shape, 3.0 * patch.scale)
    if recipe.vacuoles[1] > 0.0:
        everywhere = np.ones(patch.shape, dtype=np.float32)
        per_area = float(rng.uniform(*recipe.vacuoles))
        mottle *= 1.0 - 0.85 * scatter(rng, patch, everywhere, per_area, (0.2, 0.55))
    for plane, amount in recipe.cytoplasm.items():
        dyes[plane] = np.clip(mottle, 0.1, 3.0) * np.float32(rng.uniform(*amount))


def _chromatin(rng: np.random.Generator, patch: Patch, recipe: WhiteKind, inside: Array) -> Array:
    """Return the amount of azure in the nucleus: clumps, threads, and a denser membrane."""
    size, contrast = recipe.clumps
    clumps = grain(rng, patch.shape, size * patch.scale)
    threads = np.abs(grain(rng, patch.shape, 0.8 * size * patch.scale)) - 0.8
    fine = grain(rng, patch.shape, 0.25 * patch.scale)
    texture = 1.0 + contrast * (clumps - 0.9 * threads + 0.6 * fine)
    membrane = 1.0 + 0.12 * edge_line(inside - 0.2, 0.25)
    amount = np.float32(rng.uniform(*recipe.chromatin))
    return np.asarray(amount * np.clip(texture, 0.35, 1.6) * membrane, dtype=np.float32)


def _add_granules(
    rng: np.random.Generator,
    patch: Patch,
    granules: Granules,
    depth: Array,
    nucleus: Array,
    dyes: Array,
) -> None:
    """Add granules over the cytoplasm and, where the kind has them there, over the nucleus."""
    per_area = float(rng.uniform(*granules.per_area))
    drawn = scatter(rng, patch, depth, per_area, granules.radius)
    level = 1.0 - nucleus * np.float32(1.0 - granules.over_nucleus)
    strength = float(rng.normal(1.0, 0.1))
    for plane, amount in granules.dyes.items():
        dyes[plane] += drawn * level * np.float32(amount * strength)
