"""The field score: the probability that an image shows a whole field, not a single cell.

A classifier gives every image one class. A field has many cells, and needs `hematovision analyze`.
The score is computed inside the graph by a small convolutional network, independent of the
backbone: images of 56 pixels, three convolutions of stride 2 and a dense layer, 36,000 weights, and
3% of MobileNetV2's multiplications at 128 pixels. ``recipes/whole_fields`` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.model.preprocessing import DARKEST_WHITE, PATCHES, WHITE

__all__ = ["SHRINK", "FieldScore", "bundled_field_score", "view_of"]

SHRINK = 4
"""The network's pixels are means of 4x4 pixels of the input."""

_FILE = Path(__file__).resolve().parents[1] / "models" / "field_score.npz"


class FieldScore(NamedTuple):
    """The weights of the network."""

    # kernel (out, in, 3, 3) and bias (out,) of each convolution: stride 2, padding 1, then ReLU
    convolutions: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    kernel: NDArray[np.float32]  # (C * H * W, 1): the dense layer
    bias: NDArray[np.float32]  # (1,)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float32]]) -> FieldScore:
        """Restore the network from `arrays()`; raises `KeyError` if one is missing."""
        depth = sum(name.endswith("/kernel") for name in arrays) - 1
        pairs = tuple((arrays[f"{i}/kernel"], arrays[f"{i}/bias"]) for i in range(depth))
        return cls(pairs, arrays["dense/kernel"], arrays["dense/bias"])

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights by name, for files and graphs."""
        found = {"dense/kernel": self.kernel, "dense/bias": self.bias}
        for number, (kernel, bias) in enumerate(self.convolutions):
            found |= {f"{number}/kernel": kernel, f"{number}/bias": bias}
        return found

    def score(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores (N,), 0 to 1, of images uint8 RGB (N, 224, 224, 3)."""
        return self.score_views(view_of(images))

    def score_views(self, views: NDArray[np.number]) -> NDArray[np.float32]:
        """Return the scores (N,) of images as `view_of` returns them."""
        value = (views.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)
        for kernel, bias in self.convolutions:
            value = np.maximum(_convolved(value, kernel) + bias[:, None, None], 0)
        logits = value.reshape(len(value), -1) @ self.kernel + self.bias
        return np.asarray(1 / (1 + np.exp(-logits[:, 0])), np.float32)


def view_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images as the network sees them, shrunk and white-balanced, 0 to 255.

    uint8 RGB (N, S, S, 3) to float32 (N, S / 4, S / 4, 3). The gains are those of
    `preprocessing.white_balanced`.
    """
    n, side = len(images), images.shape[1] // SHRINK
    small = images.reshape(n, side, SHRINK, side, SHRINK, 3).mean(axis=(2, 4), dtype=np.float32)
    patch = images.shape[1] // PATCHES // SHRINK
    patches = small.reshape(n, PATCHES, patch, PATCHES, patch, 3).mean(axis=(2, 4))
    brightest = patches.max(axis=(1, 2), keepdims=True)
    balanced = small * (WHITE / np.maximum(brightest, DARKEST_WHITE))
    return np.asarray(np.minimum(balanced, 255), np.float32)


@lru_cache(maxsize=1)
def bundled_field_score() -> FieldScore:
    """Return the weights of the package."""
    with np.load(_FILE, allow_pickle=False) as arrays:
        return FieldScore.from_arrays({name: arrays[name] for name in arrays.files})


def _convolved(planes: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve (N, C, S, S) by 3x3 kernels, stride 2, padding 1."""
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    return np.asarray(np.einsum("nchwij,ocij->nohw", windows, kernel, optimize=True), np.float32)
