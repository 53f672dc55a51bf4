"""Train with Keras: the head on features, fine-tuning, and their common loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.samples import Sample
from hematovision.errors import TrainingError
from hematovision.extras import needs_extra
from hematovision.model.head import Head
from hematovision.model.weights import Weights
from hematovision.plurals import counted
from hematovision.progress import EpochProgress, Progress, no_progress
from hematovision.training.augment import MILD, augment
from hematovision.training.keras_model import (
    classifier_model,
    head_model,
    head_of,
    trainable_from,
    tuned_weights,
)
from hematovision.training.recipe import Epoch, FineTuning, HeadTraining, TrainedHead

with needs_extra("train", "Training"):
    import keras

__all__ = [
    "FineTuned", "Fit", "Labelled", "TrainingBatches", "ValidationBatches", "class_balanced",
    "class_weights", "fine_tune", "fit_best", "train_head",
]  # fmt: skip

_STEPS_PER_EXECUTION = 16  # a step takes under 1 ms; returning to Python after each doubled that
_VALIDATION_BATCH = 1024


def class_weights(labels: NDArray[np.int64], n_classes: int) -> dict[int, float]:
    """Weight classes inversely to their frequency: N / (present classes * images of the class).

    Equal to scikit-learn's ``"balanced"`` (King and Zeng 2001, "Logistic regression in rare events
    data"); a class without images has weight 1.
    """
    counts = np.bincount(labels, minlength=n_classes)
    present = np.count_nonzero(counts)
    return {i: float(len(labels) / (present * n)) if n else 1.0 for i, n in enumerate(counts)}


def train_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    valid_features: NDArray[np.float32],
    valid_labels: NDArray[np.int64],
    n_classes: int,
    options: HeadTraining,
    progress: Progress = no_progress,
) -> TrainedHead:
    """Train ``Dense(hidden, relu) -> Dense(n_classes, softmax)`` with Adam and cross-entropy.

    Features are float32 (N, 1280), labels class indices (N,); the validation ones may be empty.
    `progress` is called after every batch. Raises `TrainingError` if there are fewer than two
    classes, or as `fit_best`.
    """
    if len(np.unique(labels)) < 2:
        raise TrainingError(
            "The training split must have images of at least two classes. Received: "
            f"{counted(len(labels), 'image')} of {len(np.unique(labels))}. Add images of another "
            "class."
        )
    keras.utils.set_random_seed(options.seed)
    model = head_model(features.shape[1], (options.hidden, n_classes))
    model.compile(
        optimizer=keras.optimizers.Adam(options.learning_rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=_STEPS_PER_EXECUTION,
    )
    valid = (valid_features, _one_hot(valid_labels, n_classes)) if len(valid_labels) else None
    fit = fit_best(
        model,
        features,
        _one_hot(labels, n_classes),
        validation_data=valid,
        epochs=options.epochs,
        patience=options.patience,
        what="head",
        progress=progress,
        batch_size=options.batch_size,
        validation_batch_size=_VALIDATION_BATCH,
        class_weight=class_weights(labels, n_classes),
    )
    return TrainedHead(head_of(model), fit.history, fit.interrupted)


@dataclass(frozen=True)
class FineTuned:
    """Weights and head of the best epoch, and the training history."""

    weights: Weights
    head: Head
    history: tuple[Epoch, ...]
    interrupted: bool = False


def fine_tune(
    train: Labelled,
    valid: Labelled,
    head: Head,
    weights: Weights,
    options: FineTuning,
    *,
    progress: Progress = no_progress,
) -> FineTuned:
    """Train backbone and head together, with BatchNorm frozen.

    BatchNorm statistics from one lab's images would make the network worse on others.

    `valid` images choose the best epoch; `head` and `weights` are the initial ones. `progress` is
    called after every batch. Returns the epoch with the lowest validation loss; after Ctrl-C the
    best epoch so far, with `interrupted` set. Raises `TrainingError` as `fit_best`.
    """
    keras.utils.set_random_seed(options.seed)
    model = classifier_model(weights, head)
    backbone = model.get_layer(weights.architecture)
    trainable_from(backbone, options.blocks)
    batches = TrainingBatches(train, head.n_classes, options.batch_size, options.seed)
    _compile(model, options, len(batches) * options.epochs)
    fit = fit_best(
        model,
        batches,
        validation_data=ValidationBatches(valid, head.n_classes, options.batch_size),
        epochs=options.epochs,
        patience=options.patience,
        what="fine-tuning",
        progress=progress,
        # A callback, because the epoch hooks of PyDataset differ between Keras versions.
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=lambda i, _: batches.sample(i))],
        shuffle=False,
    )
    tuned = tuned_weights(backbone, weights)
    return FineTuned(tuned, head_of(model), fit.history, fit.interrupted)


def _compile(model: Any, options: FineTuning, steps: int) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=options.learning_rate / 100,
        decay_steps=max(1, steps - steps // 10),
        warmup_target=options.learning_rate,
        warmup_steps=max(1, steps // 10),
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA is slow for MobileNetV2's depthwise convolutions on CPUs: 3 images/s instead of 20.
        jit_compile=keras.backend.backend() == "jax",
    )


class Labelled(Protocol):
    """Images and their classes: a `Dataset`, or the features of one of its splits."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The N samples."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, shape (N,)."""


def class_balanced(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sampling probabilities (N,) with the same total for every class present."""
    counts = np.bincount(labels)
    return 1.0 / counts[labels]


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Training batches: every class sampled equally often, every image augmented.

    Each batch is ``(images (B, 224, 224, 3) uint8, one-hot (B, C) float32)``. It depends only on
    the seed, the epoch and the batch number.
    """

    def __init__(self, cells: Labelled, n_classes: int, batch_size: int, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._cells, self._labels = cells, cells.labels
        self._n_classes, self._batch_size, self._seed = n_classes, batch_size, seed
        self.sample(0)

    def sample(self, epoch: int) -> None:
        """Sample the images of an epoch: whole batches, at least N images in total."""
        rng = np.random.default_rng([self._seed, epoch, 2**31])
        n, steps = len(self._labels), -(-len(self._labels) // self._batch_size)
        total = steps * self._batch_size
        rng.random(total)  # discarded; keeps results of older versions reproducible
        frequency = class_balanced(self._labels)
        rows = rng.choice(n, size=total, p=frequency / frequency.sum())
        self._epoch, self._plan = epoch, rows.reshape(steps, -1)

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = np.random.default_rng([self._seed, self._epoch, number])
        plan = self._plan[number]
        pixels = [images.read(self._cells.samples[i].path) for i in plan]
        varied = np.stack([augment(image, images.SIZE, MILD, rng) for image in pixels])
        return varied, _one_hot(self._labels[plan], self._n_classes)


class ValidationBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Validation batches: every image once, not augmented; otherwise like `TrainingBatches`."""

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


