"""Calibration: log loss, calibration error, and risk against coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "BINS", "CoveragePoint", "ReliabilityBin", "expected_calibration_error", "log_loss",
    "reliability", "risk_coverage",
]  # fmt: skip

BINS = 15
"""Equal-width bins of confidence, as in Guo et al. 2017, section 5."""

_CURVE_POINTS = 101
# Models run in float32; smaller probabilities are zero at that precision.
_SMALLEST = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions with a confidence in ``(lower, upper]``; the first bin includes 0.

    `confidence` and `accuracy` are means over the bin, None if it is empty.
    """

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class CoveragePoint:
    """The effect of accepting predictions with a confidence of at least `threshold`.

    `coverage` is the fraction of images accepted, `risk` the error rate among them.
    """

    coverage: float
    risk: float
    threshold: float


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of ``-ln p(true class)``, in nats.

    Labels have shape (N,), probabilities (N, C). These are clipped to ``[1.2e-7, 1]``, float32's
    precision, so that the mean stays finite.
    """
    table = np.asarray(probabilities, np.float64)
    of_truth = table[np.arange(len(table)), np.asarray(labels)]
    return float(-np.log(np.clip(of_truth, _SMALLEST, 1.0)).mean())


def reliability(
    confidence: ArrayLike, correct: ArrayLike, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Return the accuracy of predictions in equal-width bins of confidence over [0, 1].

    Guo et al. 2017, "On Calibration of Modern Neural Networks", ICML, section 2.

    `confidence` (N,) is the probability of the predicted class, `correct` (N,) whether it is right.
    """
    values, hits = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    index = np.clip(np.ceil(values * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    sums = np.bincount(index, values, bins), np.bincount(index, hits, bins)
    return tuple(
        ReliabilityBin(
            lower=b / bins,
            upper=(b + 1) / bins,
            count=int(count),
            confidence=float(sums[0][b] / count) if count else None,
            accuracy=float(sums[1][b] / count) if count else None,
        )
        for b, count in enumerate(counts)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Return the ECE: the mean gap between accuracy and confidence, weighted by the bins' counts.

    Equation 3 of Guo et al. 2017.
    """
    gaps = (
        b.count * abs(b.accuracy - b.confidence)
        for b in bins
        if b.accuracy is not None and b.confidence is not None
    )
    return sum(gaps) / sum(b.count for b in bins)


def risk_coverage(
    confidence: ArrayLike, correct: ArrayLike, points: int = _CURVE_POINTS
) -> tuple[CoveragePoint, ...]:
    """Return the error rate against the fraction of predictions accepted by confidence.

    El-Yaniv & Wiener 2010, "On the Foundations of Noise-free Selective Classification", JMLR 11.

    Parameters
    ----------
    confidence : array_like of float, shape (N,)
    correct : array_like of bool, shape (N,)
    points : int
        Maximum number of points, evenly spaced over the curve.

    Returns
    -------
    tuple of CoveragePoint
        By increasing coverage; the last has coverage 1 and the overall error rate. Predictions of
        equal confidence are accepted together.
    """
    values = np.asarray(confidence, np.float64)
    order = np.argsort(-values, kind="stable")
    values, errors = values[order], np.cumsum(~np.asarray(correct, bool)[order])
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # the last of equal values
    keep = ends[np.unique(np.linspace(0, len(ends) - 1, min(points, len(ends))).astype(np.int64))]
    return tuple(
        CoveragePoint(
            coverage=(end + 1) / len(values),
            risk=float(errors[end] / (end + 1)),
            threshold=float(values[end]),
        )
        for end in keep.tolist()
    )
