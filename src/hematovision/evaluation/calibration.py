"""How far confidence can be believed: log loss, calibration error, risk against coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BINS",
    "CoveragePoint",
    "ReliabilityBin",
    "expected_calibration_error",
    "log_loss",
    "reliability",
    "risk_coverage",
]

BINS = 15
"""Equal-width bins of confidence, as in Guo et al. 2017, section 5."""

CURVE_POINTS = 101
# The model's files answer in float32; a smaller probability is that precision's zero.
SMALLEST = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers whose confidence lies in ``(lower, upper]``; the first bin includes 0.

    `confidence` and `accuracy` are means over the bin, None where it is empty.
    """

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class CoveragePoint:
    """Answering only at a confidence of `threshold` or more leaves `coverage` and errs at `risk`.

    Both are fractions: of all images, and of those answered.
    """

    coverage: float
    risk: float
    threshold: float


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of ``-ln p(true class)``, in nats.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
    probabilities : array_like of float, shape (N, C)
        Clipped to ``[1.2e-7, 1]``, float32's precision, so that one certain error does not make
        the mean infinite.
    """
    table = np.asarray(probabilities, np.float64)
    of_truth = table[np.arange(len(table)), np.asarray(labels)]
    return float(-np.log(np.clip(of_truth, SMALLEST, 1.0)).mean())


def reliability(
    confidence: ArrayLike, right: ArrayLike, bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Sort answers into equal-width bins of confidence and tell how often each bin is right.

    Parameters
    ----------
    confidence : array_like of float, shape (N,)
        The probability of the answered class.
    right : array_like of bool, shape (N,)
        Whether the answer is right.
    bins : int
        The number of bins over [0, 1].

    Notes
    -----
    Guo et al. 2017, "On Calibration of Modern Neural Networks", ICML, section 2.
    """
    values, hits = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
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
    """Return the mean distance of accuracy and confidence over bins, weighted by their counts.

    Guo et al. 2017, equation 3; the name there is ECE.
    """
    gaps = (
        b.count * abs(b.accuracy - b.confidence)
        for b in bins
        if b.accuracy is not None and b.confidence is not None
    )
    return sum(gaps) / sum(b.count for b in bins)


def risk_coverage(
    confidence: ArrayLike, right: ArrayLike, points: int = CURVE_POINTS
) -> tuple[CoveragePoint, ...]:
    """Tell how the error rate falls as the least confident answers are left to a person.

    Parameters
    ----------
    confidence : array_like of float, shape (N,)
    right : array_like of bool, shape (N,)
    points : int
        At most so many points are returned, evenly spaced over those there are.

    Returns
    -------
    tuple of CoveragePoint
        By growing coverage; the last has coverage 1 and the overall error rate. Answers of equal
        confidence are accepted together.

    Notes
    -----
    El-Yaniv & Wiener 2010, "On the Foundations of Noise-free Selective Classification", JMLR 11.
    """
    values = np.asarray(confidence, np.float64)
    wrong = ~np.asarray(right, bool)
    order = np.argsort(-values, kind="stable")
    values, errors = values[order], np.cumsum(wrong[order])
    ends = _last_of_each(values)
    keep = ends[np.unique(np.linspace(0, len(ends) - 1, min(points, len(ends))).astype(np.int64))]
    return tuple(
        CoveragePoint(
            coverage=(end + 1) / len(values),
            risk=float(errors[end] / (end + 1)),
            threshold=float(values[end]),
        )
        for end in keep.tolist()
    )


def _last_of_each(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the position of the last of each run of equal values."""
    return np.flatnonzero(np.append(values[1:] != values[:-1], True))
