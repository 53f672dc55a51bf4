"""Finding exact and near duplicates, in any rotation or flip.

Near duplicates are found in three steps:

1. pHash of one image against the eight hashes of every other: 64 bits per hash, one XOR
   and one bit count per comparison;
2. correlation of 16 x 16 thumbnails in the views whose hashes are close;
3. alignment of 32 x 32 thumbnails by a scale and a shift along each axis (least squares: Lucas &
   Kanade 1981, "An iterative image registration technique with an application to stereo vision",
   IJCAI, section 4), then two correlations: of the luminance, and of the detail that remains after
   smooth parts are removed (edges, granules, neighbours at the rim). Different cells of one kind
   have similar luminance, but not the same detail.

The thresholds were measured on real cells: docs/decisions/0003-near-duplicates.md.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError
from hematovision.progress import Progress, no_progress

__all__ = [
    "MAX_WARP", "THUMBNAIL", "VIEWS", "Fingerprint", "Fingerprints", "Pair", "align", "clusters",
    "correlate", "detail", "exact_duplicates", "fingerprint", "fingerprint_all", "near_duplicates",
    "view_orders",
]  # fmt: skip

Stack: TypeAlias = NDArray[np.float32]
"""Thumbnails, shape (N, S, S)."""

VIEWS = 8
"""The rotations and flips of `images.view`."""

THUMBNAIL = 32
"""Side of the thumbnail in pixels; the 8 x 8 pHash is computed from the same size."""

HASH_SIZE = 8
"""Side of the pHash: 64 bits. 16 x 16 bits find fewer cropped copies (measured, see above)."""

MAX_HASH_DISTANCE = 16
"""Maximum number of differing bits (of 64) between the pHashes of copies."""

MIN_COARSE = 0.78
"""Minimum correlation of the 16 x 16 thumbnails, before alignment."""

MIN_CORRELATION = 0.965
"""Minimum correlation of the aligned 32 x 32 thumbnails."""

MIN_DETAIL = 0.88
"""Minimum correlation of their detail, after alignment."""

MIN_CONTRAST = 1.0
"""Minimum standard deviation of a thumbnail, in grey levels. Blank images resemble each other, so
only their exact duplicates are reported."""

MAX_WARP = 0.16
"""Maximum of each warp parameter. Cropping 5% off both sides is a scale of 0.10; cropping one side
is a scale and a shift of 0.05 each."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow's "L"
_IN_FLIGHT = 64  # images decoded ahead: keeps the cores busy and limits memory
_ROWS = 64  # against 10,000 images and 8 views: 40 MB of distances
_PAIRS = 512
_COARSE = THUMBNAIL // 2
_STEPS = 5
_FIRST_STEPS = 2
_HOPELESS = 0.85
_BLUR = 2.0
_TINY = 1e-6

# The discrete cosine transform (DCT-II) of a column, for its lowest frequencies: shape (8, 32).
_COSINES = np.cos(np.pi / THUMBNAIL * np.outer(np.arange(HASH_SIZE), np.arange(THUMBNAIL) + 0.5))


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The fingerprint of one image."""

    pixels_sha256: str  # of the decoded RGB pixels and their shape
    hashes: NDArray[np.uint64]  # pHash of each of the eight views, shape (8,)
    thumbnail: NDArray[np.float32]  # luminance in [0, 255], shape (32, 32)


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The fingerprints of N images, stacked; unreadable images have no row."""

    positions: NDArray[np.int64]  # of each row among all images, shape (N,)
    pixels_sha256: tuple[str, ...]
    hashes: NDArray[np.uint64]  # shape (N, 8)
    thumbnails: NDArray[np.float32]  # shape (N, 32, 32)
    unreadable: tuple[tuple[int, ImageError], ...] = ()  # position and error of each

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two near duplicates."""

    first: int  # rows of the fingerprints, first < second
    second: int
    view: int  # the view of the second (`images.view`) that matches the first
    correlation: float  # of the aligned luminance, at most 1
    detail: float  # of its detail, at most 1


def fingerprint(image: NDArray[np.uint8]) -> Fingerprint:
    """Compute the fingerprint of an RGB image, shape (H, W, 3)."""
    thumbnail = images.fit(image, THUMBNAIL).astype(np.float32) @ _LUMINANCE
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(image.tobytes())
    return Fingerprint(digest.hexdigest(), _view_hashes(thumbnail), thumbnail)


def _view_hashes(thumbnail: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the pHash of each of the eight views of a thumbnail (32, 32), shape (8,).

    A bit is set if a low frequency is above the median of all 64 (Zauner 2010, "Implementation and
    benchmarking of perceptual image hash functions"), as in imagehash. Rounding
    makes equal frequencies of a symmetric image equal in floating point.
    """
    grey = np.rint(thumbnail).astype(np.uint8)
    views = grey.ravel()[view_orders(THUMBNAIL)].reshape(VIEWS, THUMBNAIL, THUMBNAIL)
    frequencies = np.round(_COSINES @ views @ _COSINES.T, 6).reshape(VIEWS, -1)
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def view_orders(size: int) -> NDArray[np.int64]:
    """Return the source of each pixel of each view in a flattened square image.

    The result has shape (8, size * size); `size` is at most 256. ``image.ravel()[orders[index]]``
    is ``images.view(image, index).ravel()``.
    """
    rows, columns = np.indices((size, size))
    places = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    turned = np.stack([images.view(places, index) for index in range(VIEWS)]).astype(np.int64)
    return (turned[..., 0] * size + turned[..., 1]).reshape(VIEWS, -1)


