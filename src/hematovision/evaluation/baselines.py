"""Classifiers that hardly look, for every accuracy to stand beside.

Blood is mostly red cells, and a white cell is simply larger: always answering ``RBC`` is right for
85 % of the official test crops of BCCD, and two thresholds on the size of the box, without a pixel,
for 96 %. A network that does no better has learnt nothing from the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.evaluation import scores
from hematovision.images import mean_colours

__all__ = [
    "Baseline",
    "ColourRule",
    "SizeRule",
    "TrainingSplit",
    "baselines",
    "box_size",
    "mean_colours",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingSplit:
    """What the baselines learn from: the training images' truth, never their network features.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Class indices.
    boxes : ndarray of float, shape (N, 4), optional
        ``(xmin, ymin, xmax, ymax)`` in pixels of the field; rows of NaN where unknown.
    colours : ndarray of float, shape (N, 3), optional
        Mean red, green and blue of each fitted image, in 0 .. 255; see `mean_colours`.
    """

    labels: NDArray[np.int64]
    boxes: Floats | None = None
    colours: Floats | None = None


@dataclass(frozen=True)
class Baseline:
    """What one trivial classifier reaches.

    Parameters
    ----------
    rule : str
        What it does, in a sentence.
    fitted_on : {"train", "evaluated part"}
        Where the rule was learnt; the evaluated part only where no training part is known.
    n : int
        How many images it was tried on: those with a known box, for the box size.
    accuracy, balanced_accuracy, macro_f1 : float
        As in the metrics of the model.
    """

    rule: str
    fitted_on: str
    n: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float


def box_size(boxes: ArrayLike) -> Floats:
    """Return the side of the square of each box's area, in pixels, shape (N,)."""
    table = np.asarray(boxes, np.float64).reshape(-1, 4)
    sides = table[:, 2:] - table[:, :2]
    area: Floats = np.prod(np.maximum(sides, 0.0), axis=1)
    return np.sqrt(area)


@dataclass(frozen=True)
class SizeRule:
    """Thresholds on one number: each class has one interval of it.

    Parameters
    ----------
    order : tuple of int
        The classes by growing size.
    cuts : tuple of float
        The thresholds between them, one fewer; equal ones leave a class without an interval.
    """

    order: tuple[int, ...]
    cuts: tuple[float, ...]

    @classmethod
    def fit(cls, sizes: Floats, labels: NDArray[np.int64]) -> SizeRule:
        """Find the thresholds with the best balanced accuracy on the training part.

        The classes are put in the order of their median sizes; over all placements of the cuts the
        best is found exactly, by dynamic programming over the sorted sizes.
        """
        present = np.unique(labels)
        medians = [np.median(sizes[labels == c]) for c in present]
        order = present[np.argsort(medians, kind="stable")]
        steps = np.unique(sizes)
        gain = np.zeros((len(steps) + 1, len(order)))  # recall won by steps up to here, per class
        for column, c in enumerate(order):
            here = np.bincount(np.searchsorted(steps, sizes[labels == c]), minlength=len(steps))
            gain[1:, column] = np.cumsum(here) / here.sum()
        edges = np.concatenate([[-np.inf], (steps[1:] + steps[:-1]) / 2, [np.inf]])
        return cls(tuple(map(int, order)), tuple(edges[_best_cuts(gain)].tolist()))

    def predict(self, sizes: Floats) -> NDArray[np.int64]:
        """Return the class index of each size, shape (N,)."""
        return np.array(self.order)[np.searchsorted(self.cuts, sizes, side="right")]


def _best_cuts(gain: Floats) -> list[int]:
    """Return where to pass from each column of `gain` to the next so that the sum is largest."""
    best, choices = gain[:, 0], []
    for column in gain.T[1:]:
        lead = best - column
        highest = np.maximum.accumulate(lead)
        choices.append(np.maximum.accumulate(np.where(lead >= highest, np.arange(len(lead)), 0)))
        best = column + highest
    cuts, end = [], len(gain) - 1
    for choice in reversed(choices):
        end = int(choice[end])
        cuts.append(end)
    return cuts[::-1]


