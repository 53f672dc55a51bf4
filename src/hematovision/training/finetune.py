"""Fine-tuning: the second, optional stage, in which the backbone itself learns.

BatchNorm stays frozen: the statistics of one laboratory's images are one of the ways in which a
network forgets all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hematovision.extras import needs_extra
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.progress import Progress, no_progress
from hematovision.training.batches import Labelled, TrainingBatches, ValidationBatches
from hematovision.training.fit import fit_best
from hematovision.training.keras_model import (
    BACKBONE_LAYER,
    backbone_weights,
    classifier_model,
    head_of,
    trainable_from,
)
from hematovision.training.recipe import Epoch, FineTuning

with needs_extra("train", "Fine-tuning"):
    import keras

__all__ = ["FineTuned", "FineTuning", "fine_tune"]


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning led to: the weights and the head of the best epoch, and the curves."""

    weights: BackboneWeights
    head: Head
    history: tuple[Epoch, ...]
    interrupted: bool = False


def fine_tune(
    train: Labelled,
    valid: Labelled,
    head: Head,
    weights: BackboneWeights,
    how: FineTuning,
    *,
    progress: Progress = no_progress,
) -> FineTuned:
    """Train backbone and head together.

    Parameters
    ----------
    train, valid : Labelled
        Images to learn from, and to choose the best epoch by; at least one each.
    head : Head
        Where the head starts from.
    weights : BackboneWeights
        Where the backbone starts from.
    how : FineTuning
        Options.
    progress : Progress
        Told after every batch.

    Returns
    -------
    FineTuned
        The epoch with the lowest validation loss. After Ctrl-C the best epoch so far, with
        `interrupted` set.

    Raises
    ------
    TrainingError
        If the loss is not a number, or Ctrl-C came before the first epoch ended.
    """
    keras.utils.set_random_seed(how.seed)
    model = classifier_model(weights, head)
    backbone = model.get_layer(BACKBONE_LAYER)
    trainable_from(backbone, how.blocks)
    batches = TrainingBatches(train, head.n_classes, how.batch_size, how.seed)
    _compile(model, how, len(batches) * how.epochs)
    fit = fit_best(
        model,
        batches,
        validation_data=ValidationBatches(valid, head.n_classes, how.batch_size),
        epochs=how.epochs,
        patience=how.patience,
        what="fine-tuning",
        progress=progress,
        # Keras numbers the epochs: what it tells a data set of them is not the same everywhere.
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=lambda i, _: batches.draw(i))],
        shuffle=False,
    )
    tuned = backbone_weights(backbone, weights.side)
    return FineTuned(tuned, head_of(model), fit.history, fit.interrupted)


def _compile(model: Any, how: FineTuning, steps: int) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=how.learning_rate / 100,
        decay_steps=max(1, steps - steps // 10),
        warmup_target=how.learning_rate,
        warmup_steps=max(1, steps // 10),
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=how.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA compiles MobileNetV2's depthwise convolutions badly on CPUs: 3 images/s instead of 20.
        jit_compile=keras.backend.backend() == "jax",
    )
