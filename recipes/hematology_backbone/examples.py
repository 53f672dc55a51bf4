"""The training examples of the backbone: cells, cropped differently each time, and whole images.

A cell is cropped by the project's crop rule with a random context from a slightly shifted box:
people and detectors place boxes differently, and single-cell images show a cell among others.
`augment` then changes stain, optics and camera.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.cells import read_cells
from hematovision.data.samples import Split
from hematovision.images.boxes import MIN_SIDE, Box, clip_box
from hematovision.images.crops import crop
from hematovision.training.augment import Augmentation, augment

__all__ = ["Batch", "Batches", "Example", "Framing", "Task", "cells_of", "power_weights"]


@dataclass(frozen=True)
class Example:
    """One cell: its image or field, its box if it is one of many, and its class."""

    path: Path
    box: Box | None
    label: int
    lab: str


@dataclass(frozen=True)
class Task:
    """Classes, and the examples to train them on.

    Parameters
    ----------
    n_classes : int
    examples : sequence of Example
    frequency : ndarray of float, shape (N,)
        How often each is sampled, relative to the others.
    share : float
        This task's share of every batch, relative to the other tasks.
    """

    n_classes: int
    examples: Sequence[Example]
    frequency: NDArray[np.float64]
    share: float = 1.0


@dataclass(frozen=True)
class Framing:
    """How cells are cut out of their fields.

    Parameters
    ----------
    wide : float
        Probability of a context above `usual`, as in single-cell images with other cells.
    usual, widest : float
        Contexts (sides of the crop in longer sides of the box) go from 1 to `usual`, or else on
        to `widest`.
    shift : float
        Standard deviation of the box's shift, in its longer sides.
    cut : float
        Probability that the field ends somewhere in the cell, as at a field's border.
    """

    wide: float = 0.3
    usual: float = 1.5
    widest: float = 2.4
    shift: float = 0.05
    cut: float = 0.1


class Batch(NamedTuple):
    """Pixels (N, S, S, 3) uint8, and for each image its task's number and its class."""

    pixels: NDArray[np.uint8]
    tasks: NDArray[np.int64]
    labels: NDArray[np.int64]


def cells_of(root: Path, fields: Path, classes: Mapping[str, int], split: Split) -> list[Example]:
    """Read the cells of one split of an imported dataset, with their fields.

    Parameters
    ----------
    root : Path
        The imported dataset, with its ``cells.csv``.
    fields : Path
        The folder it was imported from.
    classes : mapping of str to int
        Class names and numbers; others are left out.
    split : {"train", "valid", "test"}
    """
    return [
        Example(
            fields / cell.source if cell.box else root / cell.file,
            cell.box,
            classes[cell.label],
            cell.lab or "",
        )
        for cell in read_cells(root / "cells.csv")
        if cell.split == split and cell.label in classes
    ]


def power_weights(examples: Sequence[Example], power: float) -> NDArray[np.float64]:
    """Return frequencies (N,) for sampling each class of each lab as often as its count ** power.

    0 samples all classes alike, Raabin's 20 platelets thousands of times; 1 is the natural
    distribution, nearly all red cells.
    """
    kinds = [(p.lab, p.box is None, p.label) for p in examples]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    return np.array([counts[kind] ** (power - 1.0) for kind in kinds])


@dataclass
class Batches:
    """Batches by number; a batch depends on the seed and its number alone.

    Parameters
    ----------
    tasks : sequence of Task
    batch_size, seed : int
    framing : Framing
    augmentation : Augmentation
    """

    tasks: Sequence[Task]
    batch_size: int
    seed: int
    framing: Framing
    augmentation: Augmentation
    _chances: list[NDArray[np.float64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._chances = [np.cumsum(t.frequency) / np.sum(t.frequency) for t in self.tasks]

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng([self.seed, number])
        shares = np.array([task.share for task in self.tasks])
        tasks = rng.choice(len(self.tasks), size=self.batch_size, p=shares / shares.sum())
        sampled = [self._sample(int(task), rng) for task in tasks]
        pixels = np.stack([self._image(example, rng) for example in sampled])
        return Batch(pixels, tasks, np.array([example.label for example in sampled]))

    def _sample(self, task: int, rng: np.random.Generator) -> Example:
        place = np.searchsorted(self._chances[task], rng.random(), side="right")
        return self.tasks[task].examples[min(int(place), len(self.tasks[task].examples) - 1)]

    def _image(self, example: Example, rng: np.random.Generator) -> NDArray[np.uint8]:
        pixels = _read(example.path)
        if example.box is not None:
            pixels = _cut(pixels, example.box, self.framing, rng)
        return augment(pixels, images.SIZE, self.augmentation, rng)


@lru_cache(maxsize=8000)
def _read(path: Path) -> NDArray[np.uint8]:
    return images.read(path)


def _cut(
    pixels: NDArray[np.uint8], box: Box, how: Framing, rng: np.random.Generator
) -> NDArray[np.uint8]:
    box = clip_box(box, pixels.shape[1], pixels.shape[0])
    if rng.random() < how.cut:
        pixels, box = _end_field(pixels, box, rng)
    xmin, ymin, xmax, ymax = box
    is_wide = rng.random() < how.wide
    context = rng.uniform(how.usual, how.widest) if is_wide else rng.uniform(1.0, how.usual)
    dx, dy = rng.normal(0.0, how.shift, 2).clip(-0.1, 0.1) * max(xmax - xmin, ymax - ymin)
    moved = (xmin + dx, ymin + dy, xmax + dx, ymax + dy)
    return crop(pixels, moved if _is_in(moved, pixels) else (xmin, ymin, xmax, ymax), context)[0]


def _is_in(box: Box, pixels: NDArray[np.uint8]) -> bool:
    """Return whether enough of a shifted box is still in its field."""
    height, width = pixels.shape[:2]
    across = min(box[2], width) - max(box[0], 0)
    along = min(box[3], height) - max(box[1], 0)
    return min(across, along) >= MIN_SIDE


def _end_field(
    pixels: NDArray[np.uint8], box: Box, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Box]:
    """Cut off one side of the field, so that 30 to 95% of the cell is left."""
    turns = int(rng.integers(4))
    # Rotate until the side to cut off is on the right.
    for _ in range(turns):
        box = (box[1], pixels.shape[1] - box[2], box[3], pixels.shape[1] - box[0])
        pixels = np.rot90(pixels)
    xmin, ymin, xmax, ymax = box
    end = xmin + max(2.0 * MIN_SIDE, rng.uniform(0.3, 0.95) * (xmax - xmin))
    return pixels[:, : math.ceil(end)], (xmin, ymin, min(xmax, end), ymax)
