"""An image with the places at which a model looked, to be seen by people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hematovision.model.explain import hottest_point, upsample

__all__ = ["MAX_SIDE", "MIN_SIDE", "colour_of", "draw_overlay"]

MAX_SIDE = 1024
"""Pixels of the longer side above which an image is reduced."""

MIN_SIDE = 256
"""Pixels of the longer side below which an image is enlarged: a crop of 30 pixels shows nothing."""

# Viridis (S. van der Walt and N. Smith 2015, released into the public domain under CC0) at nine
# even steps. It is perceptually uniform, rises in lightness throughout, and holds for colour-blind
# eyes and in grey; its green and yellow are colours that no common blood stain has.
_VIRIDIS = (
    (68, 1, 84),
    (71, 44, 122),
    (59, 81, 139),
    (44, 113, 142),
    (33, 144, 141),
    (39, 173, 129),
    (92, 200, 99),
    (170, 220, 50),
    (253, 231, 37),
)

_STRENGTH = 0.6  # Opacity of the hottest colour: the cell must be seen through it.
_INK, _PAPER = (40, 40, 48), (255, 255, 255)


def colour_of(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colour of each value from 0 (dark violet) to 1 (yellow).

    Parameters
    ----------
    heat : array of float32, (...)

    Returns
    -------
    array of float32, (..., 3)
        RGB, 0 to 255.
    """
    steps = np.linspace(0, 1, len(_VIRIDIS))
    channels = [np.interp(heat, steps, channel) for channel in zip(*_VIRIDIS, strict=True)]
    return np.stack(channels, axis=-1).astype(np.float32)


def draw_overlay(
    image: NDArray[np.uint8], attention: NDArray[np.float32], caption: str = ""
) -> NDArray[np.uint8]:
    """Draw where a model looked over the image, with a ring around the hottest point.

    The colour goes from clear, where nothing spoke for the answer, over green to yellow at the
    hottest point; it compares places of this image, not images with one another. An image of more
    than 1024 pixels at its longer side is reduced to that, one below 256 enlarged.

    Parameters
    ----------
    image : array of uint8, (H, W, 3)
        RGB, as `images.read` gives it: the whole image that was answered.
    attention : array of float32, (M, M)
        From `Classifier.explain`, `Classifier.attention` or `explain.grad_cam`.
    caption : str
        One line to put below; cut where it is too long. Nothing is added without it.

    Returns
    -------
    array of uint8, (height, width, 3)
        RGB.
    """
    picture = _sized(image)
    height, width = picture.shape[:2]
    point = hottest_point(attention)
    if point is not None:
        heat = upsample(attention, height, width)
        picture = _blend(picture, heat / heat.max())
        _ring(picture, point[0] * width, point[1] * height)
    pixels = np.rint(picture).astype(np.uint8)
    return np.concatenate([pixels, _strip(caption, width, height)]) if caption else pixels


def _sized(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    longer = max(height, width)
    scale = np.clip(longer, MIN_SIDE, MAX_SIDE) / longer
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(np.ascontiguousarray(image))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(picture, np.float32)


def _blend(picture: NDArray[np.float32], heat: NDArray[np.float32]) -> NDArray[np.float32]:
    opacity = (_STRENGTH * heat)[..., None]
    return picture + opacity * (colour_of(heat) - picture)


def _ring(picture: NDArray[np.float32], x: float, y: float) -> None:
    """Draw a white ring with a dark edge, which shows on any ground; in place, smooth."""
    height, width = picture.shape[:2]
    radius = max(height, width) / 48 + 3
    thickness = radius / 4
    top, left = max(0, int(y - 2 * radius)), max(0, int(x - 2 * radius))
    part = picture[top : int(y + 2 * radius) + 1, left : int(x + 2 * radius) + 1]
    rows, columns = np.indices(part.shape[:2], dtype=np.float32)
    distance = np.hypot(columns + (left + 0.5 - x), rows + (top + 0.5 - y))
    for colour, half in ((_INK, thickness), (_PAPER, thickness / 2)):
        cover = np.clip(half + 0.5 - np.abs(distance - radius), 0, 1)[..., None]
        part += cover * (np.asarray(colour, np.float32) - part)


def _strip(caption: str, width: int, height: int) -> NDArray[np.uint8]:
    """Return the caption on white, as wide as the picture."""
    size = max(12, max(width, height) // 28)
    font = ImageFont.load_default(size)
    strip = Image.new("RGB", (width, round(size * 1.9)), _PAPER)
    margin = size // 2
    room = width - 2 * margin
    text = caption
    while text and font.getlength(text) > room:
        text = text[:-2] + "…" if len(text) > 2 else ""
    middle = strip.height / 2
    ImageDraw.Draw(strip).text((margin, middle), text, fill=_INK, font=font, anchor="lm")
    return np.asarray(strip, np.uint8)
