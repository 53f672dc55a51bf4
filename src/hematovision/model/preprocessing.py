"""The first layers of every model: white balance and downsampling.

Labs differ in lamp, filter and camera. The brightest patch is background in nearly every cell
image; each channel is scaled so that this patch gets the value `WHITE`. This is the "white patch"
of Land and McCann 1971, "Lightness and retinex theory", on means over patches, which are robust to
noise and dust.

Images are 224 pixels wide; the network may see them smaller. Sharpness depends on the lab's camera
and matters less in smaller images (decision 7). The network's side is stored with its weights.

Both steps are part of the saved model, so no entry point can omit them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.model.network import INPUT_SIZE

__all__ = [
    "DARKEST_WHITE", "PATCHES", "WHITE", "rebalanced", "shrinking", "white_balanced", "white_point",
]  # fmt: skip

PATCHES = 14
"""Patches per side; at 224 pixels each has 16x16 pixels."""

WHITE = 235.0
"""The brightest patch's value in each channel after balancing, out of 255."""

DARKEST_WHITE = 60.0
"""Darker patches do not count as background: the largest gain is 235/60."""

_COPY = 512
_BACKGROUND = 97.0


def white_balanced(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """White-balance images like the graphs; for tests and figures.

    ``min(255, image * WHITE / max(DARKEST_WHITE, brightest patch))``: uint8 RGB (N, S, S, 3) to
    float32, where S is a multiple of `PATCHES`.
    """
    n, size = images.shape[:2]
    patch = size // PATCHES
    pixels = images.astype(np.float32)
    patches = pixels.reshape(n, PATCHES, patch, PATCHES, patch, 3).mean(axis=(2, 4))
    brightest = patches.max(axis=(1, 2), keepdims=True)
    balanced = pixels * (WHITE / np.maximum(brightest, DARKEST_WHITE))
    return np.asarray(np.minimum(balanced, 255), np.float32)


def white_point(field: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the background's value in each channel of a field, float32 (3,), in 0 to 255.

    It is the 97th percentile of a copy of at most 512 pixels on the longer side, which does not
    depend on the size of the cells. A field is white-balanced once, before it is cut into tiles.
    """
    image = Image.fromarray(field)
    image.thumbnail((_COPY, _COPY), Image.Resampling.BOX, reducing_gap=None)
    point = np.percentile(np.asarray(image).reshape(-1, 3), _BACKGROUND, axis=0)
    return np.asarray(point, np.float32)


def rebalanced(field: NDArray[np.uint8], white: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale each channel of a field so that `white` (see `white_point`) becomes `WHITE`.

    Channels darker than `DARKEST_WHITE` are scaled as if they had that value.
    """
    gain = WHITE / np.maximum(white, DARKEST_WHITE)
    tables = np.rint(np.minimum(np.arange(256)[:, None] * gain, 255)).astype(np.uint8)
    return np.stack([tables[field[..., c], c] for c in range(3)], axis=-1)


@lru_cache(maxsize=8)  # at most 200 kB each
def shrinking(side: int) -> NDArray[np.float32]:
    """Return the matrix that downsamples a row of 224 pixels by area averaging.

    Row i of the matrix, float32 (side, INPUT_SIZE), has the share of each old pixel in the new
    pixel i; rows sum to 1. An image is shrunk by ``matrix @ plane @ matrix.T``.
    """
    ratio = INPUT_SIZE / side
    begins = np.arange(side)[:, None] * ratio
    pixels = np.arange(INPUT_SIZE)[None, :]
    overlap = np.minimum(begins + ratio, pixels + 1) - np.maximum(begins, pixels)
    matrix: NDArray[np.float32] = (overlap.clip(0, None) / ratio).astype(np.float32)
    matrix.setflags(write=False)
    return matrix
