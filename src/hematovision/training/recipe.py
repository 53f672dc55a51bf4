"""Options and results of training. Does not import Keras."""

from __future__ import annotations

from dataclasses import dataclass

from hematovision.model.head import Head

__all__ = ["Epoch", "FineTuning", "HeadTraining", "TrainedHead"]

Epoch = dict[str, float]
"""A row of a training history: ``epoch`` from 1, ``loss``, ``accuracy``, ``val_loss``, ..."""


@dataclass(frozen=True)
class HeadTraining:
    """Options for training the head; the defaults are the classic recipe."""

    epochs: int = 15  # maximum number
    batch_size: int = 32
    patience: int = 5  # epochs without a lower validation loss after which training stops
    hidden: int = 128  # units of the hidden layer
    learning_rate: float = 1e-3  # of Adam
    seed: int = 0  # of the initial weights and the order of the images


@dataclass(frozen=True)
class FineTuning:
    """Options for fine-tuning."""

    # how many of the 17 blocks to train, from the top; None trains all and the stem
    blocks: int | None = 6
    # epochs, batch_size, patience, seed: as in `HeadTraining`
    epochs: int = 5
    batch_size: int = 32
    # peak of a schedule with warm-up over the first tenth of the steps and cosine decay to zero
    # (Loshchilov and Hutter 2017, SGDR)
    learning_rate: float = 1e-4
    patience: int = 5
    label_smoothing: float = 0.05  # as in Szegedy et al. 2016
    seed: int = 0


@dataclass(frozen=True)
class TrainedHead:
    """A head with the weights of its best epoch, and the training history."""

    head: Head
    history: tuple[Epoch, ...]
    interrupted: bool = False
