"""Two proportions of the same images: McNemar's test, and Tango's interval of their difference.

Both look at the images that exactly one of two models tells rightly, and take images for
independent; see `paired` for those that are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from hematovision.evaluation.intervals import LEVEL, Interval

__all__ = ["EXACT", "McNemar", "mcnemar", "tango"]

EXACT = 1000
"""Up to so many discordant images McNemar's test is the exact binomial one; it is quick there, and
beyond the two differ in the third digit."""

_HALVINGS = 60  # of an interval of length 1: to the last bit of a float


@dataclass(frozen=True)
class McNemar:
    """What McNemar's test says.

    Parameters
    ----------
    p : float
        Two-sided: how often two equally good models would differ so much or more.
    method : {"exact binomial", "chi-squared, continuity corrected"}
    discordant : int
        Images that exactly one model tells rightly; the test looks at no others.
    """

    p: float
    method: Literal["exact binomial", "chi-squared, continuity corrected"]
    discordant: int


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Test whether two models are right equally often, on images that are independent.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12:153-157. Up to 1000 discordant images the exact binomial test,
    beyond them the chi-squared test with the correction of Edwards 1948, Psychometrika 13:185-187.

    Parameters
    ----------
    only_first, only_second : int
        Images that only the first, and only the second model tells rightly.

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
    """Return the score interval of the difference of two paired proportions.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17:891-908. It holds its level for small counts
    and has a width even where the models never differ.

    Parameters
    ----------
    only_second, only_first, n : int
        Images that only the second, and only the first model tells rightly, of n.
    level : float
        Confidence level.

    Returns
    -------
    Interval or None
        Of (only_second - only_first) / n, within [-1, 1]; None where ``n`` is 0.

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
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    net, discordant = only_second - only_first, only_second + only_first

    def refuted(delta: float) -> bool:
        """Tell whether the score test refuses a true difference of `delta`."""
        linear = (2 * n - net) * delta - discordant
        constant = -only_first * delta * (1 - delta)
        root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
        only_first_share = (root - linear) / (4 * n)  # its likeliest value, given delta
        variance = n * (2 * only_first_share + delta * (1 - delta))
        return (net - n * delta) ** 2 > z2 * variance

    return _edge(net / n, -1.0, refuted), _edge(net / n, 1.0, refuted)


def _edge(inside: float, outside: float, refuted: Callable[[float], bool]) -> float:
    """Return where `refuted` begins to hold on the way from `inside` to `outside`, by halving."""
    if not refuted(outside):
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if refuted(middle) else (middle, outside)
    return inside