@dataclass(frozen=True)
class Fit:
    """The history of a training run; the model has the weights of the best epoch."""

    history: tuple[Epoch, ...]
    interrupted: bool


def fit_best(
    model: Any,
    *data: Any,
    validation_data: Any,
    epochs: int,
    patience: int,
    what: str,
    progress: Progress = no_progress,
    callbacks: Sequence[Any] = (),
    **options: Any,
) -> Fit:
    """Train a compiled model and restore the weights of its best epoch.

    Raises `TrainingError` if the loss is not finite, or Ctrl-C interrupts the first epoch.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    *data
        The first arguments of ``model.fit``: arrays, or a dataset.
    validation_data
        Validation data in the same form; if None, the best epoch has the lowest training loss.
    epochs, patience : int
        Maximum number of epochs, and epochs without a lower loss before stopping.
    what : str
        The stage in progress and error messages, such as ``"head"``.
    progress : Progress
        Called after every batch, and after every epoch if it is an `EpochProgress`.
    **options
        Further arguments of ``model.fit``.

    Returns
    -------
    Fit
        After Ctrl-C, `interrupted` is set and the model has the best epoch so far.
    """
    monitor = "loss" if validation_data is None else "val_loss"
    best = keras.callbacks.EarlyStopping(
        monitor=monitor, mode="min", patience=patience, restore_best_weights=True
    )
    log = _Log(what, epochs, progress)
    interrupted = False
    try:
        model.fit(
            *data,
            validation_data=validation_data,
            epochs=epochs,
            callbacks=[*callbacks, best, keras.callbacks.TerminateOnNaN(), log],
            verbose=0,
            **options,
        )
    except KeyboardInterrupt:
        interrupted = True
    # Some CPUs turn NaN into 0, so checking the loss is not enough.
    ended = any(math.isfinite(epoch.get(monitor, math.nan)) for epoch in log.epochs)
    if not ended or not all(np.isfinite(array).all() for array in best.best_weights):
        raise TrainingError(
            f"Training of the {what} was interrupted in the first epoch; there is nothing to save. "
            "Start it again."
            if interrupted and not ended
            else f"The loss became not a number while training the {what}. Check the images, or "
            "use a lower learning rate."
        )
    model.set_weights(best.best_weights)
    return Fit(tuple(log.epochs), interrupted)


class _Log(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the history and reports progress."""

    def __init__(self, what: str, epochs: int, progress: Progress) -> None:
        super().__init__()
        self.epochs: list[Epoch] = []
        self._what, self._total, self._progress = what, epochs, progress
        self._epoch = 0
        self._steps = 1

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        steps = self._steps = self.params["steps"] or 1
        # With several steps per execution, `batch` may exceed the number of steps.
        done = self._epoch * steps + min(batch + 1, steps)
        self._progress(done, self._total * steps, self._what, "batches")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append({"epoch": float(epoch + 1), **values})
        if isinstance(self._progress, EpochProgress):
            self._progress.epoch({**self.epochs[-1], "epochs": float(self._total)}, self._what)

    def on_train_end(self, logs: object = None) -> None:  # noqa: ARG002
        whole = self._total * self._steps
        self._progress(whole, whole, self._what, "batches")
