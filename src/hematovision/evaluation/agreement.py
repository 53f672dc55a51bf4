"""Agreement of two methods that measure the same patients: regression, correlation, bias, kappa.

Every function takes the values of the reference method `x` and of the compared method `y`, float
(P,), one per patient and in the same unit. A result that is not defined, such as a slope where the
reference does not vary, is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.intervals import LEVEL

__all__ = [
    "Limits", "Line", "bland_altman", "counting_limit", "deming", "kappa", "passing_bablok",
    "pearson", "spearman",
]  # fmt: skip

Floats: TypeAlias = NDArray[np.float64]

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True)
class Line:
    """A regression line ``y = intercept + slope x``; the intercept has the unit of y."""

    slope: float
    intercept: float


@dataclass(frozen=True)
class Limits:
    """Mean difference ``y - x`` and its 95% limits of agreement, in the unit of the values."""

    bias: float
    lower: float
    upper: float


def pearson(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Pearson's correlation; None if either method does not vary.

    Examples
    --------
    >>> round(pearson([1, 2, 3], [1, 3, 2]), 6)
    0.5
    """
    a, b = _centred(x, y)
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(np.clip(a @ b / spread, -1.0, 1.0)) if spread > 0 else None


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Spearman's rank correlation, with mean ranks for ties; None if undefined.

    Spearman 1904, "The proof and measurement of association between two things", American Journal
    of Psychology 15:72-101.
    """
    a, b = _pair(x, y)
    return pearson(_ranks(a), _ranks(b))


def deming(x: ArrayLike, y: ArrayLike, error_ratio: float = 1.0) -> Line | None:
    """Fit a line when both methods have errors; None if the methods do not vary together.

    Deming 1943, "Statistical Adjustment of Data", Wiley; Linnet 1993, "Evaluation of regression
    procedures for methods comparison studies", Clinical Chemistry 39:424-432. With an `error_ratio`
    of 1 it is the orthogonal regression, the kind that CLSI H20-A2 uses for differentials.

    Parameters
    ----------
    x, y : array_like of float, shape (P,)
        The values of the reference and of the compared method.
    error_ratio : float
        Variance of the errors of `y` divided by that of the errors of `x`.

    Examples
    --------
    >>> deming([0, 1, 2], [1, 3, 5])
    Line(slope=2.0, intercept=1.0)
    """
    if error_ratio <= 0:
        raise ValueError(f"`error_ratio` must be above 0. Received: {error_ratio}")
    values, compared = _pair(x, y)
    a, b = _centred(values, compared)
    covariance = float(a @ b)
    if covariance == 0:
        return None
    excess = float(b @ b) - error_ratio * float(a @ a)
    root = math.sqrt(excess**2 + 4 * error_ratio * covariance**2)
    slope = (excess + root) / (2 * covariance)
    return Line(slope, float(compared.mean()) - slope * float(values.mean()))


def passing_bablok(x: ArrayLike, y: ArrayLike) -> Line | None:
    """Fit the robust line of Passing and Bablok; None if it is undefined.

    Passing & Bablok 1983, "A new biometrical procedure for testing the equality of measurements
    from two different analytical methods", J. Clin. Chem. Clin. Biochem. 21:709-720. The slope is
    the median of the slopes between all pairs of patients, shifted by the number of slopes below
    -1; pairs of equal patients and slopes of exactly -1 don't count. The intercept is the median of
    ``y - slope x``. The method is for values that increase together.

    Examples
    --------
    >>> passing_bablok([0, 1, 2], [1, 3, 5])
    Line(slope=2.0, intercept=1.0)
    """
    a, b = _pair(x, y)
    slopes = _pair_slopes(a, b)
    below = int((slopes < -1).sum())
    last = len(slopes) - 1
    low, high = last // 2 + below, (last + 1) // 2 + below
    if last < 0 or high > last:
        return None
    slope = float(slopes[low] if low == high else (slopes[low] + slopes[high]) / 2)
    return Line(slope, float(np.median(b - slope * a))) if math.isfinite(slope) else None


def bland_altman(x: ArrayLike, y: ArrayLike) -> Limits | None:
    """Return the mean difference and its limits of agreement; None with fewer than two patients.

    Bland & Altman 1986, "Statistical methods for assessing agreement between two methods of
    clinical measurement", Lancet 327:307-310: mean and 1.96 standard deviations of ``y - x``.
    """
    a, b = _pair(x, y)
    if len(a) < 2:
        return None
    bias, half = float(np.mean(b - a)), _Z * float(np.std(b - a, ddof=1))
    return Limits(bias, bias - half, bias + half)


def kappa(confusion: ArrayLike) -> float | None:
    """Return Cohen's kappa of a confusion matrix (C, C); None if chance alone agrees fully.

    Cohen 1960, "A coefficient of agreement for nominal scales", Educational and Psychological
    Measurement 20:37-46.

    Examples
    --------
    >>> round(kappa([[20, 5], [10, 15]]), 6)
    0.4
    """
    counts = np.asarray(confusion, np.float64)
    n = float(counts.sum())
    if n == 0:
        return None
    chance = float(counts.sum(axis=1) @ counts.sum(axis=0)) / n**2
    return None if chance >= 1 else (float(np.trace(counts)) / n - chance) / (1 - chance)


def counting_limit(fractions: ArrayLike, n: int, *, additional: bool = False) -> float:
    """Return the limit of agreement of two counts without errors, of `n` cells each.

    A count of `n` cells is binomial, with variance ``p (1 - p) / n``, and two independent counts
    differ with twice that (Rümke 1979, "The statistically expected variability in differential
    leukocyte counting", in Koepke, "Differential Leukocyte Counting", College of American
    Pathologists). Over patients with different fractions, variances are averaged. The limits are
    the result to either side of 0.

    Parameters
    ----------
    fractions : array_like of float, shape (P,)
        The true fraction of the kind in each patient: its cells per cell counted.
    n : int
        Cells of each count.
    additional : bool
        The cells are counted in addition to the `n`, as nucleated red cells are: they are Poisson,
        with variance ``p / n``.

    Returns
    -------
    float
        In the unit of `fractions`.

    Examples
    --------
    >>> round(100 * counting_limit([0.5], 100), 1)
    13.9
    """
    p = np.asarray(fractions, np.float64)
    variance = p if additional else p * (1 - p)
    return _Z * math.sqrt(2 * float(np.mean(variance)) / n)


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"`x` and `y` must be one-dimensional, of equal length. Received: {a.shape}, {b.shape}"
        )
    return a, b


def _centred(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    a, b = _pair(x, y)
    return (a - a.mean(), b - b.mean()) if len(a) else (a, b)


def _ranks(values: Floats) -> Floats:
    _, inverse, copies = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(copies) - (copies - 1) / 2)[inverse], np.float64)


def _pair_slopes(x: Floats, y: Floats) -> Floats:
    """Return the slopes between pairs of patients in ascending order, without those of -1."""
    i, j = np.triu_indices(len(x), 1)
    run, rise = x[j] - x[i], y[j] - y[i]
    apart = (run != 0) | (rise != 0)
    run, rise = run[apart], rise[apart]
    infinite = np.copysign(np.inf, rise)
    slopes = np.divide(rise, run, out=infinite, where=run != 0)
    return np.asarray(np.sort(slopes[slopes != -1]), np.float64)
