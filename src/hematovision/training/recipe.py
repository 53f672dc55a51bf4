"""What training is told and what it gives back, without Keras, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass

from hematovision.model.head import Head

__all__ = ["Epoch", "FineTuning", "HeadTraining", "TrainedHead"]

Epoch = dict[str, float]
"""One line of a training history: ``epoch`` from 1, ``loss``, ``accuracy``, ``val_loss``, ..."""


@dataclass(frozen=True)
class HeadTraining:
    """How to train the head; the defaults are the classic recipe.

    Parameters
    ----------
    epochs : int
        At most so many.
    batch_size : int
    patience : int
        Epochs without a lower validation loss after which to stop.
    hidden : int
        Width of the hidden layer.
    learning_rate : float
        Adam's.
    seed : int
        Decides the first weights and the order of the images.
    """

    epochs: int = 15
    batch_size: int = 32
    patience: int = 5
    hidden: int = 128
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class FineTuning:
    """How to fine-tune.

    Parameters
    ----------
    blocks : int or None
        How many of the 17 blocks, counted from the top, learn; None is all, stem included.
    epochs, batch_size, seed : int
        As usual. An epoch draws as many images as there are.
    learning_rate : float
        Peak of a schedule that warms up over the first tenth of the steps and falls to zero with
        the cosine (Loshchilov and Hutter 2017, SGDR).
    patience : int
        Epochs without a better validation loss after which to stop.
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
    """A head with the weights of its best epoch, and its curves."""

    head: Head
    history: tuple[Epoch, ...]
    interrupted: bool = False
