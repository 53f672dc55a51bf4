"""Resizing to the model's input, the eight views of a cell, and mean colours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZE", "check_rgb", "fit", "mean_colours", "view"]

SIZE = 224
"""Width and height of the model's input in pixels (MobileNetV2's own)."""

_VIEWS = 8
_WHITE = 255

_BAND = 2**18
"""Number of sums computed together: 1 MB, which fits in the CPU's cache."""

_KEPT = 4096
"""Weights are cached for sides up to this many pixels."""


def fit(image: NDArray[np.uint8], size: int = SIZE) -> NDArray[np.uint8]:
    """Stretch an image to a square, each axis by itself.

    A shrinking axis is averaged by area: every new pixel is the mean of the old pixels it covers,
    weighted by the covered fraction (OpenCV's ``INTER_AREA``). A growing axis is interpolated
    linearly between pixel centres (``INTER_LINEAR``). Otherwise an axis is unchanged.

    All sums are integers and rounded once, half up, so every machine returns the same bytes.

    Raises `ValueError` if the image has another shape or type, or `size` is below 1.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    size : int
        New width and height in pixels.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        C-contiguous; always a copy.
    """
    check_rgb(image)
    if size < 1:
        raise ValueError(f"`size` must be at least 1. Received: {size}")
    height, width = image.shape[:2]
    if width > max(height, _KEPT):  # sums are exact, so the order of the axes does not matter
        return np.ascontiguousarray(_fit(image.swapaxes(0, 1), size).swapaxes(0, 1))
    return _fit(image, size)


def _fit(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Fit an image, rows first: sums use ``12 * size * width`` bytes, at most twice as many."""
    row_total, column_total = (_total(length, size) for length in image.shape[:2])
    narrow = _sums(image.reshape(len(image), -1), size, _WHITE * row_total)
    # Columns are processed as rows, so that sums run over adjacent memory. Both transposes are of
    # 2-D arrays: with a colour axis they took half of the total time.
    turned = np.ascontiguousarray(narrow.T).reshape(image.shape[1], -1)
    del narrow
    total = row_total * column_total
    sums = _sums(turned, size, _WHITE * total + total)
    sums += total // 2
    sums //= total
    small = sums.astype(np.uint8).reshape(-1, size)
    return np.ascontiguousarray(small.T).reshape(size, size, 3)


def view(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Return one of the 8 rotations and flips of an image.

    Cells on a slide have no orientation, so all eight are equally valid: they augment the training
    images without interpolation.

    Raises `ValueError` if `index` is not 0 to 7.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    index : int
        0 is the image itself; 1, 2 and 3 are rotated by as many quarter turns counter-clockwise;
        4 to 7 are 0 to 3 mirrored left to right.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3) or (W, H, 3)
        C-contiguous.
    """
    if not 0 <= index < _VIEWS:
        raise ValueError(f"`index` must be 0 to {_VIEWS - 1}. Received: {index}")
    turned = np.rot90(image, index % 4)
    return np.ascontiguousarray(turned[:, ::-1] if index >= _VIEWS // 2 else turned)


def check_rgb(image: NDArray[Any]) -> None:
    """Raise `ValueError` unless the array is RGB uint8 (H, W, 3) with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            "`image` must be RGB uint8 of shape (H, W, 3). "
            f"Received: {image.dtype} of shape {image.shape}"
        )


def _total(length: int, size: int) -> int:
    """Return the sum of the weights of `_step`."""
    return (length if size < length else 2 * size) // _common(length, size)


def _sums(rows: NDArray[Any], size: int, largest: int) -> NDArray[Any]:
    """Sum weighted rows (length, M) to (size, M); `largest` is the largest possible sum.

    Bands keep the sums in the CPU's cache.
    """
    dtype = next(kind for kind in (np.uint16, np.int32, np.int64) if largest <= np.iinfo(kind).max)
    length, width = rows.shape
    result = np.empty((size, width), dtype)
    band = max(1, _BAND // width)
    # Buffers are reused: new arrays for every step took half of the total time.
    taken, part = (np.empty((min(band, size), width), kind) for kind in (rows.dtype, dtype))
    for top in range(0, size, band):
        sums = result[top : top + band]
        some, more = taken[: len(sums)], part[: len(sums)]
        for index, (pixels, weights) in enumerate(_steps(length, size, slice(top, top + band))):
            np.take(rows, pixels, axis=0, out=some, mode="clip")  # other modes copy
            scales = weights.astype(dtype)[:, None]
            np.multiply(some, scales, out=more if index else sums, dtype=dtype)
            if index:
                sums += more
    return result


_Step: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]


def _steps(length: int, size: int, wanted: slice) -> Iterator[_Step]:
    """Yield the old pixels of the wanted new ones and their weights, one step at a time.

    Weights are the smallest possible integers, so that sums need few bits.
    """
    if max(length, size) <= _KEPT:
        for pixels, weights in _kept_steps(length, size):
            yield pixels[wanted], weights[wanted]
        return
    new = np.arange(size)[wanted]
    for index in range(_count(length, size)):
        yield _step(new, index, length, size)


@lru_cache(maxsize=64)  # at most 200 kB each (`_KEPT`), 13 MB together
def _kept_steps(length: int, size: int) -> tuple[_Step, ...]:
    steps = tuple(_step(np.arange(size), k, length, size) for k in range(_count(length, size)))
    for array in chain.from_iterable(steps):
        array.setflags(write=False)
    return steps


def _count(length: int, size: int) -> int:
    """Return the maximum number of old pixels per new pixel."""
    return -(-length // size) + 1 if size < length else 2


def _common(length: int, size: int) -> int:
    """Return the greatest common divisor of the weights of `_area` and `_linear`."""
    if size < length:
        return math.gcd(length, size)
    return math.gcd(2 * size, 2 * length, length - size)


def _step(new: NDArray[np.intp], index: int, length: int, size: int) -> _Step:
    pixels, weights = (_area if size < length else _linear)(new, index, length, size)
    return np.clip(pixels, 0, length - 1), weights // _common(length, size)


def _area(new: NDArray[np.intp], index: int, length: int, size: int) -> _Step:
    """Return an old pixel covered by each new one, and the covered part in 1/`size` pixels."""
    start = new * length
    pixels = start // size + index
    covered = np.minimum(start + length, (pixels + 1) * size) - np.maximum(start, pixels * size)
    return pixels, np.maximum(covered, 0)


def _linear(new: NDArray[np.intp], index: int, length: int, size: int) -> _Step:
    """Return an old pixel next to each new centre, and its weight in units of 1/(2 `size`)."""
    before, beyond = np.divmod((2 * new + 1) * length - size, 2 * size)
    return before + index, beyond if index else 2 * size - beyond


def mean_colours(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean red, green and blue of images, shape (N, 3), 0 to 255.

    `images` have the shape (N, H, W, 3).
    """
    height, width = images.shape[1:3]
    # Two sums of narrow integers are exact and twenty times as fast as a mean of floats. 16 bits
    # are enough for the sum of a column of up to 257 pixels.
    narrow = np.uint16 if height <= 257 else np.uint32
    columns = images.sum(axis=1, dtype=narrow)
    sums = columns.sum(axis=1, dtype=np.uint64)
    return np.asarray(sums / (height * width), np.float64)
