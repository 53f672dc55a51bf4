"""Remove repeated detections of a cell: non-maximum suppression within and across classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["overlapping", "suppressed"]

_SAME = 0.5
"""Intersection over union above which two boxes show the same cell. Boxes of two red cells that
overlap by a third of their width have 0.5; duplicates of one cell have 0.7 and more."""

_INSIDE = 0.7
"""Share of a box covered by another above which it lies inside it."""

_ON_TOP = 0.35
"""Largest area of a platelet lying on a red cell, in areas of the red cell. A larger one inside a
red cell's box is the same cell."""

_DOUBTFUL = 0.5
"""A cell that holds a cell of another class is removed, rather than that cell, if its confidence is
less than this share of the other's: it is a clump."""

_PAIRS = 2**20  # compared at once: 40 MB

_Pairs = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


def overlapping(boxes: NDArray[np.float32]) -> Iterator[_Pairs]:
    """Yield the pairs of boxes that overlap, in batches of bounded size.

    Parameters
    ----------
    boxes : ndarray of float32, shape (N, 4)
        ``x_min, y_min, x_max, y_max``.

    Yields
    ------
    first, second : ndarray of intp, shape (P,)
        Indices of the two boxes; every pair occurs once, in either order.
    area : ndarray of float32, shape (P,)
        The area of their intersection, above 0.
    """
    order = np.argsort(boxes[:, 0], kind="stable")
    ends = np.searchsorted(boxes[order, 0], boxes[order, 2], side="left")
    counts = np.maximum(ends - np.arange(1, len(boxes) + 1), 0)
    totals = np.cumsum(counts)
    start = 0
    while start < len(boxes):
        done = totals[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(totals, done + _PAIRS, side="right")))
        rows = np.repeat(np.arange(start, stop), counts[start:stop])
        before = np.repeat(totals[start:stop] - counts[start:stop] - done, counts[start:stop])
        first, second = order[rows], order[rows + 1 + np.arange(len(rows)) - before]
        low = np.maximum(boxes[first, :2], boxes[second, :2])
        sides = np.minimum(boxes[first, 2:], boxes[second, 2:]) - low
        area = sides[:, 0] * sides[:, 1]
        found = sides.min(axis=1, initial=np.inf) > 0
        yield first[found], second[found], area[found]
        start = stop


def suppressed(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.intp],
    *,
    classes: tuple[str, ...],
) -> NDArray[np.bool_]:
    """Return which detections repeat a better one.

    Of two boxes that mostly coincide, the less confident is removed, whatever the classes, and so
    is the less confident of two boxes of one class of which one lies inside the other. What lies
    inside a cell of another class belongs to it, unless the outer one is doubtful; but a small
    platelet on a red cell stays.

    The result depends on the detections alone, not on their order. Ties are broken by position.

    Parameters
    ----------
    boxes : ndarray of float32, shape (N, 4)
    scores : ndarray of float32, shape (N,)
        Confidence of each.
    labels : ndarray of intp, shape (N,)
        Index of each one's class in `classes`.
    classes : tuple of str
        The rules for white cells and platelets apply to ``WBC``, ``Platelets`` and ``RBC``.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    rank = np.empty(len(boxes), np.intp)
    rank[np.lexsort((boxes[:, 1], boxes[:, 0], -scores))] = np.arange(len(boxes))
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6)
    coinciding: list[NDArray[np.intp]] = []
    nested: list[NDArray[np.intp]] = []
    for first, second, area in overlapping(boxes):
        shared = area / np.minimum(areas[first], areas[second])
        same = area / (areas[first] + areas[second] - area) > _SAME
        inside = shared > _INSIDE
        same |= inside & (labels[first] == labels[second])
        coinciding.append(_by(rank, first[same], second[same]))
        inside &= ~same
        nested.append(_by(-areas, first[inside], second[inside]))
    gone = _greedy(len(boxes), _joined(coinciding))
    return gone | _inner(boxes, areas, scores, labels, gone, _joined(nested), classes)


def _by(
    key: NDArray[np.intp] | NDArray[np.float32], first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return pairs (P, 2) of which the first has the smaller key."""
    pairs = np.stack([first, second], axis=1)
    turned = key[first] > key[second]
    pairs[turned] = pairs[turned, ::-1]
    return pairs


def _joined(pairs: list[NDArray[np.intp]]) -> NDArray[np.intp]:
    return np.concatenate([np.empty((0, 2), np.intp), *pairs])


def _greedy(n: int, pairs: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Remove every box that pairs with a better one which stays."""
    gone = np.zeros(n, np.bool_)
    open_ = np.ones(n, np.bool_)
    while len(pairs):
        better, worse = pairs.T
        # A box stays once no undecided box is better; then its partners are removed.
        waits = np.zeros(n, np.bool_)
        waits[worse] = True
        stays = open_ & ~waits
        lost = worse[stays[better]]
        gone[lost] = True
        open_ = open_ & ~stays & ~gone
        pairs = pairs[open_[better] & open_[worse]]
    return gone


def _inner(
    boxes: NDArray[np.float32],
    areas: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.intp],
    gone: NDArray[np.bool_],
    pairs: NDArray[np.intp],
    classes: tuple[str, ...],
) -> NDArray[np.bool_]:
    """Return the boxes inside another class's box that do not belong there."""
    outer, inner = pairs[~gone[pairs].any(axis=1)].T
    kinds = np.array(classes)
    outside, within = kinds[labels[outer]], kinds[labels[inner]]
    middle = (boxes[inner, :2] + boxes[inner, 2:] - boxes[outer, :2] - boxes[outer, 2:]) / 2
    half = np.maximum((boxes[outer, 2:] - boxes[outer, :2]) / 2, 1e-6)
    covered = ((middle / half) ** 2).sum(axis=1) < 1  # not in a corner of the box, but in the cell
    on_top = (outside == "RBC") & (within == "Platelets") & (areas[inner] < _ON_TOP * areas[outer])
    dropped = covered & ~on_top
    doubtful = scores[outer] < np.where(within == "WBC", 1, _DOUBTFUL) * scores[inner]
    result = np.zeros(len(boxes), np.bool_)
    result[np.where(doubtful, outer, inner)[dropped]] = True
    return result
