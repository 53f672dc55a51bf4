"""95 % intervals for proportions and for what is computed from them.

Two sources of doubt are kept apart. *How few images?* is answered by score intervals, which stay
honest where a classifier makes no error at all: Wilson 1927 for a proportion, Zou & Donner 2008 for
a mean of proportions. *How alike are the images of one field or patient?* is answered by a cluster
bootstrap, which draws whole groups (Field & Welsh 2007, "Bootstrapping clustered data", J. R. Stat.
Soc. B 69:369-390).

Alone, the bootstrap fails at the edge: without errors every draw is perfect and its interval is
[1, 1], and percentile intervals of few groups are too short (Efron & Tibshirani 1993, "An
Introduction to the Bootstrap", section 14.3). Alone, a score interval takes the images of one field
for independent. So where groups are known the interval reported is the hull of the two: at least as
wide as the number of images demands, and wider where groups make it so. This errs on the side of
caution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DRAWS",
    "LEVEL",
    "Interval",
    "bootstrap_counts",
    "f1_interval",
    "hull",
    "mean_interval",
    "percentile_interval",
    "wilson",
]

Interval: TypeAlias = tuple[float, float]
"""Lower and upper end: in [0, 1] for a proportion, in [-1, 1] for a difference of two."""

LEVEL = 0.95
DRAWS = 2000
"""Bootstrap draws; 1,000 or more are advised for percentiles (Efron & Tibshirani 1993, p. 188)."""


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval | None:
    """Return Wilson's score interval of a proportion.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA
    22:209-212; recommended for small n and for proportions near 0 or 1 by Brown, Cai & DasGupta
    2001, "Interval estimation for a binomial proportion", Statistical Science 16:101-133.

    Parameters
    ----------
    successes, n : int
        ``0 <= successes <= n``.
    level : float
        Confidence level.

    Returns
    -------
    Interval or None
        None where ``n`` is 0.

    Examples
    --------
    >>> low, high = wilson(81, 263)
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    if not 0 <= successes <= n:
        raise ValueError(
            f"`successes` must be between 0 and `n`. Received: successes={successes}, n={n}"
        )
    if n == 0:
        return None
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    p = successes / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the edges the formula gives 0 and 1 but for rounding.
    low = 0.0 if successes == 0 else min(max(0.0, centre - half), p)
    high = 1.0 if successes == n else max(min(1.0, centre + half), p)
    return low, high


def f1_interval(right: int, wrong: int, level: float = LEVEL) -> Interval | None:
    """Return a score interval for one class's F1.

    Of the ``right + wrong`` samples that are of the class or were taken for it, the fraction right
    ``J = TP / (TP + FP + FN)`` is a proportion, given their number; F1 = ``2 J / (1 + J)`` grows
    with it, so the ends of J's Wilson interval map to the ends of F1's.

    Parameters
    ----------
    right : int
        TP, the samples of the class that were found.
    wrong : int
        FP + FN, those missed and those taken for the class.
    level : float
        Confidence level.
    """
    ends = wilson(right, right + wrong, level)
    return ends and (2 * ends[0] / (1 + ends[0]), 2 * ends[1] / (1 + ends[1]))


def mean_interval(
    values: Sequence[float], intervals: Sequence[Interval], *, least: float = 0.0
) -> Interval | None:
    """Return an interval of the mean of independent estimates from the interval of each.

    Zou & Donner 2008, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine 27:1693-1702 (MOVER): the distances from estimate to limit
    add in quadrature, as errors do. With Wilson intervals this is Newcombe's hybrid score method.

    Parameters
    ----------
    values : sequence of float
        The estimates, for instance the recalls of the classes.
    intervals : sequence of Interval
        The interval of each.
    least : float
        The lowest possible mean: 0 for proportions, -1 for differences of them. The highest is 1.

    Returns
    -------
    Interval or None
        None where there are no estimates.
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
    """Draw groups with replacement and add up their counts.

    Groups with equal counts are interchangeable, so they are drawn together, by a multinomial over
    the different rows: the result has the same distribution, does not depend on the groups' order,
    and costs little however many groups there are.

    Parameters
    ----------
    counts : array_like of int, shape (G, K)
        What each group adds, for instance its flattened confusion matrix.
    copies : array_like of int, shape (G,), optional
        How many groups each row stands for; one where left out.
    draws : int
        The number of draws.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    ndarray of float64, shape (draws, K)
        The sums over as many drawn groups as there are.
    """
    rows = np.asarray(counts, np.int64)
    if copies is None:
        rows, copies = np.unique(rows, axis=0, return_counts=True)
    alike = np.asarray(copies, np.int64)
    n_groups = int(alike.sum())
    weights = np.random.default_rng(seed).multinomial(n_groups, alike / n_groups, size=draws)
    return weights.astype(np.float64) @ rows.astype(np.float64)


def percentile_interval(draws: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Return the central interval of the finite values of `draws`, or None if there are none.

    A draw may lack a class altogether; a score that is undefined there is left out.
    """
    values = np.asarray(draws, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def hull(*intervals: Interval | None) -> Interval | None:
    """Return the shortest interval that holds all those given; None ones are left out."""
    known = [interval for interval in intervals if interval is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)
