"""Options and results of training, without Keras, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass

from hematovision.model.head import Head

__all__ = ["Epoch", "FineTuning", "HeadTraining", "TrainedHead"]

Epoch = dict[str, float]
"""A row of a training history: ``epoch`` from 1, ``loss``, ``accuracy``, ``val_loss``, ..."""


@dataclass(frozen=True)
class HeadTraining:
    """Options for training the head; the defaults are the classic recipe.

    Parameters
    ----------
    epochs : int
        Maximum number.
    batch_size : int
    patience : int
        Epochs without a lower validation loss after which training stops.
    hidden : int
        Units of the hidden layer.
    learning_rate : float
        Of Adam.
    seed : int
        Of the initial weights and the order of the images.
    """

    epochs: int = 15
    batch_size: int = 32
    patience: int = 5
    hidden: int = 128
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class FineTuning:
    """Options for fine-tuning.

    Parameters
    ----------
    blocks : int or None
        How many of the 17 blocks to train, counted from the top; None trains all and the stem.
    epochs, batch_size, patience, seed : int
        As in `HeadTraining`. An epoch samples as many images as there are.
    learning_rate : float
        Peak of a schedule with warm-up over the first tenth of the steps and cosine decay to zero
        (Loshchilov and Hutter 2017, SGDR).
    label_smoothing : float
        As in Szegedy et al. 2016.
    """

    blocks: int | None = 6
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-4
    patience: int = 5
    label_smoothing: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class TrainedHead:
    """A head with the weights of its best epoch, and the training history."""

    head: Head
    history: tuple[Epoch, ...]
    interrupted: bool = False
