"""95% intervals for proportions, counts and scores, and McNemar's test.

Exact limits never cover less than their level: Clopper & Pearson 1934 for a proportion, Garwood
1936 for a count. They are those of the tables used in haematology, and wider than score intervals.

Score intervals cover sampling error and remain valid if a classifier makes no errors: Wilson 1927
for a proportion, Zou & Donner 2008 for a mean of proportions, Tango 1998 for a paired difference.
A cluster bootstrap, which resamples whole groups, accounts for the similarity of images of one
field or patient (Field & Welsh 2007, "Bootstrapping clustered data", J. R. Stat. Soc. B
69:369-390).

Neither is enough alone. Score intervals treat images as independent. Without errors, every
bootstrap sample is perfect and the interval is [1, 1]; percentile intervals of few groups are too
narrow (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 14.3). If groups are
known, the reported interval is therefore the hull of both, which is conservative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DRAWS", "EXACT", "LEVEL", "Interval", "McNemar", "bootstrap_counts", "clopper_pearson",
    "f1_interval", "garwood", "hull", "mcnemar", "mean_interval", "percentile_interval", "tango",
    "variation_interval", "wilson",
]  # fmt: skip

Interval: TypeAlias = tuple[float, float]
"""Lower and upper limit: in [0, 1] for a proportion, [-1, 1] for a difference of two."""

LEVEL = 0.95
DRAWS = 2000
"""Bootstrap samples; percentiles need at least 1,000 (Efron & Tibshirani 1993, p. 188)."""

EXACT = 1000
"""McNemar's test is the exact binomial test up to this number of discordant images."""

_TINY = 1e-300  # for the logarithm of 0
_HALVINGS = 60  # reaches the last bit of a float


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval of a proportion; None if `n` is 0.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA
    22:209-212; recommended for small n and for proportions near 0 or 1 by Brown, Cai & DasGupta
    2001, "Interval estimation for a binomial proportion", Statistical Science 16:101-133.

    Examples
    --------
    >>> low, high = wilson(81, 263)
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    _check_successes(successes, n)
    if n == 0:
        return None
    z2 = _z_squared(level)
    p = successes / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the edges the formula is 0 or 1, apart from rounding.
    low = 0.0 if successes == 0 else min(max(0.0, centre - half), p)
    high = 1.0 if successes == n else max(min(1.0, centre + half), p)
    return low, high


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> Interval | None:
    """Return the exact interval of a proportion; None if `n` is 0.

    Clopper & Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26:404-413: each limit is the proportion at which a count this extreme, or
    more, has half the error probability. Rümke 1979, "The statistically expected variability in
    differential leukocyte counting" (in Koepke, "Differential Leukocyte Counting", College of
    American Pathologists), tabulates these limits for differentials, rounded outwards.

    Examples
    --------
    >>> low, high = clopper_pearson(10, 100)
    >>> round(100 * low, 1), round(100 * high, 1)
    (4.9, 17.6)
    """
    _check_successes(successes, n)
    if n == 0:
        return None
    j = np.arange(n + 1.0)
    factorials = _log_factorials(n)
    ways = factorials[n] - factorials - factorials[::-1]

    def chances(p: float, outcomes: slice) -> float:
        logs = ways + j * math.log(max(p, _TINY)) + (n - j) * math.log(max(1 - p, _TINY))
        return float(np.exp(logs[outcomes]).sum())

    half, estimate = (1 - level) / 2, successes / n
    as_many, as_few = slice(successes, None), slice(successes + 1)
    low = _bisect(estimate, 0.0, lambda p: chances(p, as_many) < half) if successes else 0.0
    high = _bisect(estimate, 1.0, lambda p: chances(p, as_few) < half) if successes < n else 1.0
    return low, high


