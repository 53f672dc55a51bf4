"""Batches of images for fine-tuning, decoded and augmented on the fly."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.samples import Sample
from hematovision.extras import needs_extra
from hematovision.training.augment import MILD, augment

with needs_extra("train", "Fine-tuning"):
    import keras

__all__ = ["Labelled", "TrainingBatches", "ValidationBatches", "class_balanced"]


class Labelled(Protocol):
    """Images and their classes: a `Dataset`, or a `Part` of one."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """N of them."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Their class indices, shape (N,)."""


def class_balanced(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sampling frequencies (N,) under which every class that is present comes up alike."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels]


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches to learn from: every class drawn equally often, every image augmented.

    Each batch is ``(images (B, 224, 224, 3) uint8, one-hot (B, C) float32)``. What it holds
    depends on the seed, the epoch and its number alone.

    Parameters
    ----------
    cells : Labelled
        At least one.
    n_classes, batch_size, seed : int
    """

    def __init__(self, cells: Labelled, n_classes: int, batch_size: int, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._cells, self._labels = cells, cells.labels
        self._n_classes, self._batch_size, self._seed = n_classes, batch_size, seed
        self.draw(0)

    def draw(self, epoch: int) -> None:
        """Draw the images of an epoch: whole batches, and no fewer images than there are."""
        rng = np.random.default_rng([self._seed, epoch, 2**31])
        n, steps = len(self._labels), -(-len(self._labels) // self._batch_size)
        total = steps * self._batch_size
        rng.random(total)  # Passed over, so that a seed goes on meaning what it always has.
        frequency = class_balanced(self._labels)
        drawn = rng.choice(n, size=total, p=frequency / frequency.sum())
        self._epoch, self._plan = epoch, drawn.reshape(steps, -1)

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = np.random.default_rng([self._seed, self._epoch, number])
        plan = self._plan[number]
        pixels = [images.read(self._cells.samples[i].path) for i in plan]
        varied = np.stack([augment(image, images.SIZE, MILD, rng) for image in pixels])
        return varied, _one_hot(self._labels[plan], self._n_classes)


class ValidationBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches to judge by: every image once, as it is; otherwise like `TrainingBatches`."""

    def __init__(self, cells: Labelled, n_classes: int, batch_size: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._samples, self._labels = cells.samples, cells.labels
        self._n_classes, self._batch_size = n_classes, batch_size

    def __len__(self) -> int:
        return -(-len(self._samples) // self._batch_size)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rows = slice(number * self._batch_size, (number + 1) * self._batch_size)
        pixels = np.stack([images.load(sample.path) for sample in self._samples[rows]])
        return pixels, _one_hot(self._labels[rows], self._n_classes)


def _one_hot(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    return np.eye(n_classes, dtype=np.float32)[labels]
