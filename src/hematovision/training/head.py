"""The head: two dense layers that learn on the features of a frozen backbone, in seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import TrainingError
from hematovision.extras import needs_extra
from hematovision.progress import Progress, no_progress
from hematovision.training.fit import fit_best
from hematovision.training.keras_model import head_model, head_of
from hematovision.training.recipe import HeadTraining, TrainedHead

with needs_extra("train", "Training"):
    import keras

__all__ = ["HeadTraining", "TrainedHead", "class_weights", "train_head"]


_STEPS_AT_ONCE = 16
_VALIDATION_BATCH = 1024


def class_weights(labels: NDArray[np.int64], n_classes: int) -> dict[int, float]:
    """Weigh classes so that each that is present counts alike: N / (classes * images of it).

    The same as scikit-learn's ``"balanced"`` (King and Zeng 2001, "Logistic regression in rare
    events data"); a class without images weighs 1.
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
    how: HeadTraining,
    progress: Progress = no_progress,
) -> TrainedHead:
    """Train ``Dense(hidden, relu) -> Dense(n_classes, softmax)`` with Adam and cross-entropy.

    Parameters
    ----------
    features, valid_features : ndarray of float32, shape (N, 1280)
        Of the training and the validation images; the latter may be empty.
    labels, valid_labels : ndarray of int, shape (N,)
        Class indices.
    n_classes : int
    how : HeadTraining
    progress : Progress
        Told after every batch.

    Raises
    ------
    TrainingError
        If the training images show fewer than two classes, or nothing came of it.
    """
    if len(np.unique(labels)) < 2:
        raise TrainingError(
            f"The training part has {len(labels)} images of {len(np.unique(labels))} class; a "
            "classifier needs images of at least two. Add some."
        )
    keras.utils.set_random_seed(how.seed)
    model = head_model((how.hidden, n_classes))
    model.compile(
        optimizer=keras.optimizers.Adam(how.learning_rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        # A step computes for less than a millisecond; coming back to Python after each doubled it.
        steps_per_execution=_STEPS_AT_ONCE,
    )
    valid = (valid_features, _one_hot(valid_labels, n_classes)) if len(valid_labels) else None
    fit = fit_best(
        model,
        features,
        _one_hot(labels, n_classes),
        validation_data=valid,
        epochs=how.epochs,
        patience=how.patience,
        what="head",
        progress=progress,
        batch_size=how.batch_size,
        validation_batch_size=_VALIDATION_BATCH,
        class_weight=class_weights(labels, n_classes),
    )
    return TrainedHead(head_of(model), fit.history, fit.interrupted)


def _one_hot(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    return np.eye(n_classes, dtype=np.float32)[labels]
