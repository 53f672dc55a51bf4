"""Training batches of white cells: framed by the red cells, in the stain of this lab or another.

The network sees each cell in the reference stain, in the stain of another image of the training
labs, or as recorded; then `augment` changes stain, optics and camera. Batches have the network's
side, not the 224 pixels of a cell image: what is lost is two roundings, and half the time is saved.

A share of each batch is of no class: platelets, and images made of the labelled cells, which are
lymphocytes half as wide again, as blasts are; cells torn apart, as smudge cells are; halves of two
different cells; and places without a white cell. The network is trained to prefer no class for them
(outlier exposure, Hendrycks et al. 2019, arXiv:1812.04606).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.fields.framing import blurred, stained
from hematovision.images.stain import Stain, recoloured
from hematovision.model.framing import Framing
from hematovision.taxonomy import WHITE_CELLS
from hematovision.training.augment import Augmentation, augment
from recipes.hematology_backbone.examples import Batch
from recipes.white_cells.cells import DIAMETERS, NO_CLASS, SIDE, Cells

__all__ = ["AS_RECORDED", "FRAMING", "KindBatches", "Variation"]

FRAMING = Framing(
    red_cell_diameters=2.8,
    stain=Stain(background=(235.0, 235.0, 235.0), red_cell=(180.0, 155.0, 180.0)),
    blur=0.02,
    nucleus=(110.0, 50.0, 170.0),
)
"""How the model sees cells. It sees the width of the largest white cells. The stain and the nuclei
are between those of the labs; the background is the one to which networks balance white. The blur
hides what only some labs' optics resolve."""

AUGMENTATION = Augmentation(
    min_crop=1.0, gain=0.15, mixing=0.04, tint=0.04, blur=0.3, resolution=0.3, noise=0.25,
    jpeg=0.2, grey=0.05, sharpen=0.35, texture=0.15,
)  # fmt: skip
"""Stain, optics and camera. The place of the cell is varied by `Variation`."""

AS_RECORDED = Augmentation(1.0, 0, 0, 0, 0, 0, 0)
"""Rotations and flips only."""

_TURN = 1.0
"""How far nuclei are turned in training. In prediction it is half."""

_MESH = 4  # squares across, each moved by itself, in which a cell is torn


@dataclass(frozen=True)
class Variation:
    """How training cells vary.

    Parameters
    ----------
    framing : Framing
        How the model sees cells.
    scales : tuple of float
        Range of the factor of the framing's width, uniform in the logarithm.
    shift : float
        Standard deviation of the cell's place, in diameters.
    reference, exchanged : float
        Probabilities of the framing's stain and of another image's; the rest is as recorded.
    outliers : float
        Share of images of no class.
    power : float
        Within a lab, each kind is sampled as often as its count to this power.
    """

    framing: Framing = FRAMING
    scales: tuple[float, float] = (0.75, 1.3)
    shift: float = 0.08
    reference: float = 0.7
    exchanged: float = 0.2
    outliers: float = 0.15
    power: float = 0.5
    augmentation: Augmentation = AUGMENTATION


