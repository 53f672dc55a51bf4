"""Fine-tuning: the second, optional stage, in which the backbone itself learns.

One or several tasks (each a list of images with classes of its own) share the backbone; each has
its own head. A command line user has one task; the shipped `hematology` weights come from
several. BatchNorm stays frozen unless asked for: the statistics of one laboratory's images are one
of the ways in which a network forgets all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import TrainingError, needs_extra
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.progress import Progress, no_progress
from hematovision.training.augment import MILD, Augmentation
from hematovision.training.batches import TaskBatches, steps_per_epoch
from hematovision.training.fit import Epoch, fit_best
from hematovision.training.keras_model import (
    add_head,
    backbone_model,
    backbone_weights,
    features_of,
    head_of,
    set_head,
    trainable_from,
)

with needs_extra("train", "Fine-tuning"):
    import keras

__all__ = ["FineTuned", "FineTuning", "Task", "fine_tune"]


@dataclass(frozen=True)
class Task:
    """Images to tell apart, and what is known about them.

    Parameters
    ----------
    name : str
        Distinct among the tasks of one run; a Python identifier.
    n_classes : int
        Number of classes.
    paths : sequence of Path
        Training images.
    labels : ndarray of int, shape (N,)
        Their class indices.
    sampling : ndarray of float, shape (N,), or None
        Relative frequency with which each image is drawn; None draws every class equally often.
    valid_paths, valid_labels
        Validation images, never augmented; may be empty.
    head : Head or None
        Where this task's head starts from; None starts a fresh linear one.
    share : float
        This task's share of every batch, relative to the other tasks.
    """

    name: str
    n_classes: int
    paths: Sequence[Path]
    labels: NDArray[np.int64]
    sampling: NDArray[np.float64] | None = None
    valid_paths: Sequence[Path] = ()
    valid_labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    head: Head | None = None
    share: float = 1.0


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune.

    Parameters
    ----------
    blocks : int or None
        How many of the 17 blocks, counted from the top, learn; None is all, stem included.
    epochs, batch_size, seed : int
        As usual. An epoch draws as many images as `samples_per_epoch` says.
    learning_rate : float
        Peak of a schedule that warms up over the first tenth of the steps and falls to zero with
        the cosine (Loshchilov and Hutter 2017, SGDR).
    samples_per_epoch : int or None
        None draws as many as there are training images in all tasks.
    augmentation : Augmentation
        How far images are changed.
    patience : int
        Epochs without a better validation loss after which to stop.
    label_smoothing : float
        As in Szegedy et al. 2016.
    batch_norm : bool
        Whether the BatchNorm layers of the learning blocks learn too, statistics included; only
        for batches that mix laboratories.
    """

    blocks: int | None = 6
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-4
    samples_per_epoch: int | None = None
    augmentation: Augmentation = MILD
    patience: int = 5
    label_smoothing: float = 0.05
    batch_norm: bool = False
    seed: int = 0


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning led to: the weights and heads of the best epoch, and the curves."""

    weights: BackboneWeights
    heads: Mapping[str, Head]
    history: tuple[Epoch, ...]
    interrupted: bool = False


def fine_tune(
    tasks: Sequence[Task],
    weights: BackboneWeights,
    how: FineTuning,
    *,
    callbacks: Sequence[Any] = (),
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
) -> FineTuned:
    """Train backbone and heads on all tasks at once.

    Parameters
    ----------
    tasks : sequence of Task
        At least one.
    weights : BackboneWeights
        Where the backbone starts from.
    how : FineTuning
        Options.
    callbacks : sequence of keras.callbacks.Callback
        Told of every batch and epoch.
    checkpoint : Path or None
        A folder in which every finished epoch is kept, optimiser included; a run that was killed
        goes on from there.

    Returns
    -------
    FineTuned
        The epoch with the lowest validation loss (training loss where there is no validation
        image). After Ctrl-C the best epoch so far, with `interrupted` set.

    Raises
    ------
    TrainingError
        If a task has no images, the loss is not a number, or Ctrl-C came before the first epoch
        ended.
    """
    _check(tasks)
    keras.utils.set_random_seed(how.seed)
    backbone = backbone_model(weights)
    trainable_from(backbone, how.blocks, batch_norm=how.batch_norm)
    model = _model(tasks, backbone, how)
    batches = TaskBatches.training(tasks, how)
    valid = TaskBatches.validation(tasks, how)
    kept = [keras.callbacks.BackupAndRestore(checkpoint)] if checkpoint else []
    fit = fit_best(
        model,
        batches,
        validation_data=valid if len(valid) else None,
        epochs=how.epochs,
        patience=how.patience,
        what="fine-tuning",
        progress=progress,
        callbacks=[*kept, batches.follower, *callbacks],
        shuffle=False,
    )
    heads = {task.name: head_of(model, f"{task.name}_") for task in tasks}
    tuned = backbone_weights(backbone, weights.side)
    return FineTuned(tuned, heads, fit.history, fit.interrupted)


def _check(tasks: Sequence[Task]) -> None:
    for task in tasks:
        if len(task.paths) == 0 or len(task.paths) != len(task.labels):
            raise TrainingError(
                f"Task {task.name!r} has {len(task.paths)} training images and "
                f"{len(task.labels)} labels; it needs at least one image, and as many labels."
            )
        # Layers are found by the task's name and what follows it.
        if any(task is not other and task.name.startswith(f"{other.name}_") for other in tasks):
            raise TrainingError(
                f"The task name {task.name!r} begins with another task's name. Choose another."
            )


def _model(tasks: Sequence[Task], backbone: Any, how: FineTuning) -> Any:
    images, features = features_of(backbone)
    outputs = {}
    for task in tasks:
        units = _units(task)
        outputs[task.name] = add_head(features, units, prefix=f"{task.name}_")
    model = keras.Model(images, outputs)
    for task in tasks:
        if task.head is not None:
            set_head(model, task.head, prefix=f"{task.name}_")
    steps = steps_per_epoch(tasks, how) * how.epochs
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=how.learning_rate / 100,
        decay_steps=max(1, steps - steps // 10),
        warmup_target=how.learning_rate,
        warmup_steps=max(1, steps // 10),
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss={
            task.name: keras.losses.CategoricalCrossentropy(label_smoothing=how.label_smoothing)
            for task in tasks
        },
        weighted_metrics={
            task.name: [keras.metrics.CategoricalAccuracy(name="accuracy")] for task in tasks
        },
        # XLA compiles MobileNetV2's depthwise convolutions badly on CPUs: 3 images/s instead of 20.
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def _units(task: Task) -> tuple[int, ...]:
    if task.head is None:
        return (task.n_classes,)
    return tuple(int(bias.shape[0]) for _, bias in task.head.layers)
