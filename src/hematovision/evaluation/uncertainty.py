"""The intervals of a model's scores, and of the differences between two models.

`intervals` has the methods. Differences are paired: both models predict the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation import scores
from hematovision.intervals import (
    Interval,
    bootstrap_counts,
    f1_interval,
    hull,
    mean_interval,
    percentile_interval,
    tango,
    wilson,
)

__all__ = [
    "Difference", "IntervalMethod", "PairedMethod", "PairedScores", "Uncertainty",
    "bootstrap_interval", "known_groups",
]  # fmt: skip

IntervalMethod: TypeAlias = Literal["wilson", "cluster_bootstrap"]
PairedMethod: TypeAlias = Literal["tango", "cluster_bootstrap"]

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


class Uncertainty:
    """Intervals of the scores of a model's predictions, by group if groups are known.

    Parameters
    ----------
    labels, predicted : ndarray of int, shape (N,)
        True and predicted class indices.
    accepted : ndarray of bool, shape (N,)
        Predictions that were accepted rather than sent for review.
    n_classes : int
        The number of classes.
    groups : ndarray of int, shape (N,), optional
        Number of each image's field or patient. None, or a different group for every image, means
        independent images.
    seed : int
        Seed of the bootstrap.

    Attributes
    ----------
    method : {"wilson", "cluster_bootstrap"}
        ``wilson``: score intervals only. Macro-F1 is not a mean of independent proportions (an
        error lowers the F1 of two classes); it gets the hull with a bootstrap over images.
        ``cluster_bootstrap``: the hull of score interval and cluster bootstrap for every score.
    n_groups : int or None
        Number of groups; None if unknown.
    """

    def __init__(
        self,
        labels: Ints,
        predicted: Ints,
        accepted: Bools,
        n_classes: int,
        groups: Ints | None = None,
        seed: int = 0,
    ) -> None:
        self.seed = seed
        self.confusion = scores.confusion_matrix(labels, predicted, n_classes)
        self.accepted = int(accepted.sum())
        self.accepted_correct = int((accepted & (labels == predicted)).sum())
        ids = known_groups(groups, len(labels))
        self.n_groups = None if ids is None else int(ids.max()) + 1
        self.method: IntervalMethod = "wilson" if ids is None else "cluster_bootstrap"
        cells = n_classes**2
        if ids is None:
            samples = bootstrap_counts(np.eye(cells), self.confusion.ravel(), seed=seed)
        else:
            counts = _counts_per_group(labels, predicted, accepted, n_classes, ids)
            samples = bootstrap_counts(counts, seed=seed)
        self._confusions = samples[:, :cells].reshape(-1, n_classes, n_classes)
        self._accepted = samples[:, cells:]

    def accuracy(self) -> Interval | None:
        """Return the interval of the accuracy."""
        correct, n = int(np.trace(self.confusion)), int(self.confusion.sum())
        return self._hull(wilson(correct, n), scores.accuracy(self._confusions))

    def balanced_accuracy(self) -> Interval | None:
        """Return the interval of the mean recall of the classes present."""
        edges = [wilson(k, n) for k, n in self._recall_counts()]
        score = _mean(scores.recall(self.confusion), edges)
        return self._hull(score, scores.balanced_accuracy(self._confusions))

    def macro_f1(self) -> Interval | None:
        """Return the interval of the mean F1 of the classes present or predicted."""
        edges = [f1_interval(k, wrong) for k, wrong in self._f1_counts()]
        score = _mean(scores.f1(self.confusion), edges)
        return hull(score, percentile_interval(scores.macro_f1(self._confusions)))

    def recall(self, index: int) -> Interval | None:
        """Return the interval of the recall of a class."""
        score = wilson(*self._recall_counts()[index])
        return self._hull(score, scores.recall(self._confusions)[:, index])

    def precision(self, index: int) -> Interval | None:
        """Return the interval of the precision of a class."""
        correct, predicted = int(self.confusion[index, index]), int(self.confusion[:, index].sum())
        return self._hull(wilson(correct, predicted), scores.precision(self._confusions)[:, index])

    def f1(self, index: int) -> Interval | None:
        """Return the interval of the F1 of a class."""
        score = f1_interval(*self._f1_counts()[index])
        return self._hull(score, scores.f1(self._confusions)[:, index])

    def review_rate(self) -> Interval | None:
        """Return the interval of the fraction of images sent for review."""
        n = int(self.confusion.sum())
        sampled = self._accepted[:, :1].sum(axis=1) / self._confusions.sum(axis=(1, 2))
        return self._hull(wilson(n - self.accepted, n), 1.0 - sampled)

    def accuracy_accepted(self) -> Interval | None:
        """Return the interval of the accuracy of the accepted predictions."""
        accepted, correct = self._accepted[:, :1].sum(1), self._accepted[:, 1:].sum(1)
        sampled = np.divide(
            correct, accepted, out=np.full(len(correct), np.nan), where=accepted > 0
        )
        return self._hull(wilson(self.accepted_correct, self.accepted), sampled)

    def _hull(self, score: Interval | None, sampled: Floats) -> Interval | None:
        if self.method == "wilson" or score is None:
            return score
        return hull(score, percentile_interval(sampled))

    def _recall_counts(self) -> list[tuple[int, int]]:
        counts = self.confusion
        return list(zip(np.diagonal(counts).tolist(), counts.sum(axis=1).tolist(), strict=True))

    def _f1_counts(self) -> list[tuple[int, int]]:
        correct = np.diagonal(self.confusion)
        wrong = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - 2 * correct
        return list(zip(correct.tolist(), wrong.tolist(), strict=True))


@dataclass(frozen=True)
class Difference:
    """The second model's score minus the first's, in [-1, 1] for fractions, and its 95% interval.

    Either is None if it is undefined or cannot be estimated from these images.
    """

    value: float | None
    interval: Interval | None


class PairedScores:
    """Differences between the scores of two models on the same images.

    Parameters
    ----------
    labels, n_classes, groups, seed
        As in `Uncertainty`.
    predicted, accepted : ndarray of int and of bool, shape (2, N)
        As in `Uncertainty`, for the first and the second model.

    Attributes
    ----------
    method : {"tango", "cluster_bootstrap"}
        ``tango``: score intervals; ``cluster_bootstrap``: their hull with a bootstrap by group.
        Macro-F1 and the accuracy of accepted predictions are not paired proportions: their
        intervals come from the bootstrap alone, over groups if known, otherwise over images.
    n_groups : int or None
        Number of groups; None if unknown.
    """

    def __init__(
        self,
        labels: Ints,
        predicted: Ints,
        accepted: Bools,
        n_classes: int,
        groups: Ints | None = None,
        seed: int = 0,
    ) -> None:
        self.labels, self.correct, self.accepted = labels, predicted == labels, accepted
        self.seed = seed
        self.confusions = np.stack(
            [scores.confusion_matrix(labels, row, n_classes) for row in predicted]
        )
        ids = known_groups(groups, len(labels))
        self.n_groups = None if ids is None else int(ids.max()) + 1
        self.method: PairedMethod = "tango" if ids is None else "cluster_bootstrap"
        samples = _resample_pairs(labels, predicted, accepted, n_classes, ids, seed)
        cells = n_classes**2
        self._confusions = samples[..., :cells].reshape(2, -1, n_classes, n_classes)
        self._accepted = samples[..., cells:]

    def counts(self, of: Bools | None = None) -> tuple[int, int, int, int]:
        """Count the images that both, only the first, only the second or no model gets right.

        Parameters
        ----------
        of : ndarray of bool, shape (N,), optional
            Count only these images.
        """
        first, second = self.correct if of is None else self.correct[:, of]
        pairs = (first & second, first & ~second, ~first & second, ~first & ~second)
        both, only_first, only_second, neither = (int(pair.sum()) for pair in pairs)
        return both, only_first, only_second, neither

    def accuracy(self) -> Difference:
        """Return the difference in accuracy."""
        return self._proportion(self.correct, scores.accuracy(self._confusions))

    def recall(self, index: int) -> Difference:
        """Return the difference in the recall of a class."""
        of = self.labels == index
        return self._proportion(self.correct[:, of], scores.recall(self._confusions)[..., index])

    def review_rate(self) -> Difference:
        """Return the difference in the fraction of images sent for review."""
        sampled = 1.0 - self._accepted[..., 0] / self._confusions.sum(axis=(-2, -1))
        return self._proportion(~self.accepted, sampled)

    def balanced_accuracy(self) -> Difference:
        """Return the difference in the mean recall of the classes present."""
        present = [self.correct[:, self.labels == i] for i in np.unique(self.labels)]
        values, ends = zip(*map(_paired_proportion, present), strict=True)
        score = mean_interval(values, ends, least=-1.0)
        sampled = _second_minus_first(scores.balanced_accuracy(self._confusions))
        return Difference(float(np.mean(values)), self._hull(score, sampled))

    def macro_f1(self) -> Difference:
        """Return the difference in the mean F1 of the classes present or predicted."""
        value = float(_second_minus_first(scores.macro_f1(self.confusions)))
        sampled = _second_minus_first(scores.macro_f1(self._confusions))
        return Difference(value, bootstrap_interval(sampled))

    def accuracy_accepted(self) -> Difference:
        """Return the difference in the accuracy of the accepted predictions."""
        accepted = self.accepted.sum(axis=1)
        correct = (self.accepted & self.correct).sum(axis=1)
        if not accepted.all():
            return Difference(None, None)
        n, hits = self._accepted[..., 0], self._accepted[..., 1]
        sampled = np.divide(hits, n, out=_nan_like(n), where=n > 0)
        value = float(_second_minus_first(correct / accepted))
        return Difference(value, bootstrap_interval(_second_minus_first(sampled)))

    def _proportion(self, holds: Bools, sampled: Floats) -> Difference:
        if not holds.shape[1]:
            return Difference(None, None)
        value, ends = _paired_proportion(holds)
        return Difference(value, self._hull(ends, _second_minus_first(sampled)))

    def _hull(self, score: Interval | None, sampled: Floats) -> Interval | None:
        return score if self.method == "tango" else hull(score, percentile_interval(sampled))


def _mean(values: Floats, edges: list[Interval | None]) -> Interval | None:
    known = [(v, e) for v, e in zip(values.tolist(), edges, strict=True) if e is not None]
    return mean_interval([v for v, _ in known], [e for _, e in known])


def _paired_proportion(holds: Bools) -> tuple[float, Interval]:
    """Return how much more often `holds` is True for the second model, with Tango's interval."""
    first, second = holds
    n, more, less = len(first), int((~first & second).sum()), int((first & ~second).sum())
    ends = tango(more, less, n)
    assert ends is not None  # n is at least 1
    return (more - less) / n, ends


