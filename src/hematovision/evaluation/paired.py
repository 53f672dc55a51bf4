"""Two models on the same images: how far apart they are, and how sure that is.

Answers to the same image go together, so the differences are what is counted, never two separate
scores: most images both models tell rightly, and only those that one alone tells rightly say
which is better. As in `intervals`, two sources of doubt are kept apart. *How few images?* is
answered by Tango's score interval for the difference of paired proportions; *how alike are the
images of one field or patient?* by a bootstrap that draws whole groups, both models' answers
together. Where groups are known the interval is the hull of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation import scores
from hematovision.evaluation.intervals import (
    Interval,
    bootstrap_counts,
    hull,
    mean_interval,
    percentile_interval,
)
from hematovision.evaluation.proportions import tango
from hematovision.evaluation.uncertainty import counts_per_group, known_groups

__all__ = ["Difference", "PairedMethod", "PairedScores"]

PairedMethod: TypeAlias = Literal["tango", "cluster_bootstrap"]


@dataclass(frozen=True)
class Difference:
    """The second model's score less the first's, in [-1, 1], and its 95 % interval.

    Either is None where it is not defined, or the images say nothing about it.
    """

    value: float | None
    interval: Interval | None


class PairedScores:
    """Differences between the scores of two models' answers to the same images.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        True class indices.
    answers : ndarray of int, shape (2, N)
        Answered class indices of the first and the second model.
    accepted : ndarray of bool, shape (2, N)
        Which answers were accepted rather than sent to review.
    n_classes : int
        The number of classes.
    groups : ndarray of int, shape (N,), optional
        What was seen together, as in `Uncertainty`.
    seed : int
        Seed of the bootstrap.

    Attributes
    ----------
    method : {"tango", "cluster_bootstrap"}
        ``tango``: score intervals; ``cluster_bootstrap``: their hull with a bootstrap by group.
        Macro-F1 and the accuracy of accepted answers are no differences of paired proportions:
        theirs is the bootstrap's alone, over groups or else over images.
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
        self.labels, self.right, self.accepted = labels, answers == labels, accepted
        self.confusions = np.stack(
            [scores.confusion_matrix(labels, row, n_classes) for row in answers]
        )
        ids = known_groups(groups, len(labels))
        self.n_groups = None if ids is None else int(ids.max()) + 1
        self.method: PairedMethod = "tango" if ids is None else "cluster_bootstrap"
        draws = _draw(labels, answers, accepted, n_classes, ids, seed)
        cells = n_classes**2
        self._drawn = draws[..., :cells].reshape(2, -1, n_classes, n_classes)
        self._drawn_accepted = draws[..., cells:]

    def counts(self, of: NDArray[np.bool_] | None = None) -> tuple[int, int, int, int]:
        """Count images that both tell rightly, only the first, only the second, and neither.

        Parameters
        ----------
        of : ndarray of bool, shape (N,), optional
            Count these only.
        """
        first, second = self.right if of is None else self.right[:, of]
        return (
            int((first & second).sum()),
            int((first & ~second).sum()),
            int((~first & second).sum()),
            int((~first & ~second).sum()),
        )

    def accuracy(self) -> Difference:
        """Return the difference of the fractions of right answers."""
        return self._proportion(self.right, scores.accuracy(self._drawn))

    def recall(self, index: int) -> Difference:
        """Return the difference of one class's recalls."""
        of = self.labels == index
        return self._proportion(self.right[:, of], scores.recall(self._drawn)[..., index])

    def review_rate(self) -> Difference:
        """Return the difference of the fractions of images sent to review."""
        drawn = 1.0 - self._drawn_accepted[..., 0] / self._drawn.sum(axis=(-2, -1))
        return self._proportion(~self.accepted, drawn)

    def balanced_accuracy(self) -> Difference:
        """Return the difference of the mean recalls of the classes present."""
        present = [self.right[:, self.labels == i] for i in np.unique(self.labels)]
        values, ends = zip(*map(_score, present), strict=True)
        score = mean_interval(values, ends, least=-1.0)
        drawn = _gap(scores.balanced_accuracy(self._drawn))
        return Difference(float(np.mean(values)), self._hull(score, drawn))

    def macro_f1(self) -> Difference:
        """Return the difference of the mean F1s of the classes present or answered."""
        value = float(_gap(scores.macro_f1(self.confusions)))
        return Difference(value, _drawn_interval(_gap(scores.macro_f1(self._drawn))))

    def accuracy_accepted(self) -> Difference:
        """Return the difference of the fractions of right answers among those accepted."""
        taken, right = self.accepted.sum(axis=1), (self.accepted & self.right).sum(axis=1)
        if not taken.all():
            return Difference(None, None)
        drawn_taken, drawn_right = self._drawn_accepted[..., 0], self._drawn_accepted[..., 1]
        unknown = np.full(drawn_taken.shape, np.nan)  # a draw without accepted answers is left out
        drawn = np.divide(drawn_right, drawn_taken, out=unknown, where=drawn_taken > 0)
        return Difference(float(_gap(right / taken)), _drawn_interval(_gap(drawn)))

    def _proportion(self, holds: NDArray[np.bool_], drawn: NDArray[np.float64]) -> Difference:
        if not holds.shape[1]:
            return Difference(None, None)
        value, ends = _score(holds)
        return Difference(value, self._hull(ends, _gap(drawn)))

    def _hull(self, score: Interval | None, drawn: NDArray[np.float64]) -> Interval | None:
        return score if self.method == "tango" else hull(score, percentile_interval(drawn))


def _score(holds: NDArray[np.bool_]) -> tuple[float, Interval]:
    """Return how much more often something holds for the second model, with Tango's interval."""
    first, second = holds
    n, more, less = len(first), int((~first & second).sum()), int((first & ~second).sum())
    ends = tango(more, less, n)
    assert ends is not None  # n is at least 1
    return (more - less) / n, ends


def _gap(pair: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the second model's row less the first's."""
    return np.asarray(pair[1] - pair[0], np.float64)


def _drawn_interval(draws: NDArray[np.float64]) -> Interval | None:
    """Return the bootstrap's own interval; None where no draw differs from another.

    A bootstrap of images on which the models never differ has no width: that is no knowledge.
    """
    ends = percentile_interval(draws)
    return ends if ends is not None and np.nanmin(draws) < np.nanmax(draws) else None


def _draw(
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    accepted: NDArray[np.bool_],
    n_classes: int,
    groups: NDArray[np.int64] | None,
    seed: int,
) -> NDArray[np.float64]:
    """Draw groups, or else images, both models' answers together: (2, draws, C * C + 2)."""
    copies = None
    if groups is None:
        # Images of the same truth, answers and decisions are interchangeable: one row for all.
        rows = np.stack([labels, *answers, *accepted])
        _, chosen, copies = np.unique(rows, axis=1, return_index=True, return_counts=True)
        labels, answers, accepted = labels[chosen], answers[:, chosen], accepted[:, chosen]
        groups = np.arange(len(chosen))
    counts = [
        counts_per_group(labels, answer, taken, n_classes, groups)
        for answer, taken in zip(answers, accepted, strict=True)
    ]
    draws = bootstrap_counts(np.concatenate(counts, axis=1), copies, seed=seed)
    return np.stack(np.split(draws, 2, axis=1))