def fingerprint_all(paths: Sequence[Path], progress: Progress = no_progress) -> Fingerprints:
    """Decode every image once and compute its fingerprint, on all cores."""
    found: list[tuple[int, Fingerprint]] = []
    unreadable: list[tuple[int, ImageError]] = []
    for position, outcome in enumerate(_outcomes(paths)):
        if isinstance(outcome, ImageError):
            unreadable.append((position, outcome))
        else:
            found.append((position, outcome))
        progress(position + 1, len(paths), "Reading images", "images")
    return Fingerprints(
        positions=np.array([position for position, _ in found], dtype=np.int64),
        pixels_sha256=tuple(one.pixels_sha256 for _, one in found),
        hashes=np.array([one.hashes for _, one in found], np.uint64).reshape(-1, VIEWS),
        thumbnails=np.array([one.thumbnail for _, one in found], np.float32).reshape(
            -1, THUMBNAIL, THUMBNAIL
        ),
        unreadable=tuple(unreadable),
    )


def _outcomes(paths: Sequence[Path]) -> Iterator[Fingerprint | ImageError]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(paths), _IN_FLIGHT):
            yield from pool.map(_outcome, paths[start : start + _IN_FLIGHT])


def _outcome(path: Path) -> Fingerprint | ImageError:
    try:
        return fingerprint(images.read(path))
    except ImageError as error:
        return error


def exact_duplicates(fingerprints: Fingerprints) -> list[tuple[int, ...]]:
    """Return the groups of two or more rows with equal decoded pixels, in order."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(fingerprints.pixels_sha256):
        rows[digest].append(row)
    return [tuple(group) for group in rows.values() if len(group) > 1]


def near_duplicates(
    fingerprints: Fingerprints,
    progress: Progress = no_progress,
    rows: Sequence[int] | None = None,
) -> list[Pair]:
    """Find pairs of near duplicates.

    Finds copies that are rotated or mirrored, cropped by up to about 5% per side, re-compressed, or
    slightly brighter or darker. Time is quadratic in the number of images; for 10,000 it is about
    half of the time for decoding. Memory is bounded. If given, only `rows` are compared.
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
        found += _same_images(thumbnails, candidates)
        done = min(start + _ROWS, len(chosen))
        progress(done, len(chosen), "Looking for near duplicates", "images")
    named = (
        Pair(int(chosen[p.first]), int(chosen[p.second]), p.view, p.correlation, p.detail)
        for p in found
    )
    return sorted(named, key=lambda pair: (pair.first, pair.second))