def _nan_like(values: Floats) -> Floats:
    return np.full(values.shape, np.nan)


def _second_minus_first(pair: Floats) -> Floats:
    return np.asarray(pair[1] - pair[0], np.float64)


def bootstrap_interval(samples: Floats) -> Interval | None:
    """Return the percentile interval, or None if all samples are equal."""
    ends = percentile_interval(samples)
    return ends if ends is not None and np.nanmin(samples) < np.nanmax(samples) else None


def known_groups(groups: Ints | None, n: int) -> Ints | None:
    """Renumber the groups of n images from 0 without gaps; None if every image has its own."""
    if groups is None:
        return None
    present, ids = np.unique(groups, return_inverse=True)
    return ids if len(present) < n else None


def _counts_per_group(
    labels: Ints, predicted: Ints, accepted: Bools, n_classes: int, groups: Ints
) -> Ints:
    """Return per group the flat confusion matrix and the accepted and correct counts: (G, K)."""
    cells, n_groups = n_classes**2, int(groups.max()) + 1
    pairs = groups * cells + labels * n_classes + predicted
    confusion = np.bincount(pairs, minlength=n_groups * cells).reshape(n_groups, cells)
    taken = np.bincount(groups[accepted], minlength=n_groups)
    correct = np.bincount(groups[accepted & (labels == predicted)], minlength=n_groups)
    return np.column_stack([confusion, taken, correct])


def _resample_pairs(
    labels: Ints, predicted: Ints, accepted: Bools, n_classes: int, groups: Ints | None, seed: int
) -> Floats:
    """Resample groups (images if unknown) for both models together: (2, draws, C * C + 2)."""
    copies = None
    if groups is None:
        # Images with the same labels, predictions and decisions share a row.
        rows = np.stack([labels, *predicted, *accepted])
        _, chosen, copies = np.unique(rows, axis=1, return_index=True, return_counts=True)
        labels, predicted, accepted = labels[chosen], predicted[:, chosen], accepted[:, chosen]
        groups = np.arange(len(chosen))
    counts = [
        _counts_per_group(labels, row, taken, n_classes, groups)
        for row, taken in zip(predicted, accepted, strict=True)
    ]
    samples = bootstrap_counts(np.concatenate(counts, axis=1), copies, seed=seed)
    return np.stack(np.split(samples, 2, axis=1))
