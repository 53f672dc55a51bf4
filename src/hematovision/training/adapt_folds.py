"""Folds for cross-validation that no group crosses and that hold every class alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import TrainingError

__all__ = ["group_folds"]


def group_folds(
    labels: NDArray[np.integer], groups: Sequence[str], n_folds: int, seed: int = 0
) -> NDArray[np.int64]:
    """Deal whole groups into folds, those with the rarest class first.

    Each group goes where its classes are scarcest, so that every class is spread over the folds as
    evenly as whole groups allow.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Class indices.
    groups : sequence of str
        N names; images of one name stay together.
    n_folds : int
        At most so many; fewer where there are fewer groups.
    seed : int
        Decides between equals; the order of the images does not matter.

    Returns
    -------
    ndarray of int, shape (N,)
        The fold of each image, from 0.

    Raises
    ------
    TrainingError
        If all images are of one group, so that none can judge the others.
    """
    names, owner = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    if len(names) < 2:
        raise TrainingError(
            f"All {len(labels)} images are of one group ({names[0] if len(names) else 'none'}), so "
            "that none can be held out for evaluation. Add images of another field or "
            "patient."
        )
    counts = np.zeros((len(names), int(np.max(labels)) + 1))
    np.add.at(counts, (owner, labels), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    # A group's largest share of a class is large where the class is rare or the group is.
    ties = np.random.default_rng(seed).permutation(len(names))
    order = np.lexsort((ties, -shares.max(axis=1)))
    loads = np.zeros((min(n_folds, len(names)), counts.shape[1]))
    fold = np.zeros(len(names), np.int64)
    for group in order:
        fold[group] = np.argmin(loads @ shares[group] + 1e-6 * loads.sum(axis=1))
        loads[fold[group]] += shares[group]
    return fold[owner]