@dataclass(frozen=True)
class ColourRule:
    """One normal distribution of the mean colour per class; the likeliest class is the answer.

    Quadratic discriminant analysis with equal priors (Hastie, Tibshirani & Friedman 2009, "The
    Elements of Statistical Learning", section 4.3), its covariances drawn towards their mean for
    classes with few images (Friedman 1989, "Regularized Discriminant Analysis", JASA 84).

    Parameters
    ----------
    present : ndarray of int, shape (K,)
        The classes that the training part has.
    means : ndarray, shape (K, 3)
    covariances : ndarray, shape (K, 3, 3)
    """

    present: NDArray[np.int64]
    means: Floats
    covariances: Floats

    @classmethod
    def fit(cls, colours: Floats, labels: NDArray[np.int64]) -> ColourRule:
        """Estimate mean and covariance of each class."""
        present = np.unique(labels)
        members = [colours[labels == c] for c in present]
        own = np.stack([np.cov(m, rowvar=False, bias=True) for m in members])
        pooled = own.mean(axis=0)
        # As if each class had four more images (one a dimension, and one) that vary as all do; the
        # unit on the diagonal is one grey level, the step of the pixels themselves.
        share = np.array([4 / (len(m) + 4) for m in members])[:, None, None]
        shrunk = (1 - share) * own + share * pooled + np.eye(3)
        return cls(present, np.stack([m.mean(axis=0) for m in members]), shrunk)

    def predict(self, colours: Floats) -> NDArray[np.int64]:
        """Return the class index of each colour, shape (N,)."""
        apart = colours[:, None, :] - self.means
        precisions = np.linalg.inv(self.covariances)
        distance = np.einsum("nki,kij,nkj->nk", apart, precisions, apart)
        logdet = np.linalg.slogdet(self.covariances).logabsdet
        answers: NDArray[np.int64] = self.present[np.argmin(distance + logdet, axis=1)]
        return answers


def baselines(
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    train: TrainingSplit | None = None,
    boxes: Floats | None = None,
    colours: Floats | None = None,
) -> dict[str, Baseline | None]:
    """Learn the trivial rules on the training part and try them on the evaluated one.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        The evaluated part's classes.
    n_classes : int
    train : TrainingSplit, optional
        Without it only the most frequent class is known, from the evaluated part itself.
    boxes : ndarray, shape (N, 4), optional
        As in `TrainingSplit`; images without a box are left out of that baseline.
    colours : ndarray, shape (N, 3), optional
        As in `TrainingSplit`.

    Returns
    -------
    dict of str to Baseline or None
        None where a baseline's data are not known on both sides.
    """
    found: dict[str, Baseline | None] = {
        "most_frequent_class": _most_frequent(labels, n_classes, train),
        "box_size": None,
        "mean_colour": None,
    }
    if train is not None:
        found["box_size"] = _try_size(labels, n_classes, train, boxes)
        found["mean_colour"] = _try_colour(labels, n_classes, train, colours)
    return found


def _most_frequent(
    labels: NDArray[np.int64], n_classes: int, train: TrainingSplit | None
) -> Baseline:
    if train is None:
        source, part = labels, "evaluated part"
        rule = "always the most frequent class, which the evaluated part itself tells"
    else:
        source, part = train.labels, "train"
        rule = "always the most frequent class of the training part"
    answer = int(np.bincount(source, minlength=n_classes).argmax())
    return _score(rule, part, labels, np.full_like(labels, answer), n_classes)


def _try_size(
    labels: NDArray[np.int64], n_classes: int, train: TrainingSplit, boxes: Floats | None
) -> Baseline | None:
    if boxes is None or train.boxes is None:
        return None
    learnt, tried = box_size(train.boxes), box_size(boxes)
    known, seen = np.isfinite(learnt), np.isfinite(tried)
    if not known.any() or not seen.any():
        return None
    rule = SizeRule.fit(learnt[known], train.labels[known])
    words = "thresholds on the size of the cell's box, without looking at a pixel"
    return _score(words, "train", labels[seen], rule.predict(tried[seen]), n_classes)


def _try_colour(
    labels: NDArray[np.int64], n_classes: int, train: TrainingSplit, colours: Floats | None
) -> Baseline | None:
    if colours is None or train.colours is None:
        return None
    rule = ColourRule.fit(train.colours, train.labels)
    words = "the likeliest class for the image's mean colour"
    return _score(words, "train", labels, rule.predict(colours), n_classes)


def _score(
    rule: str,
    fitted_on: str,
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    n_classes: int,
) -> Baseline:
    confusion = scores.confusion_matrix(labels, answers, n_classes)
    return Baseline(
        rule=rule,
        fitted_on=fitted_on,
        n=len(labels),
        accuracy=float(scores.accuracy(confusion)),
        balanced_accuracy=float(scores.balanced_accuracy(confusion)),
        macro_f1=float(scores.macro_f1(confusion)),
    )
