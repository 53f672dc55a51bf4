"""The one resize, and the eight views of a cell."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZE", "check_rgb", "fit", "view"]

SIZE = 224
"""Width and height of the model's input in pixels (MobileNetV2's own)."""

_VIEWS = 8
_WHITE = 255

_BAND = 2**18
"""Sums that are made together: 1 MB, which stays in a processor's cache."""


def fit(image: NDArray[np.uint8], size: int = SIZE) -> NDArray[np.uint8]:
    """Stretch an image to a square, each axis by itself.

    An axis that shrinks is averaged by area: every new pixel is the mean of the stretch of old
    ones it covers, those at its ends counted by the part covered (the rule of OpenCV's
    ``INTER_AREA``; for whole factors the mean of blocks). An axis that grows is interpolated
    linearly between pixel centres (``INTER_LINEAR``). An axis that fits stays as it is.

    All sums are whole numbers and rounded once, half up, so every machine gives the same bytes.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    size : int
        New width and height in pixels.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        C-contiguous, and never the input itself.

    Raises
    ------
    ValueError
        If the image is of another shape or type, or `size` is below 1.
    """
    check_rgb(image)
    if size < 1:
        raise ValueError(f"`size` must be at least 1. Received: {size}")
    (rows, row_weights, row_total), (columns, column_weights, column_total) = (
        _plan(length, size) for length in image.shape[:2]
    )
    narrow = _sums(image.reshape(len(image), -1), rows, row_weights, _WHITE * row_total)
    # Columns are weighed as rows, so that sums run over what lies together in memory. Both turns
    # are of plain tables: with the colours as an axis of their own they took half the time of all.
    turned = np.ascontiguousarray(narrow.T).reshape(image.shape[1], -1)
    total = row_total * column_total
    sums = _sums(turned, columns, column_weights, _WHITE * total + total)
    sums += total // 2
    sums //= total
    small = sums.astype(np.uint8).reshape(-1, size)
    return np.ascontiguousarray(small.T).reshape(size, size, 3)


def view(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Return one of the 8 rotations and flips of an image.

    A cell on a slide has no up and no left, so all eight are equally true: they serve as
    augmentation without a single interpolated pixel.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    index : int
        0 is the image itself; 1, 2 and 3 are turned by as many quarters counter-clockwise;
        4 to 7 are 0 to 3 mirrored left to right.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3) or (W, H, 3)
        C-contiguous.

    Raises
    ------
    ValueError
        If `index` is not 0 to 7.
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


@lru_cache(maxsize=64)
def _plan(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Return which old pixels each new one is made of, their weights, and the weights' total.

    Both arrays are (most, size): as many old pixels as the widest new one needs. Weights are whole
    numbers as small as can be, so that the sums need few bits.
    """
    pixels, weights, total = (_area if size < length else _linear)(length, size)
    common = math.gcd(total, *weights.ravel().tolist())
    weights //= common
    pixels.setflags(write=False)
    weights.setflags(write=False)
    return pixels, weights, total // common


def _sums(
    rows: NDArray[Any], pixels: NDArray[np.intp], weights: NDArray[np.intp], largest: int
) -> NDArray[Any]:
    """Weigh rows (length, M) and sum them to (size, M); `largest` is the largest sum there can be.

    In bands, so that what is added up stays in the processor's cache.
    """
    dtype = next(kind for kind in (np.uint16, np.int32, np.int64) if largest <= np.iinfo(kind).max)
    scales = weights.astype(dtype)[..., None]
    size, width = pixels.shape[1], rows.shape[1]
    result = np.empty((size, width), dtype)
    band = max(1, _BAND // width)
    part = np.empty((min(band, size), width), dtype)
    for top in range(0, size, band):
        sums, wanted = result[top : top + band], slice(top, top + band)
        np.multiply(rows[pixels[0, wanted]], scales[0, wanted], out=sums, dtype=dtype)
        for pixel, scale in zip(pixels[1:, wanted], scales[1:, wanted], strict=True):
            sums += np.multiply(rows[pixel], scale, out=part[: len(sums)], dtype=dtype)
    return result


def _area(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Which old pixels each new one covers, and by how much, in units of 1/`size` old pixels."""
    start = np.arange(size) * length
    most = -(-length // size) + 1
    pixels = start // size + np.arange(most)[:, None]
    covered = np.minimum(start + length, (pixels + 1) * size) - np.maximum(start, pixels * size)
    return np.minimum(pixels, length - 1), np.maximum(covered, 0), length


def _linear(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Between which old pixels each new centre lies, and how near, in units of 1/(2 `size`)."""
    centre = (2 * np.arange(size) + 1) * length - size
    before, beyond = np.divmod(centre, 2 * size)
    pixels = np.clip(np.stack([before, before + 1]), 0, length - 1)
    return pixels, np.stack([2 * size - beyond, beyond]), 2 * size
