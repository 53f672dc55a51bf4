"""White balance: the first thing a model does with an image.

Laboratories differ in lamp, filter and camera before they differ in stain. Each channel is scaled
so that the brightest patch of the image, which is background in nearly every cell image, gets the
same value `WHITE` in all three (the "white patch" of Land and McCann 1971, "Lightness and retinex
theory", on means over patches, which noise and dust do not move). It is in the saved model, as the
scaling is, so that no door can forget it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DARKEST_WHITE", "PATCHES", "WHITE", "white_balanced"]

PATCHES = 14
"""Patches along a side; at 224 pixels each is 16x16."""

WHITE = 235.0
"""What the brightest patch becomes in each channel, of 255."""

DARKEST_WHITE = 60.0
"""Patches darker than this are not taken for background: no image gets brighter than 235/60."""


def white_balanced(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Balance images as the models do; for tests and pictures, the models do it themselves.

    Parameters
    ----------
    images : array of uint8, (N, S, S, 3)
        RGB; S is a multiple of `PATCHES`.

    Returns
    -------
    array of float32, (N, S, S, 3)
        0 to 255: ``min(255, image * WHITE / max(DARKEST_WHITE, brightest patch))``.
    """
    n, size = images.shape[:2]
    patch = size // PATCHES
    pixels = images.astype(np.float32)
    patches = pixels.reshape(n, PATCHES, patch, PATCHES, patch, 3).mean(axis=(2, 4))
    brightest = patches.max(axis=(1, 2), keepdims=True)
    balanced = pixels * (WHITE / np.maximum(brightest, DARKEST_WHITE))
    return np.asarray(np.minimum(balanced, 255), np.float32)
