"""Scores of a classifier as functions of its confusion matrix.

Confusion matrices have shape (..., C, C), with true classes in rows and predicted classes in
columns; functions work on all leading axes. Undefined scores (such as the recall of a class without
samples) are NaN here and null in ``metrics.json``. Definitions follow scikit-learn with
``zero_division=nan``, without its import time of two seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "accuracy", "balanced_accuracy", "confusion_matrix", "f1", "macro_f1", "mean_defined",
    "precision", "recall",
]  # fmt: skip

Floats = NDArray[np.float64]


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count the predictions of each true class.

    Labels and predictions (N,) are in ``0 .. n_classes - 1``. In the result (C, C), rows are true
    classes and columns predicted ones.
    """
    pairs = np.asarray(labels, np.int64) * n_classes + np.asarray(predicted, np.int64)
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the last axis, ignoring NaN; NaN if all values are NaN."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))


def accuracy(confusion: ArrayLike) -> Floats:
    """Return the fraction of correct predictions, shape (...)."""
    counts = np.asarray(confusion)
    return _ratio(_correct(counts).sum(-1), counts.sum((-2, -1)))


def recall(confusion: ArrayLike) -> Floats:
    """Return the recall of each class, shape (..., C)."""
    counts = np.asarray(confusion)
    return _ratio(_correct(counts), counts.sum(-1))


def precision(confusion: ArrayLike) -> Floats:
    """Return the precision of each class, shape (..., C)."""
    counts = np.asarray(confusion)
    return _ratio(_correct(counts), counts.sum(-2))


def f1(confusion: ArrayLike) -> Floats:
    """Return ``2 TP / (2 TP + FP + FN)`` of each class, shape (..., C).

    The harmonic mean of precision and recall (van Rijsbergen 1979, Information Retrieval, ch. 7).
    This form is 0 for a class that is present but never predicted.
    """
    counts = np.asarray(confusion)
    return _ratio(2 * _correct(counts), counts.sum(-1) + counts.sum(-2))


def balanced_accuracy(confusion: ArrayLike) -> Floats:
    """Return the mean recall of the classes present, shape (...).

    Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", ICPR.
    """
    return mean_defined(recall(confusion))


def macro_f1(confusion: ArrayLike) -> Floats:
    """Return the mean F1 of the classes present or predicted, shape (...)."""
    return mean_defined(f1(confusion))


def _correct(counts: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(counts: ArrayLike, of: ArrayLike) -> Floats:
    counts, of = np.asarray(counts, np.float64), np.asarray(of, np.float64)
    undefined = np.full(np.broadcast_shapes(counts.shape, of.shape), np.nan)
    ratio: Floats = np.divide(counts, of, out=undefined, where=of > 0)
    return ratio
