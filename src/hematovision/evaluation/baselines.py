"""Baselines: trivial classifiers to compare every accuracy with.

Most blood cells are red cells, and white cells are larger. On BCCD's official test crops, always
predicting ``RBC`` is correct for 85%, and two thresholds on the box size alone for 96%.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.evaluation import scores
from hematovision.images import mean_colours

__all__ = [
    "Baseline", "ColourRule", "SizeRule", "TrainingSplit", "baselines", "box_size", "mean_colours",
]  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingSplit:
    """The data that baselines are fitted to."""

    labels: NDArray[np.int64]  # shape (N,): class indices
    # shape (N, 4): ``(xmin, ymin, xmax, ymax)`` in pixels of the field; rows of NaN if unknown
    boxes: Floats | None = None
    # shape (N, 3): mean red, green and blue of each image, 0 to 255; see `mean_colours`
    colours: Floats | None = None


@dataclass(frozen=True)
class Baseline:
    """The scores of a trivial classifier."""

    rule: str  # its rule, in words
    fitted_on: str  # the evaluated split if the training split is unknown
    n: int  # number of evaluated images; for the box size, those with a known box
    # as in the model's metrics
    accuracy: float
    balanced_accuracy: float
    macro_f1: float


def box_size(boxes: ArrayLike) -> Floats:
    """Return the square root of each box's area, in pixels, shape (N,)."""
    table = np.asarray(boxes, np.float64).reshape(-1, 4)
    sides = table[:, 2:] - table[:, :2]
    area: Floats = np.prod(np.maximum(sides, 0.0), axis=1)
    return np.sqrt(area)


@dataclass(frozen=True)
class SizeRule:
    """Thresholds on the size: each class has one interval."""

    order: tuple[int, ...]  # the classes by increasing size
    # the thresholds between them; equal thresholds leave a class without an interval
    cuts: tuple[float, ...]

    @classmethod
    def fit(cls, sizes: Floats, labels: NDArray[np.int64]) -> SizeRule:
        """Find the thresholds with the best balanced accuracy on the training split.

        Classes are sorted by median size. Dynamic programming over the sorted sizes finds the
        optimal thresholds.
        """
        present = np.unique(labels)
        medians = [np.median(sizes[labels == c]) for c in present]
        order = present[np.argsort(medians, kind="stable")]
        steps = np.unique(sizes)
        gain = np.zeros((len(steps) + 1, len(order)))  # recall of sizes up to here, per class
        for column, c in enumerate(order):
            here = np.bincount(np.searchsorted(steps, sizes[labels == c]), minlength=len(steps))
            gain[1:, column] = np.cumsum(here) / here.sum()
        edges = np.concatenate([[-np.inf], (steps[1:] + steps[:-1]) / 2, [np.inf]])
        return cls(tuple(map(int, order)), tuple(edges[_best_cuts(gain)].tolist()))

    def predict(self, sizes: Floats) -> NDArray[np.int64]:
        """Return the class index of each size, shape (N,)."""
        return np.array(self.order)[np.searchsorted(self.cuts, sizes, side="right")]