def clusters(groups: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """Join groups that share a member, so that each member is in only one cluster.

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
    """Halve the thumbnails and standardise each, so that dot products are correlations."""
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


def _same_images(thumbnails: NDArray[np.float32], candidates: NDArray[np.int64]) -> list[Pair]:
    orders = view_orders(THUMBNAIL)
    found = []
    for rows in _chunks(len(candidates), _PAIRS):
        first, second, view = candidates[rows].T
        fixed = thumbnails[first]
        turned = thumbnails.reshape(-1, THUMBNAIL**2)[second[:, None], orders[view]]
        turned = turned.reshape(fixed.shape)
        warps = align(fixed, turned)
        whole = correlate(fixed, turned, warps)
        fine = correlate(detail(fixed), detail(turned), warps)
        for row in np.flatnonzero((whole >= MIN_CORRELATION) & (fine >= MIN_DETAIL)):
            one, other, index = (int(value) for value in candidates[rows][row])
            found.append(Pair(one, other, index, float(whole[row]), float(fine[row])))
    return found


def _chunks(total: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def correlate(first: Stack, second: Stack, warps: Stack) -> Stack:
    """Return Pearson's correlation of `second` with the warped `first`, where both have pixels.

    Thumbnails have shape (N, S, S), warps (N, 4) as from `align`; the result has shape (N,).
    """
    warped, inside = _warp(first, warps)
    product = _standardise(warped, inside)[0] * _standardise(second, inside)[0]
    return _mean(product, inside)[:, 0, 0]


def align(first: Stack, second: Stack) -> Stack:
    """Find the scale and shift along each axis that map `first` onto `second`, shape (N, S, S).

    Returns ``(scale_x - 1, shift_x, scale_y - 1, shift_y)``, shape (N, 4), with shifts in half
    widths of the thumbnail. Pairs with a correlation under 0.85 after two steps are not refined.
    """
    warps = np.zeros((len(first), 4), dtype=np.float32)
    warps = _refine(first, second, warps, _FIRST_STEPS)
    hopeful = np.flatnonzero(correlate(first, second, warps) >= _HOPELESS)
    warps[hopeful] = _refine(first[hopeful], second[hopeful], warps[hopeful], _STEPS - _FIRST_STEPS)
    return warps


def detail(thumbnails: Stack) -> Stack:
    """Subtract from each thumbnail its Gaussian blur of 2 pixels."""
    reach = int(3 * _BLUR)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * _BLUR**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    size = thumbnails.shape[1]
    # A matrix with the border pixel repeated outwards, for one product per axis.
    matrix: Stack = np.zeros((size, size), dtype=np.float32)
    for offset, weight in enumerate(kernel):
        columns = np.clip(np.arange(size) + offset - reach, 0, size - 1)
        np.add.at(matrix, (np.arange(size), columns), weight)
    return np.asarray(thumbnails - matrix @ thumbnails @ matrix.T, dtype=np.float32)


def _refine(first: Stack, second: Stack, warps: Stack, steps: int) -> Stack:
    count, size, _ = first.shape
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    # A small ridge: a blank or one-dimensional image does not determine all parameters.
    ridge = 1e-5 * size**2 * np.eye(4, dtype=np.float32)
    for _ in range(steps if count else 0):
        warped, inside = _warp(first, warps)
        current, spread = _standardise(warped, inside)
        target, _ = _standardise(second, inside)
        slope_y, slope_x = np.gradient(warped, axis[1] - axis[0], axis=(1, 2))
        slope_x, slope_y = slope_x / spread * inside, slope_y / spread * inside
        columns = (slope_x * axis, slope_x, slope_y * axis[:, None], slope_y)
        jacobian = np.stack(columns, axis=1).reshape(count, 4, -1)
        residual = (target - current).reshape(count, -1, 1)
        normal = jacobian @ jacobian.transpose(0, 2, 1) + ridge
        change = np.linalg.solve(normal, jacobian @ residual)[:, :, 0]
        warps = np.clip(warps + change, -MAX_WARP, MAX_WARP).astype(np.float32)
    return warps


def _warp(thumbnails: Stack, warps: Stack) -> tuple[Stack, Stack]:
    """Resample bilinearly; the second result is 1 where the source has pixels, otherwise 0."""
    size = thumbnails.shape[1]
    across, inside_x = _sampling(warps[:, 0], warps[:, 1], size)
    down, inside_y = _sampling(warps[:, 2], warps[:, 3], size)
    inside = (inside_y[:, :, None] & inside_x[:, None, :]).astype(np.float32)
    warped = down @ thumbnails @ across.transpose(0, 2, 1)
    return warped.astype(np.float32, copy=False), inside


def _sampling(scale: Stack, shift: Stack, size: int) -> tuple[Stack, NDArray[np.bool_]]:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    place = ((1 + scale[:, None]) * axis + shift[:, None] + 1) * (size - 1) / 2
    inside = (place >= 0) & (place <= size - 1)
    distance = np.clip(place, 0, size - 1)[:, :, None] - np.arange(size, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(distance)).astype(np.float32), inside


def _mean(values: Stack, inside: Stack) -> Stack:
    total = (values * inside).sum((1, 2), keepdims=True)
    area = np.maximum(inside.sum((1, 2), keepdims=True), 1)
    return np.asarray(total / area, dtype=np.float32)


def _standardise(values: Stack, inside: Stack) -> tuple[Stack, Stack]:
    centred = (values - _mean(values, inside)) * inside
    spread = np.sqrt(_mean(centred * centred, inside) + _TINY)
    return centred / spread, spread
