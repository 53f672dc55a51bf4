"""Errors of the number of cells per field: mean absolute error, bias, limits of agreement.

The difference of a field is the number of found cells minus the number of annotated ones. Limits of
agreement are ``bias +/- 1.96 SD`` of the differences (Bland & Altman 1986, "Statistical methods for
assessing agreement between two methods of clinical measurement", Lancet 327:307-310): the count of
19 of 20 fields is expected to be off by less.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hematovision.intervals import Interval, percentile_interval

__all__ = ["CountErrors", "count_errors"]

_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class CountErrors:
    """How far counts per field are off, in cells."""

    fields: int
    annotated_per_field: float  # mean
    mean_absolute_error: float
    bias: float  # mean difference; above 0 means too many cells
    relative_bias: float | None  # bias / annotated_per_field; None without annotated cells
    limits: Interval | None  # of agreement; None for a single field
    # 95% intervals of mean_absolute_error, bias, lower_limit and upper_limit
    intervals: dict[str, Interval | None] = field(default_factory=dict)


def count_errors(
    found: NDArray[np.int64], annotated: NDArray[np.int64], weights: NDArray[np.float64]
) -> CountErrors:
    """Compare counts per field.

    Parameters
    ----------
    found, annotated : ndarray of int, shape (F,)
        Cells of one class in each field.
    weights : ndarray, shape (B, F)
        How often each bootstrap sample contains each field; B may be 0.

    Raises
    ------
    ValueError
        If there are no fields.

    Examples
    --------
    >>> errors = count_errors(np.array([9, 12, 7]), np.array([10, 10, 10]), np.ones((0, 3)))
    >>> errors.mean_absolute_error, errors.bias
    (2.0, -0.6666666666666666)
    """
    if not len(found):
        raise ValueError("count errors need at least one field.")
    difference = (found - annotated).astype(np.float64)
    once = _statistics(difference, np.ones((1, len(difference))))
    sampled = _statistics(difference, weights)
    mean = float(annotated.mean())
    low, high = float(once["lower_limit"][0]), float(once["upper_limit"][0])
    bias = float(once["bias"][0])
    return CountErrors(
        fields=len(found),
        annotated_per_field=mean,
        mean_absolute_error=float(once["mean_absolute_error"][0]),
        bias=bias,
        relative_bias=bias / mean if mean else None,
        limits=(low, high) if np.isfinite(low) else None,
        intervals={name: percentile_interval(values) for name, values in sampled.items()},
    )


def _statistics(
    difference: NDArray[np.float64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the statistics of each sample, shape (B,); limits need two fields."""
    n = weights.sum(axis=1)
    n = np.where(n > 0, n, np.nan)  # a sample may have no field of this class
    bias = weights @ difference / n
    squares = weights @ difference**2 - n * bias**2
    variance = np.divide(squares, n - 1, out=np.full_like(bias, np.nan), where=n > 1)
    reach = _Z * np.sqrt(np.clip(variance, 0.0, None))
    return {
        "mean_absolute_error": weights @ np.abs(difference) / n,
        "bias": bias,
        "lower_limit": bias - reach,
        "upper_limit": bias + reach,
    }
