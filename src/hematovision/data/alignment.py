"""Whether two thumbnails are one picture, framed a little differently.

Cells look alike: two lymphocytes on a pale ground are closer to each other in any coarse hash than
a lymphocyte is to its own cropped copy. So a candidate pair is laid over each other first (a scale
and a shift along each axis, by least squares: Lucas & Kanade 1981, "An iterative image registration
technique with an application to stereo vision", IJCAI, section 4) and only then compared, by two
correlations: of the whole luminance, and of what remains when everything smooth is taken away
(edges, granules, the neighbours at the rim), which different cells do not share.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_WARP", "align", "correlate", "detail"]

Stack: TypeAlias = NDArray[np.float32]
"""Thumbnails, shape (N, S, S)."""

MAX_WARP = 0.16
"""Bound on each warp parameter: 5 % off both sides is a scale of 0.10, 5 % off one side a scale and
a shift of 0.05 each. Beyond the bound, two pictures are at best of the same place."""

_STEPS = 5
_STEPS_BEFORE_GIVING_UP = 2
_HOPELESS = 0.85
_BLUR = 2.0
_TINY = 1e-6


def correlate(first: Stack, second: Stack, warps: Stack) -> Stack:
    """Return Pearson's correlation of `second` with the warped `first`, where both have pixels.

    Parameters
    ----------
    first, second : ndarray of float32, shape (N, S, S)
    warps : ndarray of float32, shape (N, 4)
        As `align` returns them; zeros compare the pictures as they are.

    Returns
    -------
    ndarray of float32, shape (N,)
    """
    warped, inside = _warp(first, warps)
    product = _standardise(warped, inside)[0] * _standardise(second, inside)[0]
    return _mean(product, inside)[:, 0, 0]


def align(first: Stack, second: Stack) -> Stack:
    """Find the scale and shift along each axis that lay `first` over `second`.

    Parameters
    ----------
    first, second : ndarray of float32, shape (N, S, S)

    Returns
    -------
    ndarray of float32, shape (N, 4)
        ``(scale_x - 1, shift_x, scale_y - 1, shift_y)``, shifts in half widths of the thumbnail.
        Pairs that correlate with less than 0.85 after two steps are left there: hardly any
        pictures of one cell are.
    """
    warps = np.zeros((len(first), 4), dtype=np.float32)
    warps = _refine(first, second, warps, _STEPS_BEFORE_GIVING_UP)
    hopeful = np.flatnonzero(correlate(first, second, warps) >= _HOPELESS)
    warps[hopeful] = _refine(
        first[hopeful], second[hopeful], warps[hopeful], _STEPS - _STEPS_BEFORE_GIVING_UP
    )
    return warps


def detail(thumbnails: Stack) -> Stack:
    """Take away what is smooth: each thumbnail less its Gaussian blur of 2 pixels."""
    reach = int(3 * _BLUR)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * _BLUR**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    size = thumbnails.shape[1]
    # As a matrix, with the border pixel repeated outwards: one product per axis.
    matrix: Stack = np.zeros((size, size), dtype=np.float32)
    for offset, weight in enumerate(kernel):
        columns = np.clip(np.arange(size) + offset - reach, 0, size - 1)
        np.add.at(matrix, (np.arange(size), columns), weight)
    return np.asarray(thumbnails - matrix @ thumbnails @ matrix.T, dtype=np.float32)


def _refine(first: Stack, second: Stack, warps: Stack, steps: int) -> Stack:
    count, size, _ = first.shape
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    # A light ridge: a blank or one-dimensional picture leaves some parameters without evidence.
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
    """Resample bilinearly; the second result is 1 where the source has pixels, else 0."""
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
