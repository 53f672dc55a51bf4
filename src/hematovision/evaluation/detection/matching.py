"""One-to-one matching of found cells to annotated cells, by centre distance and by overlap.

Both rules are greedy: cells take their match in the order of falling confidence, and an annotated
cell that is taken is not available to later ones. Found cells without a match are false; annotated
cells without one are missed.

By *centre*: a found cell matches an annotated cell if its centre is at most half the annotated
box's mean side, ``(width + height) / 4``, from that box's centre; it takes the nearest. Two
annotators of platelets agree about their centres, but not about their outlines: on 500 fields of
one analyser the F1 of two annotators is 0.70 at an overlap of 0.5, and 0.23 at 0.75.

By *overlap*: the rule of COCO (Lin et al. 2014, "Microsoft COCO: common objects in context", ECCV).
A found cell takes the annotated box with the largest intersection over union, if that reaches the
threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["by_confidence", "match_centres", "match_overlaps", "overlaps"]


def by_confidence(confidence: ArrayLike) -> NDArray[np.int64]:
    """Return the order of falling confidence; equal ones keep their order."""
    order: NDArray[np.int64] = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    return order


def match_centres(
    found: NDArray[np.float64], confidence: NDArray[np.float64], annotated: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Match found cells to annotated cells by the distance of their centres.

    Parameters
    ----------
    found : ndarray, shape (N, 4)
        Boxes (xmin, ymin, xmax, ymax) of found cells, of one class.
    confidence : ndarray, shape (N,)
    annotated : ndarray, shape (A, 4)
        Boxes of annotated cells.

    Returns
    -------
    ndarray of int, shape (N,)
        The position of the annotated cell that each found cell matches; -1 if none.

    Examples
    --------
    >>> annotated = np.array([[0, 0, 10, 10.0]])
    >>> found = np.array([[3, 0, 13, 10], [4, 4, 14, 14.0]])  # centres 3 and 5.7 pixels away
    >>> match_centres(found, np.array([0.5, 0.9]), annotated)
    array([ 0, -1])
    """
    matches = np.full(len(found), -1, np.int64)
    if not len(found) or not len(annotated):
        return matches
    offset = _centres(found)[:, None, :] - _centres(annotated)[None]
    distance = np.hypot(offset[..., 0], offset[..., 1])
    reach = (annotated[:, 2:] - annotated[:, :2]).sum(axis=1) / 4
    distance[distance > reach] = np.inf
    for i in by_confidence(confidence):
        nearest = int(distance[i].argmin())
        if np.isfinite(distance[i, nearest]):
            matches[i] = nearest
            distance[:, nearest] = np.inf
    return matches


def match_overlaps(
    found: NDArray[np.float64],
    confidence: NDArray[np.float64],
    annotated: NDArray[np.float64],
    thresholds: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which found cells match an annotated cell at each threshold of overlap.

    Parameters as in `match_centres`; `thresholds` (T,) are intersections over union. Returns bool
    (T, N).
    """
    matched = np.zeros((len(thresholds), len(found)), np.bool_)
    if not len(found) or not len(annotated):
        return matched
    shared, order = overlaps(found, annotated), by_confidence(confidence)
    for row, threshold in zip(matched, thresholds, strict=True):
        free = shared.copy()
        for i in order:
            # COCO takes the last of equal overlaps.
            best = free.shape[1] - 1 - int(free[i, ::-1].argmax())
            if free[i, best] >= min(float(threshold), 1 - 1e-10):
                row[i] = True
                free[:, best] = -1.0
    return matched


def overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of each pair of boxes: (N, 4) and (M, 4) to (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _centres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
