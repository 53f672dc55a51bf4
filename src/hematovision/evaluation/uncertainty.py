"""The interval of each score of one set of answers; `intervals` has the methods and why."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation import scores
from hematovision.evaluation.intervals import (
    Interval,
    bootstrap_counts,
    f1_interval,
    hull,
    mean_interval,
    percentile_interval,
    wilson,
)

__all__ = ["IntervalMethod", "Uncertainty", "counts_per_group", "known_groups"]

IntervalMethod: TypeAlias = Literal["wilson", "cluster_bootstrap"]


class Uncertainty:
    """Intervals for the scores of answers, by group where groups are known.

    Parameters
    ----------
    labels, answers : ndarray of int, shape (N,)
        True and answered class indices.
    accepted : ndarray of bool, shape (N,)
        Which answers were accepted rather than sent to review.
    n_classes : int
        The number of classes.
    groups : ndarray of int, shape (N,), optional
        What was seen together: fields, patients, numbered. None, or a group for
        every image, means that the images count as independent.
    seed : int
        Seed of the bootstrap.

    Attributes
    ----------
    method : {"wilson", "cluster_bootstrap"}
        ``wilson``: score intervals only; for macro-F1, which is no mean of independent proportions
        (one error lowers the F1 of two classes), their hull with a bootstrap over images.
        ``cluster_bootstrap``: for every score the hull of score interval and cluster bootstrap.
    n_groups : int or None
        The number of groups, where known.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        answers: NDArray[np.int64],
        accepted: NDArray[np.bool_],
        n_classes: int,
        groups: NDArray[np.int64] | None = None,
        seed: int = 0,
    ) -> None:
        self.confusion = scores.confusion_matrix(labels, answers, n_classes)
        self.accepted = int(accepted.sum())
        self.accepted_right = int((accepted & (labels == answers)).sum())
        ids = known_groups(groups, len(labels))
        self.n_groups = None if ids is None else int(ids.max()) + 1
        self.method: IntervalMethod = "wilson" if ids is None else "cluster_bootstrap"
        cells = n_classes**2
        if ids is None:
            draws = bootstrap_counts(np.eye(cells), self.confusion.ravel(), seed=seed)
        else:
            counts = counts_per_group(labels, answers, accepted, n_classes, ids)
            draws = bootstrap_counts(counts, seed=seed)
        self._drawn = draws[:, :cells].reshape(-1, n_classes, n_classes)
        self._drawn_accepted = draws[:, cells:]

    def accuracy(self) -> Interval | None:
        """Return the interval of the fraction of right answers."""
        right, n = int(np.trace(self.confusion)), int(self.confusion.sum())
        return self._hull(wilson(right, n), scores.accuracy(self._drawn))

    def balanced_accuracy(self) -> Interval | None:
        """Return the interval of the mean recall of the classes present."""
        edges = [wilson(k, n) for k, n in self._recall_counts()]
        score = _mean(scores.recall(self.confusion), edges)
        return self._hull(score, scores.balanced_accuracy(self._drawn))

    def macro_f1(self) -> Interval | None:
        """Return the interval of the mean F1 of the classes present or answered."""
        edges = [f1_interval(k, wrong) for k, wrong in self._f1_counts()]
        score = _mean(scores.f1(self.confusion), edges)
        return hull(score, percentile_interval(scores.macro_f1(self._drawn)))

    def recall(self, index: int) -> Interval | None:
        """Return the interval of one class's recall."""
        return self._hull(
            wilson(*self._recall_counts()[index]), scores.recall(self._drawn)[:, index]
        )

    def precision(self, index: int) -> Interval | None:
        """Return the interval of one class's precision."""
        right, answered = int(self.confusion[index, index]), int(self.confusion[:, index].sum())
        return self._hull(wilson(right, answered), scores.precision(self._drawn)[:, index])

    def f1(self, index: int) -> Interval | None:
        """Return the interval of one class's F1."""
        return self._hull(f1_interval(*self._f1_counts()[index]), scores.f1(self._drawn)[:, index])

    def review_rate(self) -> Interval | None:
        """Return the interval of the fraction of images sent to review."""
        n = int(self.confusion.sum())
        drawn = self._drawn_accepted[:, :1].sum(axis=1) / self._drawn.sum(axis=(1, 2))
        return self._hull(wilson(n - self.accepted, n), 1.0 - drawn)

    def accuracy_accepted(self) -> Interval | None:
        """Return the interval of the fraction of right answers among those accepted."""
        accepted, right = self._drawn_accepted[:, :1].sum(1), self._drawn_accepted[:, 1:].sum(1)
        drawn = np.divide(right, accepted, out=np.full(len(right), np.nan), where=accepted > 0)
        return self._hull(wilson(self.accepted_right, self.accepted), drawn)

    def _hull(self, score: Interval | None, drawn: NDArray[np.float64]) -> Interval | None:
        if self.method == "wilson" or score is None:
            return score
        return hull(score, percentile_interval(drawn))

    def _recall_counts(self) -> list[tuple[int, int]]:
        counts = self.confusion
        return list(zip(np.diagonal(counts).tolist(), counts.sum(axis=1).tolist(), strict=True))

    def _f1_counts(self) -> list[tuple[int, int]]:
        right = np.diagonal(self.confusion)
        wrong = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - 2 * right
        return list(zip(right.tolist(), wrong.tolist(), strict=True))


def _mean(values: NDArray[np.float64], edges: list[Interval | None]) -> Interval | None:
    known = [(v, e) for v, e in zip(values.tolist(), edges, strict=True) if e is not None]
    return mean_interval([v for v, _ in known], [e for _, e in known])


def known_groups(groups: NDArray[np.int64] | None, n: int) -> NDArray[np.int64] | None:
    """Return the groups of n images, numbered from 0 without gaps; None if each has its own."""
    if groups is None:
        return None
    present, ids = np.unique(groups, return_inverse=True)
    return ids if len(present) < n else None


def counts_per_group(
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    accepted: NDArray[np.bool_],
    n_classes: int,
    groups: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return each group's confusion matrix, flat, its accepted images and those right: (G, K)."""
    cells, n_groups = n_classes**2, int(groups.max()) + 1
    pairs = groups * cells + labels * n_classes + answers
    confusion = np.bincount(pairs, minlength=n_groups * cells).reshape(n_groups, cells)
    taken = np.bincount(groups[accepted], minlength=n_groups)
    right = np.bincount(groups[accepted & (labels == answers)], minlength=n_groups)
    return np.column_stack([confusion, taken, right])
