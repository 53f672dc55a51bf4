"""The learning curve: how good the model would be with fewer labelled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.progress import Progress, no_progress
from hematovision.training.head import HeadTraining, train_head
from hematovision.training.pictures import Part

__all__ = ["FRACTIONS", "CurvePoint", "learning_curve"]

FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the training images; doubling shows what twice the labelling would bring."""

DRAWS = 3
"""How many random subsets of each size are tried: a single small one is luck."""


@dataclass(frozen=True)
class CurvePoint:
    """What a number of training images leads to.

    Parameters
    ----------
    images : int
        Labelled training images, each seen from one side.
    balanced_accuracy : tuple of float
        On the judged part, one for each random subset of that size.
    """

    images: int
    balanced_accuracy: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return float(np.median(self.balanced_accuracy))


def learning_curve(
    train: Part,
    valid: Part,
    judged: Part,
    n_classes: int,
    how: HeadTraining,
    progress: Progress = no_progress,
) -> tuple[CurvePoint, ...]:
    """Train heads on growing parts of the training images and judge each.

    Nothing is chosen by the result, so that the test part may be the judge.

    Parameters
    ----------
    train, valid, judged : Part
        Where to learn, stop, and be judged.
    n_classes : int
    how : HeadTraining
        As for the model itself; the seed decides the subsets, too.
    progress : Progress
        Told after every head.

    Returns
    -------
    tuple of CurvePoint
        Sorted by the number of images; every class keeps its share, and at least two images.
    """
    points = []
    for step, fraction in enumerate(FRACTIONS):
        scores = []
        for draw in range(DRAWS if fraction < 1 else 1):
            rng = np.random.default_rng([how.seed, step, draw])
            rows = _subset(train.labels, fraction, rng)
            trained = train_head(
                train.features[rows],
                train.labels[rows],
                valid.features,
                valid.labels,
                n_classes,
                how,
            )
            answers = trained.head.logits(judged.features).argmax(axis=1)
            scores.append(_balanced_accuracy(judged.labels, answers))
        points.append(CurvePoint(len(rows), tuple(scores)))
        progress(step + 1, len(FRACTIONS), "learning curve")
    return tuple(points)


def _subset(
    labels: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a share of every class, at least two images of it where there are two."""
    chosen = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(2, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


def _balanced_accuracy(labels: NDArray[np.int64], answers: NDArray[np.int64]) -> float:
    recalls = [(answers[labels == label] == label).mean() for label in np.unique(labels)]
    return float(np.mean(recalls))
