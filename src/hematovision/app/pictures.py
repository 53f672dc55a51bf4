"""Images as a browser can show them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision import images
from hematovision.model.classifier import Classifier
from hematovision.model.overlay import draw_overlay

__all__ = ["heat_picture", "plain_picture"]

_SHOWN_AS_IT_IS = {b"\x89PNG\r\n\x1a\n": 8, b"\xff\xd8\xff": 3}
_SIDE = 512
_SMALL = 300_000  # Bytes: larger files are shown reduced.


def plain_picture(content: bytes) -> bytes | NDArray[np.uint8]:
    """Return an image file as it is where browsers show it, else its pixels, reduced."""
    is_known = any(content.startswith(start) for start in _SHOWN_AS_IT_IS)
    if is_known and len(content) <= _SMALL:
        return content
    reduced = Image.fromarray(images.read(content))
    reduced.thumbnail((_SIDE, _SIDE))
    return np.asarray(reduced)


def heat_picture(classifier: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image with the places at which a model looked.

    Parameters
    ----------
    classifier : Classifier
        One that `explains`.
    pixels : array of uint8, (H, W, 3)
    """
    attention = classifier.attention(images.fit(pixels, classifier.size)[None])[0]
    return draw_overlay(pixels, attention)
