"""Scores of a classifier, each a function of its confusion matrix.

Every function takes counts of shape (..., C, C), rows the true class and columns the answer, and
works on all leading axes at once: a bootstrap of two thousand matrices is one call. What cannot be
computed (the recall of a class without samples) is NaN here and null in ``metrics.json``. The
definitions are those of scikit-learn with ``zero_division=nan``; importing it would cost two
seconds of every run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "confusion_matrix",
    "f1",
    "macro_f1",
    "mean_defined",
    "precision",
    "recall",
]

Floats = NDArray[np.float64]


def confusion_matrix(labels: ArrayLike, answers: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count how often each true class got each answer.

    Parameters
    ----------
    labels, answers : array_like of int, shape (N,)
        True and answered class indices, each in ``0 .. n_classes - 1``.
    n_classes : int
        The number of classes C.

    Returns
    -------
    ndarray of int64, shape (C, C)
        Rows are true classes, columns answers.
    """
    pairs = np.asarray(labels, np.int64) * n_classes + np.asarray(answers, np.int64)
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))


def accuracy(confusion: ArrayLike) -> Floats:
    """Return the fraction of right answers, shape (...)."""
    counts = np.asarray(confusion)
    return _ratio(_right(counts).sum(-1), counts.sum((-2, -1)))


def recall(confusion: ArrayLike) -> Floats:
    """Return, per class, the fraction of its samples that were found, shape (..., C)."""
    counts = np.asarray(confusion)
    return _ratio(_right(counts), counts.sum(-1))


def precision(confusion: ArrayLike) -> Floats:
    """Return, per class, the fraction of its answers that were right, shape (..., C)."""
    counts = np.asarray(confusion)
    return _ratio(_right(counts), counts.sum(-2))


def f1(confusion: ArrayLike) -> Floats:
    """Return, per class, ``2 TP / (2 TP + FP + FN)``, shape (..., C).

    The harmonic mean of precision and recall (van Rijsbergen 1979, Information Retrieval, ch. 7),
    written so that it is 0, not undefined, for a class that is present and never answered.
    """
    counts = np.asarray(confusion)
    return _ratio(2 * _right(counts), counts.sum(-1) + counts.sum(-2))


def balanced_accuracy(confusion: ArrayLike) -> Floats:
    """Return the mean recall of the classes that are present, shape (...).

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", ICPR.
    """
    return mean_defined(recall(confusion))


def macro_f1(confusion: ArrayLike) -> Floats:
    """Return the mean F1 of the classes that are present or were answered, shape (...)."""
    return mean_defined(f1(confusion))


def _right(counts: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(part: ArrayLike, whole: ArrayLike) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    undefined = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    ratio: Floats = np.divide(part, whole, out=undefined, where=whole > 0)
    return ratio