@dataclass
class KindBatches:
    """Batches by number; a batch depends on the seed and its number alone.

    Parameters
    ----------
    labs : mapping of str to Cells
        The training cells of each lab.
    shares : mapping of str to float
        How often each lab is sampled, relative to the others.
    batch_size, side, seed : int
    how : Variation
    platelets : sequence of Cells
        Further images of no class.
    """

    labs: Mapping[str, Cells]
    shares: Mapping[str, float]
    batch_size: int
    side: int
    seed: int
    how: Variation = field(default_factory=Variation)
    platelets: Sequence[Cells] = ()

    def __post_init__(self) -> None:
        self._names = sorted(self.labs)
        shares = np.array([self.shares[name] for name in self._names])
        self._shares = shares / shares.sum()
        self._chances = {name: _chances(self.labs[name], self.how.power) for name in self._names}
        self._stains = [
            stain
            for cells in self.labs.values()
            for number in range(len(cells))
            if (stain := cells.stain(number))
        ]
        self._makers: list[_Maker] = [
            self._wide, self._wide, self._torn, self._halves, self._empty,
            *([self._platelet] if self.platelets else []),
        ]  # fmt: skip

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng([self.seed, number])
        made = [self._example(rng) for _ in range(self.batch_size)]
        pixels = np.stack([image for image, _ in made])
        labels = np.array([label for _, label in made])
        return Batch(pixels, np.zeros(self.batch_size, np.int64), labels)

    def _example(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
        if rng.random() < self.how.outliers:
            make = self._makers[int(rng.integers(len(self._makers)))]
            return self._finished(make(rng), rng), NO_CLASS
        cells, number = self._cell(rng)
        return self._finished(self._framed(cells, number, rng), rng), int(cells.labels[number])

    def _cell(self, rng: np.random.Generator, kind: str | None = None) -> tuple[Cells, int]:
        while True:
            name = self._names[int(rng.choice(len(self._names), p=self._shares))]
            cells = self.labs[name]
            if kind is None:
                return cells, int(np.searchsorted(self._chances[name], rng.random()))
            own = np.flatnonzero(cells.labels == WHITE_CELLS.index(kind))
            if len(own):
                return cells, int(rng.choice(own))

    def _stained(
        self, image: Image.Image, stain: Stain | None, rng: np.random.Generator
    ) -> Image.Image:
        chance = rng.random()
        if stain is None or chance >= self.how.reference + self.how.exchanged:
            return image
        if chance < self.how.reference:
            return Image.fromarray(stained(np.asarray(image), stain, self.how.framing, _TURN))
        other = self._stains[int(rng.integers(len(self._stains)))]
        return Image.fromarray(recoloured(np.asarray(image), stain, other))

    def _framed(
        self, cells: Cells, number: int, rng: np.random.Generator, magnified: float = 1.0
    ) -> Image.Image:
        low, high = np.log(self.how.scales)
        diameters = self.how.framing.red_cell_diameters * np.exp(rng.uniform(low, high))
        across = diameters / magnified * SIDE / DIAMETERS
        x, y = SIDE / 2 + rng.normal(0.0, self.how.shift, 2).clip(-0.2, 0.2) * SIDE / DIAMETERS
        image = _window(cells.pixels[number], x, y, across, self.side)
        return self._stained(image, cells.stain(number), rng)

    def _finished(self, image: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
        changed = augment(np.asarray(image), self.side, self.how.augmentation, rng)
        return blurred(changed, self.how.framing)

    # --- Images of no class ---

    def _wide(self, rng: np.random.Generator) -> Image.Image:
        """Return a lymphocyte with the size of a blast."""
        return self._framed(*self._cell(rng, "lymphocyte"), rng, rng.uniform(1.45, 1.9))

    def _torn(self, rng: np.random.Generator) -> Image.Image:
        image = self._framed(*self._cell(rng), rng)
        ends = np.linspace(0, self.side, _MESH + 1)
        moved = np.zeros((_MESH + 1, _MESH + 1, 2))
        moved[1:-1, 1:-1] = rng.normal(0.0, 0.1 * self.side, (_MESH - 1, _MESH - 1, 2))
        mesh = []
        for i in range(_MESH):
            for j in range(_MESH):
                box = (round(ends[i]), round(ends[j]), round(ends[i + 1]), round(ends[j + 1]))
                corners = ((i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j))
                quad = [float(ends[c[k]] + moved[c][k]) for c in corners for k in (0, 1)]
                mesh.append((box, tuple(quad)))
        return image.transform(image.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)

    def _halves(self, rng: np.random.Generator) -> Image.Image:
        """Return two cells of different kinds that meet in a line."""
        cells, number = self._cell(rng)
        first = self._framed(cells, number, rng)
        while True:
            others, other = self._cell(rng)
            if others.labels[other] != cells.labels[number]:
                break
        second = self._framed(others, other, rng)
        angle, middle = rng.uniform(0, 2 * np.pi), rng.normal(0.0, 0.08)
        y, x = np.mgrid[: self.side, : self.side] / self.side - 0.5
        chosen = np.cos(angle) * x + np.sin(angle) * y > middle
        return Image.fromarray(np.where(chosen[..., None], np.asarray(first), np.asarray(second)))

    def _empty(self, rng: np.random.Generator) -> Image.Image:
        """Return a corner next to the cell, with red cells or background."""
        cells, number = self._cell(rng)
        across = SIDE / DIAMETERS * rng.uniform(1.0, 1.6)
        x, y = (SIDE / 2 + rng.choice([-1, 1]) * (SIDE - across) / 2 for _ in range(2))
        image = _window(cells.pixels[number], x, y, across, self.side)
        return self._stained(image, cells.stain(number), rng)

    def _platelet(self, rng: np.random.Generator) -> Image.Image:
        cells = self.platelets[int(rng.integers(len(self.platelets)))]
        return self._framed(cells, int(rng.integers(len(cells))), rng)


_Maker: TypeAlias = Callable[[np.random.Generator], Image.Image]


def _window(pixels: NDArray[np.uint8], x: float, y: float, across: float, side: int) -> Image.Image:
    """Return a square around a point, scaled to `side`; it stays within the image."""
    across = min(across, SIDE)
    x, y = (min(max(value, across / 2), SIDE - across / 2) for value in (x, y))
    box = (x - across / 2, y - across / 2, x + across / 2, y + across / 2)
    image = Image.fromarray(pixels)
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _chances(cells: Cells, power: float) -> NDArray[np.float64]:
    counts = np.bincount(cells.labels, minlength=len(WHITE_CELLS.classes)).astype(float)
    weights = counts[cells.labels] ** (power - 1.0)
    return np.cumsum(weights) / weights.sum()