def garwood(count: int, level: float = LEVEL) -> Interval:
    """Return the exact interval of the mean of a Poisson count.

    Garwood 1936, "Fiducial limits for the Poisson distribution", Biometrika 28:437-442: as
    `clopper_pearson`, for events without an upper bound, such as platelets in a field.

    Examples
    --------
    >>> low, high = garwood(10)
    >>> round(low, 2), round(high, 2)
    (4.8, 18.39)
    """
    if count < 0:
        raise ValueError(f"`count` must be at least 0. Received: {count}")
    half, z2 = (1 - level) / 2, _z_squared(level)
    width = 2 * math.sqrt(z2 * (count + 1)) + 2 * z2  # the limits are closer to the count
    # The chances of counts further away than this are below the precision of a float.
    start = max(0, math.floor(count - width - 20 * math.sqrt(count + 1) - 100))
    j = np.arange(start, count + 1.0)
    factorials = math.lgamma(start + 1) + np.cumsum(np.log(np.maximum(j, 1.0)))
    factorials -= math.log(max(start, 1))

    def at_most(mean: float, terms: int) -> float:
        logs = j[:terms] * math.log(max(mean, _TINY)) - mean - factorials[:terms]
        return float(np.exp(logs).sum())

    lowest = max(0.0, count - width)
    low = _bisect(float(count), lowest, lambda mean: 1 - at_most(mean, len(j) - 1) < half)
    high = _bisect(float(count), count + 1 + width, lambda mean: at_most(mean, len(j)) < half)
    return (low if count else 0.0), high


def variation_interval(
    n: int, cv: float, skewness: float, kurtosis: float, level: float = LEVEL
) -> Interval | None:
    """Return an interval of a coefficient of variation; None if it has none.

    The variance of the estimate, for any distribution with four moments, is
    ``cv^2 (cv^2 + (kurtosis - 1) / 4 - cv skewness) / n`` (Cramér 1946, "Mathematical Methods of
    Statistics", section 27.7); the interval is normal on a logarithmic scale, so its limits are
    positive. For a normal distribution the variance is ``cv^2 (cv^2 + 1 / 2) / n``. It holds for
    independent values; below about 30 of them it is too narrow.

    `kurtosis` is the fourth standardised moment, 3 for a normal distribution. There is no interval
    with fewer than two values or if `cv` is not above 0.

    Examples
    --------
    >>> low, high = variation_interval(200, 0.07, 0.0, 3.0)
    >>> round(low, 4), round(high, 4)
    (0.0634, 0.0772)
    """
    if n < 2 or cv <= 0:
        return None
    variance = max(0.0, cv * cv + (kurtosis - 1) / 4 - cv * skewness) / n  # of the logarithm
    factor = math.exp(math.sqrt(_z_squared(level) * variance))
    return cv / factor, cv * factor


def f1_interval(correct: int, wrong: int, level: float = LEVEL) -> Interval | None:
    """Return a score interval of the F1 of one class.

    ``J = TP / (TP + FP + FN)`` is a proportion and ``F1 = 2 J / (1 + J)`` grows with it, so the
    limits of J's Wilson interval map to the limits of F1's.

    `correct` counts true positives, `wrong` false positives and false negatives.
    """
    ends = wilson(correct, correct + wrong, level)
    return ends and (2 * ends[0] / (1 + ends[0]), 2 * ends[1] / (1 + ends[1]))


def mean_interval(
    values: Sequence[float], intervals: Sequence[Interval], *, least: float = 0.0
) -> Interval | None:
    """Return an interval of the mean of independent estimates; None if there are none.

    Zou & Donner 2008, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine 27:1693-1702 (MOVER): the distances from estimate to limit
    add in quadrature. With Wilson intervals this is Newcombe's hybrid score method.

    `values` are the estimates, such as the recalls of the classes. The lowest possible mean is
    `least`: 0 for proportions, -1 for their differences; the highest is 1.
    """
    if not values:
        return None
    mean = sum(values) / len(values)
    below = math.hypot(*(v - low for v, (low, _) in zip(values, intervals, strict=True)))
    above = math.hypot(*(high - v for v, (_, high) in zip(values, intervals, strict=True)))
    return max(least, mean - below / len(values)), min(1.0, mean + above / len(values))