def _best_cuts(gain: Floats) -> list[int]:
    """Return the rows at which to move to the next column of `gain` for the largest sum."""
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
    """A normal distribution of the mean colour for each class; predicts the most likely class.

    Quadratic discriminant analysis with equal priors (Hastie, Tibshirani & Friedman 2009, "The
    Elements of Statistical Learning", section 4.3); covariances of classes with few images are
    shrunk towards their mean (Friedman 1989, "Regularized Discriminant Analysis", JASA 84).
    """

    present: NDArray[np.int64]  # shape (K,): the classes in the training split
    means: Floats  # shape (K, 3)
    covariances: Floats  # shape (K, 3, 3)

    @classmethod
    def fit(cls, colours: Floats, labels: NDArray[np.int64]) -> ColourRule:
        """Estimate mean and covariance of each class."""
        present = np.unique(labels)
        members = [colours[labels == c] for c in present]
        own = np.stack([np.cov(m, rowvar=False, bias=True) for m in members])
        pooled = own.mean(axis=0)
        # Weight the pooled covariance like four images per class; 1 on the diagonal is the
        # variance of one grey level.
        share = np.array([4 / (len(m) + 4) for m in members])[:, None, None]
        shrunk = (1 - share) * own + share * pooled + np.eye(3)
        return cls(present, np.stack([m.mean(axis=0) for m in members]), shrunk)

    def predict(self, colours: Floats) -> NDArray[np.int64]:
        """Return the class index of each colour, shape (N,)."""
        apart = colours[:, None, :] - self.means
        precisions = np.linalg.inv(self.covariances)
        distance = np.einsum("nki,kij,nkj->nk", apart, precisions, apart)
        logdet = np.linalg.slogdet(self.covariances).logabsdet
        predicted: NDArray[np.int64] = self.present[np.argmin(distance + logdet, axis=1)]
        return predicted


def baselines(
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    train: TrainingSplit | None = None,
    boxes: Floats | None = None,
    colours: Floats | None = None,
) -> dict[str, Baseline | None]:
    """Fit the baselines to the training split and score them on the evaluated one.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        True class indices of the evaluated split.
    train : TrainingSplit, optional
        Without it, only the most frequent class of the evaluated split is scored.
    boxes : ndarray, shape (N, 4), optional
        As in `TrainingSplit`; the box-size baseline omits images without a box.
    colours : ndarray, shape (N, 3), optional
        As in `TrainingSplit`.

    Returns
    -------
    dict of str to Baseline or None
        None if a baseline's data are missing in either split.
    """
    found: dict[str, Baseline | None] = {
        "most_frequent_class": _most_frequent(labels, n_classes, train),
        "box_size": None,
        "mean_colour": None,
    }
    if train is not None:
        found["box_size"] = _box_size(labels, n_classes, train, boxes)
        found["mean_colour"] = _mean_colour(labels, n_classes, train, colours)
    return found


def _most_frequent(
    labels: NDArray[np.int64], n_classes: int, train: TrainingSplit | None
) -> Baseline:
    source, split = (labels, "evaluated split") if train is None else (train.labels, "train")
    rule = f"always the most frequent class of the {'training' if train else 'evaluated'} split"
    index = int(np.bincount(source, minlength=n_classes).argmax())
    return _score(rule, split, labels, np.full_like(labels, index), n_classes)


def _box_size(
    labels: NDArray[np.int64], n_classes: int, train: TrainingSplit, boxes: Floats | None
) -> Baseline | None:
    if boxes is None or train.boxes is None:
        return None
    fitted, evaluated = box_size(train.boxes), box_size(boxes)
    known, shown = np.isfinite(fitted), np.isfinite(evaluated)
    if not known.any() or not shown.any():
        return None
    rule = SizeRule.fit(fitted[known], train.labels[known])
    words = "thresholds on the size of the cell's box, ignoring the pixels"
    return _score(words, "train", labels[shown], rule.predict(evaluated[shown]), n_classes)


def _mean_colour(
    labels: NDArray[np.int64], n_classes: int, train: TrainingSplit, colours: Floats | None
) -> Baseline | None:
    if colours is None or train.colours is None:
        return None
    rule = ColourRule.fit(train.colours, train.labels)
    words = "the most likely class for the image's mean colour"
    return _score(words, "train", labels, rule.predict(colours), n_classes)


def _score(
    rule: str,
    fitted_on: str,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    n_classes: int,
) -> Baseline:
    confusion = scores.confusion_matrix(labels, predicted, n_classes)
    functions = (scores.accuracy, scores.balanced_accuracy, scores.macro_f1)
    return Baseline(rule, fitted_on, len(labels), *(float(f(confusion)) for f in functions))
