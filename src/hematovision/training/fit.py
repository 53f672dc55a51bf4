"""Keras' training loop with what every stage wants: the best epoch, progress, and Ctrl-C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hematovision.errors import TrainingError
from hematovision.extras import needs_extra
from hematovision.progress import EpochProgress, Progress, no_progress
from hematovision.training.recipe import Epoch

with needs_extra("train", "Training"):
    import keras

__all__ = ["Epoch", "Fit", "fit_best"]


@dataclass(frozen=True)
class Fit:
    """How a training went; the model itself holds the weights of its best epoch."""

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
    **how: Any,
) -> Fit:
    """Train a compiled model and leave it with the weights of its best epoch.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    *data
        What ``model.fit`` takes first: arrays, or a dataset.
    validation_data
        Likewise; None judges epochs by the training loss.
    epochs, patience : int
        At most so many epochs; stop after so many without a lower loss (Keras' EarlyStopping).
    what : str
        What to call it: ``"head"``.
    progress : Progress
        Told after every batch, and after every epoch if it is an `EpochProgress`.
    callbacks : sequence of keras.callbacks.Callback
        Told of everything.
    **how
        Further arguments of ``model.fit``.

    Returns
    -------
    Fit
        After Ctrl-C with `interrupted` set, and the best epoch so far in the model.

    Raises
    ------
    TrainingError
        If the loss is not a number, or Ctrl-C came before the first epoch ended.
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
            **how,
        )
    except KeyboardInterrupt:
        interrupted = True
    # Some processors make 0 of what is no number, so that the loss alone does not tell.
    ended = any(math.isfinite(epoch.get(monitor, math.nan)) for epoch in log.epochs)
    if not ended or not all(np.isfinite(array).all() for array in best.best_weights):
        raise TrainingError(
            f"Training the {what} was interrupted before its first epoch ended; there is nothing "
            "to keep. Start it again."
            if interrupted and not ended
            else f"Training the {what} led to a loss that is not a number. Check the images, or "
            "use a lower learning rate."
        )
    model.set_weights(best.best_weights)
    return Fit(tuple(log.epochs), interrupted)


class _Log(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the history and tells the progress."""

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
        # Several steps may be executed at once; the number is then that of the last one possible.
        done = self._epoch * steps + min(batch + 1, steps)
        self._progress(done, self._total * steps, self._what)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self.epochs.append({"epoch": float(epoch + 1), **figures})
        if isinstance(self._progress, EpochProgress):
            self._progress.epoch({**self.epochs[-1], "epochs": float(self._total)}, self._what)

    def on_train_end(self, logs: object = None) -> None:  # noqa: ARG002
        whole = self._total * self._steps
        self._progress(whole, whole, self._what)
