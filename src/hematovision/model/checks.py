"""Check the arrays passed to a fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ModelError

__all__ = ["checked"]


def checked(
    values: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return `values` (N, D) as float64 and `labels` (N,) as int64.

    Raises `ModelError` if the shapes do not match or values are not finite.
    """
    rows, truth = np.asarray(values, np.float64), np.asarray(labels, np.int64)
    if rows.ndim != 2 or truth.shape != rows.shape[:1]:
        raise ModelError(
            "Values must have shape (N, D) and labels (N,). Received: "
            f"{rows.shape} and {truth.shape}."
        )
    if not np.isfinite(rows).all():
        raise ModelError(
            f"{int((~np.isfinite(rows)).any(axis=1).sum())} of {len(rows)} rows have values that "
            "are not finite. Check the weights that computed the features."
        )
    return rows, truth
