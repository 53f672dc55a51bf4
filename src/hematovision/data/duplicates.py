"""Finding images that are the same picture, exactly or nearly, in any rotation or flip.

Near duplicates are found in three steps, each cheap enough for what the one before lets through:

1. pHash (imagehash) of one image against the eight hashes of every other, vectorised: 64 bits per
   hash, one XOR and one count per comparison;
2. correlation of 16 x 16 thumbnails in the views whose hashes were close;
3. alignment and two correlations of 32 x 32 thumbnails (`hematovision.data.alignment`).

The thresholds come from measurements on real cells: docs/decisions/0003-near-duplicates.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.data import alignment
from hematovision.data.fingerprints import THUMBNAIL, Fingerprints, view_orders
from hematovision.progress import Progress, no_progress

__all__ = ["Pair", "clusters", "exact_duplicates", "near_duplicates"]

MAX_HASH_DISTANCE = 16
"""Bits of 64 in which the pHashes of a copy may differ."""

MIN_COARSE = 0.78
"""Least correlation of the 16 x 16 thumbnails, before alignment."""

MIN_CORRELATION = 0.965
"""Least correlation of the aligned 32 x 32 thumbnails."""

MIN_DETAIL = 0.88
"""Least correlation of their detail, after alignment."""

MIN_CONTRAST = 1.0
"""Least standard deviation of a thumbnail, in grey levels. A blank picture resembles every other
blank picture; only its exact duplicates are reported."""

# 64 rows against 10,000 images and 8 views are 40 MB of distances.
_ROWS = 64
_PAIRS = 512
_COARSE = THUMBNAIL // 2


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that show the same picture.

    Parameters
    ----------
    first, second : int
        Rows of the fingerprints, ``first < second``.
    view : int
        Which view of the second (`images.view`) lies over the first.
    correlation, detail : float
        Of the aligned luminance and of its fine structure, at most 1.
    """

    first: int
    second: int
    view: int
    correlation: float
    detail: float


def exact_duplicates(fingerprints: Fingerprints) -> list[tuple[int, ...]]:
    """Return the groups of rows whose decoded pixels are equal, two or more each, in order."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(fingerprints.pixels_sha256):
        rows[digest].append(row)
    return [tuple(group) for group in rows.values() if len(group) > 1]


def near_duplicates(
    fingerprints: Fingerprints,
    progress: Progress = no_progress,
    rows: Sequence[int] | None = None,
) -> list[Pair]:
    """Find the pairs of images that show the same picture.

    Rotated or mirrored, cropped by up to about 5 % a side, re-compressed, a little brighter or
    darker: still the same. The time grows with the square of the number of images, 10,000 of them
    taking about half as long as decoding them; memory stays bounded.

    Parameters
    ----------
    fingerprints : Fingerprints
        Of N images.
    progress : Progress, optional
        Told after every block of images.
    rows : sequence of int, optional
        Compare these rows only, for instance one of each group of exact duplicates.

    Returns
    -------
    list of Pair
        Sorted by rows.
    """
    chosen = np.arange(len(fingerprints)) if rows is None else np.array(rows, dtype=np.int64)
    thumbnails = fingerprints.thumbnails[chosen]
    textured = thumbnails.std(axis=(1, 2)) >= MIN_CONTRAST
    chosen, thumbnails = chosen[textured], thumbnails[textured]
    hashes, coarse = fingerprints.hashes[chosen], _coarse(thumbnails)
    found: list[Pair] = []
    for start in range(0, len(chosen), _ROWS):
        candidates = _close_hashes(hashes, start)
        candidates = _close_coarsely(coarse, candidates)
        found += _same_pictures(thumbnails, candidates)
        progress(min(start + _ROWS, len(chosen)), len(chosen), "Looking for near duplicates")
    named = (
        Pair(int(chosen[p.first]), int(chosen[p.second]), p.view, p.correlation, p.detail)
        for p in found
    )
    return sorted(named, key=lambda pair: (pair.first, pair.second))


def clusters(groups: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """Join groups that share a member, so that each member is in one cluster only.

    >>> clusters([(0, 1), (4, 5), (1, 2)])
    [(0, 1, 2), (4, 5)]
    """
    parent: dict[int, int] = {}

    def root(member: int) -> int:
        while parent.setdefault(member, member) != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for group in groups:
        for member in group[1:]:
            a, b = sorted((root(group[0]), root(member)))
            parent[b] = a
    members: dict[int, list[int]] = defaultdict(list)
    for member in sorted(parent):
        members[root(member)].append(member)
    return [tuple(members[top]) for top in sorted(members)]


def _coarse(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Halve the thumbnails and make each a vector of length 1 around 0: dot products correlate."""
    halved = thumbnails.reshape(-1, _COARSE, 2, _COARSE, 2).mean(axis=(2, 4))
    vectors = halved.reshape(-1, _COARSE**2)
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6), dtype=np.float32)


def _close_hashes(hashes: NDArray[np.uint64], start: int) -> NDArray[np.int64]:
    """Return (first, second, view) of the block's pairs with close hashes, shape (M, 3)."""
    block = hashes[start : start + _ROWS, 0]
    later = hashes[start:]
    distances = np.bitwise_count(block[:, None, None] ^ later[None])
    first, second, view = np.nonzero(distances <= MAX_HASH_DISTANCE)
    kept = second > first
    return np.stack([first + start, second + start, view], axis=1)[kept]


def _close_coarsely(
    coarse: NDArray[np.float32], candidates: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Keep pairs that correlate in some view, each with its best view."""
    scores = np.empty(len(candidates), dtype=np.float32)
    orders = view_orders(_COARSE)
    for rows in _chunks(len(candidates), 64 * _PAIRS):
        first, second, view = candidates[rows].T
        turned = coarse[second[:, None], orders[view]]
        scores[rows] = np.einsum("np,np->n", coarse[first], turned)
    kept = np.flatnonzero(scores >= MIN_COARSE)
    best_first = kept[np.argsort(-scores[kept], kind="stable")]
    _, places = np.unique(candidates[best_first, :2], axis=0, return_index=True)
    return np.asarray(candidates[best_first[places]], dtype=np.int64)


def _same_pictures(thumbnails: NDArray[np.float32], candidates: NDArray[np.int64]) -> list[Pair]:
    orders = view_orders(THUMBNAIL)
    found = []
    for rows in _chunks(len(candidates), _PAIRS):
        first, second, view = candidates[rows].T
        fixed = thumbnails[first]
        turned = thumbnails.reshape(-1, THUMBNAIL**2)[second[:, None], orders[view]]
        turned = turned.reshape(fixed.shape)
        warps = alignment.align(fixed, turned)
        whole = alignment.correlate(fixed, turned, warps)
        fine = alignment.correlate(alignment.detail(fixed), alignment.detail(turned), warps)
        for row in np.flatnonzero((whole >= MIN_CORRELATION) & (fine >= MIN_DETAIL)):
            one, other, index = (int(value) for value in candidates[rows][row])
            found.append(Pair(one, other, index, float(whole[row]), float(fine[row])))
    return found


def _chunks(total: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
