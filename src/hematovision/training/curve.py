"""The learning curve: balanced accuracy against the number of training images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hematovision.progress import Progress, no_progress
from hematovision.training.inputs import SplitFeatures
from hematovision.training.recipe import HeadTraining

__all__ = ["FRACTIONS", "ORDERS", "CurvePoint", "learning_curve"]

FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the training images; each doubles the last, to show the gain from more labels."""

ORDERS = 4
"""Random orders of the images. With four, the 95% interval of the mean is 1.6 standard deviations
to each side.
"""

_LEAST = 2  # images per class, if available


@dataclass(frozen=True)
class CurvePoint:
    """Scores with a number of training images."""

    images: int  # labelled training images, one view each
    # On the evaluated split, for each random order. A point's images include those of the point
    # before it in the same order, so that the scores of two points are paired.
    balanced_accuracy: tuple[float, ...]
    per_class: tuple[int, ...] = ()  # images of each class, in the taxonomy's order


def learning_curve(
    train: SplitFeatures,
    valid: SplitFeatures,
    evaluated: SplitFeatures,
    n_classes: int,
    options: HeadTraining,
    progress: Progress = no_progress,
) -> tuple[CurvePoint, ...]:
    """Train heads on growing subsets of the training images and score each.

    The test split may be evaluated, because nothing is chosen by the result.

    `valid` is for early stopping, `evaluated` for the scores. `options` as for the model; the seed
    also determines the orders. Points are in order of images; every class keeps its share, and at
    least two images. `progress` is called after every head.
    """
    counts = np.bincount(train.labels, minlength=n_classes)
    ranks = [_ranks(train.labels, options.seed, order) for order in range(ORDERS)]
    sizes = list(_sizes(counts))
    points: list[CurvePoint] = []
    for size in sizes:
        scores: list[float] = []
        for order, rank in enumerate(ranks):
            rows = np.flatnonzero(rank < size[train.labels])
            seeded = replace(options, seed=options.seed + order)
            scores.append(_score(train, rows, valid, evaluated, n_classes, seeded))
            done, total = len(points) * ORDERS + order + 1, len(sizes) * ORDERS
            progress(done, total, "learning curve", "heads")
        points.append(CurvePoint(int(size.sum()), tuple(scores), tuple(size.tolist())))
    return tuple(points)


def _sizes(counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the images of each class for every point, without duplicates."""
    before = -1
    for fraction in FRACTIONS:
        size = np.minimum(counts, np.maximum(_LEAST, np.rint(fraction * counts).astype(np.int64)))
        if size.sum() > before:
            yield size
        before = int(size.sum())


def _ranks(labels: NDArray[np.int64], seed: int, order: int) -> NDArray[np.int64]:
    """Return each image's rank in a random order of its class."""
    shuffled = np.random.default_rng([seed, order]).permutation(len(labels))
    ranks = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        ranks[rows] = np.arange(len(rows))
    return ranks


def _score(
    train: SplitFeatures,
    rows: NDArray[np.int64],
    valid: SplitFeatures,
    evaluated: SplitFeatures,
    n_classes: int,
    options: HeadTraining,
) -> float:
    """Return the balanced accuracy of a head trained on some rows."""
    from hematovision.training.fitting import train_head

    trained = train_head(
        train.features[rows], train.labels[rows], valid.features, valid.labels, n_classes, options
    )
    right = trained.head.logits(evaluated.features).argmax(axis=1) == evaluated.labels
    recalls = [right[evaluated.labels == label].mean() for label in np.unique(evaluated.labels)]
    return float(np.mean(recalls))
