"""Batches of images for fine-tuning, decoded and augmented on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import needs_extra
from hematovision.training.augment import augment

with needs_extra("train", "Fine-tuning"):
    import keras

if TYPE_CHECKING:
    from hematovision.training.finetune import FineTuning, Task

__all__ = ["TaskBatches", "class_balanced", "steps_per_epoch"]


def steps_per_epoch(tasks: Sequence[Task], how: FineTuning) -> int:
    """Return the number of batches in an epoch."""
    samples = how.samples_per_epoch or sum(len(task.paths) for task in tasks)
    return -(-samples // how.batch_size)


def class_balanced(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sampling frequencies (N,) under which every class that is present comes up alike."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels]


class TaskBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches that Keras asks for by number.

    Each batch is ``(images (B, 224, 224, 3) uint8, {task: one-hot (B, C)}, {task: weight
    (B,)})``; an image weighs 1 in its own task and 0 in the others. What a batch holds depends on
    the seed, the epoch and its number alone, so that a resumed run draws what an uninterrupted
    one would have.
    """

    def __init__(
        self, tasks: Sequence[Task], how: FineTuning, plan: list[NDArray[np.int64]], *, vary: bool
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._tasks = tasks
        self._how = how
        self._vary = vary
        self._plan = plan
        self._epoch = 0

    @classmethod
    def training(cls, tasks: Sequence[Task], how: FineTuning) -> TaskBatches:
        """Make the batches to learn from: drawn by `Task.sampling`, augmented."""
        batches = cls(tasks, how, [], vary=True)
        batches.on_epoch_begin()
        return batches

    @property
    def follower(self) -> Any:
        """A callback that keeps the batches at Keras' epoch, also when a run is resumed."""
        return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: self.follow(epoch))

    @classmethod
    def validation(cls, tasks: Sequence[Task], how: FineTuning) -> TaskBatches:
        """Make the batches to judge by: every validation image once, as it is."""
        pairs = [(t, i) for t, task in enumerate(tasks) for i in range(len(task.valid_paths))]
        plan = np.array(pairs, np.int64).reshape(-1, 2)
        chunks = range(0, len(plan), how.batch_size)
        return cls(tasks, how, [plan[i : i + how.batch_size] for i in chunks], vary=False)

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, number: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        rng = np.random.default_rng([self._how.seed, self._epoch, number])
        plan = self._plan[number]
        pixels = np.stack([self._image(int(t), int(i), rng) for t, i in plan])
        targets, weights = {}, {}
        for t, task in enumerate(self._tasks):
            mine = plan[:, 0] == t
            labels = task.labels if self._vary else task.valid_labels
            target = np.full((len(plan), task.n_classes), 1 / task.n_classes, np.float32)
            target[mine] = np.eye(task.n_classes, dtype=np.float32)[labels[plan[mine, 1]]]
            targets[task.name], weights[task.name] = target, mine.astype(np.float32)
        return pixels, targets, weights

    def on_epoch_begin(self) -> None:
        """Draw the images of the next epoch."""
        if not self._vary:
            return
        rng = np.random.default_rng([self._how.seed, self._epoch, 2**31])
        steps = steps_per_epoch(self._tasks, self._how)
        shares = np.array([task.share for task in self._tasks])
        total = steps * self._how.batch_size
        of_task = rng.choice(len(self._tasks), size=total, p=shares / shares.sum())
        drawn = np.zeros(total, np.int64)
        for t, task in enumerate(self._tasks):
            frequency = class_balanced(task.labels) if task.sampling is None else task.sampling
            mine = np.flatnonzero(of_task == t)
            drawn[mine] = rng.choice(len(task.paths), size=len(mine), p=frequency / frequency.sum())
        self._plan = np.split(np.stack([of_task, drawn], axis=1), steps)

    def follow(self, epoch: int) -> None:
        """Make `epoch` the one whose images `on_epoch_begin` draws."""
        self._epoch = epoch

    def _image(self, t: int, i: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        task = self._tasks[t]
        path: Path = task.paths[i] if self._vary else task.valid_paths[i]
        pixels = images.read(path)
        if not self._vary:
            return images.fit(pixels)
        return augment(pixels, images.SIZE, self._how.augmentation, rng)