def bootstrap_counts(
    counts: ArrayLike, copies: ArrayLike | None = None, *, draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Resample groups with replacement and add up their counts.

    Groups with equal counts are interchangeable, so a multinomial over the distinct rows gives the
    same distribution, does not depend on the order of the groups, and is fast for any number.

    `counts` (G, K) are the contributions of G groups, for instance flattened confusion matrices; a
    row stands for as many groups as `copies` (G,) states. Returns float64 (draws, K).
    """
    rows = np.asarray(counts, np.int64)
    if copies is None:
        rows, copies = np.unique(rows, axis=0, return_counts=True)
    weights = np.asarray(copies, np.int64)
    n_groups = int(weights.sum())
    sampled = np.random.default_rng(seed).multinomial(n_groups, weights / n_groups, size=draws)
    return sampled.astype(np.float64) @ rows.astype(np.float64)


def percentile_interval(samples: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Return the central interval of the finite values of `samples`, or None if there are none.

    A score may be undefined in bootstrap samples that lack a class; these are skipped.
    """
    values = np.asarray(samples, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def hull(*intervals: Interval | None) -> Interval | None:
    """Return the shortest interval that contains all others; skip None."""
    known = [interval for interval in intervals if interval is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)


@dataclass(frozen=True)
class McNemar:
    """The result of McNemar's test."""

    p: float  # two-sided p-value
    method: Literal["exact binomial", "chi-squared, continuity corrected"]
    discordant: int  # images that exactly one model classifies correctly; only these are used


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Test whether two models are equally accurate, on independent images.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12:153-157. Up to 1000 discordant images, the exact binomial test is
    used; above, the chi-squared test corrected by Edwards 1948, Psychometrika 13:185-187.

    `only_first` and `only_second` are the images that one model alone classifies correctly.

    Examples
    --------
    >>> round(mcnemar(5, 14).p, 4)
    0.0636
    """
    low, n = min(only_first, only_second), only_first + only_second
    if low < 0:
        raise ValueError(
            f"Counts must not be negative. Received: only_first={only_first}, "
            f"only_second={only_second}"
        )
    if n <= EXACT:
        tail = sum(math.comb(n, k) for k in range(low + 1))
        return McNemar(min(1.0, 2 * tail / 2**n), "exact binomial", n)
    chi_squared = max(0, n - 2 * low - 1) ** 2 / n
    p = math.erfc(math.sqrt(chi_squared / 2))
    return McNemar(p, "chi-squared, continuity corrected", n)


def tango(only_second: int, only_first: int, n: int, level: float = LEVEL) -> Interval | None:
    """Return the score interval of ``(only_second - only_first) / n``; None if `n` is 0.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17:891-908. It keeps its level for small counts
    and has a width even if the models never differ.

    `only_second` and `only_first` are the images, of `n`, that one model alone classifies
    correctly.

    Examples
    --------
    >>> low, high = tango(14, 5, 750)
    >>> round(low, 4), round(high, 4)
    (0.0007, 0.0252)
    """
    if min(only_second, only_first) < 0 or only_second + only_first > n:
        raise ValueError(
            "Counts must be at least 0 and add up to at most `n`. Received: "
            f"only_second={only_second}, only_first={only_first}, n={n}"
        )
    if n == 0:
        return None
    z2 = _z_squared(level)
    net, discordant = only_second - only_first, only_second + only_first

    def rejected(delta: float) -> bool:
        """Whether the score test rejects a true difference of `delta`."""
        linear = (2 * n - net) * delta - discordant
        constant = -only_first * delta * (1 - delta)
        root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
        only_first_share = (root - linear) / (4 * n)  # its maximum-likelihood value, given delta
        variance = n * (2 * only_first_share + delta * (1 - delta))
        return (net - n * delta) ** 2 > z2 * variance

    return _bisect(net / n, -1.0, rejected), _bisect(net / n, 1.0, rejected)


def _check_successes(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(
            f"`successes` must be between 0 and `n`. Received: successes={successes}, n={n}"
        )


def _log_factorials(most: int) -> NDArray[np.float64]:
    """Return the logarithms of the factorials of 0 to `most`, float64 (most + 1,)."""
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1.0, most + 1)))))


def _bisect(inside: float, outside: float, rejected: Callable[[float], bool]) -> float:
    """Return the point between `inside` and `outside` at which `rejected` becomes True."""
    if not rejected(outside):
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return inside


def _z_squared(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2) ** 2
