"""The one resize, and the eight views of a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIZE", "check_rgb", "fit", "view"]

SIZE = 224
"""Width and height of the model's input in pixels (MobileNetV2's own)."""

_VIEWS = 8


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
    # The largest sum is 255 times both totals, each at most twice the longer length.
    largest = 255 * 4 * max(image.shape[0], size) * max(image.shape[1], size)
    dtype = np.int32 if largest < 2**31 else np.int64
    rows, row_total = _resize_rows(image, size, dtype)
    turned = np.ascontiguousarray(rows.swapaxes(0, 1))
    columns, column_total = _resize_rows(turned, size, dtype)
    total = row_total * column_total
    columns += total // 2
    columns //= total
    return np.ascontiguousarray(columns.astype(np.uint8).swapaxes(0, 1))


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


def _resize_rows(
    image: NDArray[Any], size: int, dtype: type[np.signedinteger[Any]]
) -> tuple[NDArray[Any], int]:
    """Weigh and sum rows; the result is in units of one over the total that is returned."""
    pixels, weights, total = (_area if size < len(image) else _linear)(len(image), size)
    rows = image.reshape(len(image), -1)
    weights = weights.astype(dtype)[..., None]
    result = np.multiply(rows[pixels[0]], weights[0], dtype=dtype)
    part = np.empty_like(result)
    for pixel, weight in zip(pixels[1:], weights[1:], strict=True):
        np.multiply(rows[pixel], weight, out=part, dtype=dtype)
        result += part
    return result.reshape(size, *image.shape[1:]), total


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
