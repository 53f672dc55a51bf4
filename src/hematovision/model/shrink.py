"""Shrinking: images are 224 pixels wide everywhere; a network may see them smaller.

How sharp a cell is depends on the laboratory's camera, and what is left of that in a smaller image
is less (decision 7). The network's side belongs to its weights; shrinking is in the saved model, as
white balance and scaling are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hematovision.model.architecture import INPUT_SIZE

__all__ = ["shrinking"]


@lru_cache(maxsize=8)  # at most 200 kB each
def shrinking(side: int) -> NDArray[np.float32]:
    """Return the matrix that averages the 224 pixels of a row by area, the rule of `images.fit`.

    Parameters
    ----------
    side : int
        1 to `INPUT_SIZE`.

    Returns
    -------
    array of float32, (side, INPUT_SIZE)
        Row i holds the share of each old pixel in the new pixel i; rows sum to 1. An image is
        shrunk by ``matrix @ plane @ matrix.T``.
    """
    ratio = INPUT_SIZE / side
    begins = np.arange(side)[:, None] * ratio
    pixels = np.arange(INPUT_SIZE)[None, :]
    overlap = np.minimum(begins + ratio, pixels + 1) - np.maximum(begins, pixels)
    matrix: NDArray[np.float32] = (overlap.clip(0, None) / ratio).astype(np.float32)
    matrix.setflags(write=False)
    return matrix
