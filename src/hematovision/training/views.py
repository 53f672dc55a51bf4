"""The sides from which an image is looked at, and how many of them the images of a class get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["N_VIEWS", "View", "plan_views"]

N_VIEWS = 8
"""The rotations and flips of a square: all the views that invent no pixel."""


@dataclass(frozen=True, slots=True)
class View:
    """An image file seen from one of `N_VIEWS` sides; 0 is the image itself."""

    path: Path
    index: int = 0


def plan_views(labels: NDArray[np.int64], extra: float = 0.25) -> NDArray[np.int64]:
    """Say from how many sides each training image is shown.

    The rarest class gets a further view, again and again, until every class has as many rows as
    the largest, or all `N_VIEWS`, or the budget is spent.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Class indices.
    extra : float
        Budget: rows beyond one for each image, as a fraction of N.

    Returns
    -------
    ndarray of int, shape (N,)
        1 to 8 for each image.
    """
    counts = np.bincount(labels)
    views = np.ones_like(counts)
    budget = extra * len(labels)
    while True:
        rows = counts * views
        grown = (counts > 0) & (views < N_VIEWS) & (rows + counts <= rows.max())
        if not grown.any():
            break
        rarest = int(np.argmin(np.where(grown, rows, np.iinfo(np.int64).max)))
        budget -= counts[rarest]
        if budget < 0:
            break
        views[rarest] += 1
    return views[labels]
