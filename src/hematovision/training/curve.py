"""The learning curve: how good the model would be with fewer labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hematovision.progress import Progress, no_progress
from hematovision.training.pictures import Part
from hematovision.training.recipe import HeadTraining

__all__ = ["DRAWS", "FRACTIONS", "CurvePoint", "learning_curve"]

FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the training images; doubling shows what twice the labelling would bring."""

DRAWS = 4
"""How many random orders of the images are tried, each with a seed of its own: a single one is
luck, and with four the interval of their mean is 1.6 times their standard deviation to each side.
"""

_LEAST = 2  # images of a class, where there are two


@dataclass(frozen=True)
class CurvePoint:
    """What a number of training images leads to.

    Parameters
    ----------
    images : int
        Labelled training images, each seen from one side.
    balanced_accuracy : tuple of float
        On the judged part, one for each random order. The images of a point hold those of the
        point before it in the same order, so that the scores of two points can be paired.
    per_class : tuple of int
        The images of each class, in the taxonomy's order.
    """

    images: int
    balanced_accuracy: tuple[float, ...]
    per_class: tuple[int, ...] = ()


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
        As for the model itself; the seed decides the orders, too.
    progress : Progress
        Told after every head.

    Returns
    -------
    tuple of CurvePoint
        By growing number of images; every class keeps its share, and at least two images.
    """
    counts = np.bincount(train.labels, minlength=n_classes)
    places = [_places(train.labels, how.seed, draw) for draw in range(DRAWS)]
    sizes = list(_sizes(counts))
    points: list[CurvePoint] = []
    for size in sizes:
        scores: list[float] = []
        for draw, place in enumerate(places):
            rows = np.flatnonzero(place < size[train.labels])
            scores.append(_score(train, rows, valid, judged, n_classes, _seeded(how, draw)))
            progress(len(points) * DRAWS + draw + 1, len(sizes) * DRAWS, "learning curve")
        points.append(CurvePoint(int(size.sum()), tuple(scores), tuple(size.tolist())))
    return tuple(points)


def _sizes(counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Give how many images of each class a point has; of points that are equal, one."""
    before = -1
    for fraction in FRACTIONS:
        size = np.minimum(counts, np.maximum(_LEAST, np.rint(fraction * counts).astype(np.int64)))
        if size.sum() > before:
            yield size
        before = int(size.sum())


def _places(labels: NDArray[np.int64], seed: int, draw: int) -> NDArray[np.int64]:
    """Return each image's place in a random order of its class."""
    order = np.random.default_rng([seed, draw]).permutation(len(labels))
    places = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        places[rows] = np.arange(len(rows))
    return places


def _seeded(how: HeadTraining, draw: int) -> HeadTraining:
    return replace(how, seed=how.seed + draw)


def _score(
    train: Part,
    rows: NDArray[np.int64],
    valid: Part,
    judged: Part,
    n_classes: int,
    how: HeadTraining,
) -> float:
    """Return the balanced accuracy of a head that learnt from some rows."""
    from hematovision.training.head import train_head

    trained = train_head(
        train.features[rows], train.labels[rows], valid.features, valid.labels, n_classes, how
    )
    right = trained.head.logits(judged.features).argmax(axis=1) == judged.labels
    recalls = [right[judged.labels == label].mean() for label in np.unique(judged.labels)]
    return float(np.mean(recalls))
