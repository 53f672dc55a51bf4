"""Explanation maps: Grad-CAM in closed form, from the last feature map and the head.

Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", equations 1 and 2) weights each channel of the last feature map by the
gradient of a class's logit and keeps positive evidence. Only global average pooling and dense
layers with ReLU follow that map, so the gradients are products of the head's kernels; no training
framework is needed. The ONNX graph computes the same for the most probable class, as its output
``attention``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hematovision.model.head import Head
from hematovision.model.network import INPUT_SIZE

__all__ = [
    "LEAN", "MAX_SIDE", "MIN_SIDE", "both_ways", "colour_of", "draw_overlay", "grad_cam",
    "hottest_point", "logit_slopes", "placed", "upsample",
]  # fmt: skip

LEAN = 0.25
"""Shift of a map cell's receptive field, down and to the right of its centre, in map cells.

The five convolutions of stride 2 are padded below and on the right only. That alone would shift it
by 15.5 input pixels, 0.48 map cells; trained kernels compensate for some of it. Of 0, 0.25 and
0.48, 0.25 puts the largest share of the map into the white cells' boxes
(`benchmarks/explanations.py`, on its training split).
"""

_FINER = 4  # upsampling factor of `both_ways`; larger factors add no detail
_PLACED = 64  # side of the result of `placed`: a map of the network has 4 or 7, upsampled 16 or 28
_MARGIN = 2  # cells added at the borders, the reach of the bicubic filter


def logit_slopes(
    head: Head, features: NDArray[np.float32], classes: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the gradient of a class's logit with respect to the features.

    With hidden layers ``h1 = relu(f W1 + b1)``, ... and ``logits = h W + b``, the gradient of logit
    c is ``W1 (m1 * (W2 (m2 * ... W[:, c])))``; ``m`` is 1 for hidden units above 0, else 0.

    `classes` (N,) are those of the logits. Features and result are float32, shape (N, D).
    """
    value, passed = np.asarray(features, np.float32), []
    for kernel, bias in head.layers[:-1]:
        value = np.maximum(value @ kernel + bias, np.float32(0))
        passed.append(value > 0)
    slopes = head.layers[-1][0].T[np.asarray(classes)]
    for (kernel, _), mask in zip(head.layers[-2::-1], reversed(passed), strict=True):
        slopes = (slopes * mask) @ kernel.T
    return np.asarray(slopes, np.float32)


def grad_cam(
    head: Head, feature_map: NDArray[np.float32], classes: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the evidence for a class at each position of the feature map.

    With the gradient ``s`` (`logit_slopes`) and the feature map ``A``, the value at (i, j) is
    ``relu(sum_k s_k A_ijk) / M^2``: the positive contribution of that position to the logit.

    `feature_map` (N, M, M, D) is from `Classifier.feature_maps`; `classes` (N,) are those to
    explain, usually the predicted ones. The result is float32 (N, M, M), in units of logits; row 0,
    column 0 is the image's upper left corner.
    """
    _, height, width, _ = feature_map.shape
    slopes = logit_slopes(head, feature_map.mean(axis=(1, 2)), classes)
    evidence = np.einsum("nijk,nk->nij", feature_map, slopes) / np.float32(height * width)
    return np.asarray(np.maximum(evidence, 0), np.float32)


def upsample(attention: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize a map to the size of an image (bicubic, clipped at 0).

    `attention` (M, M) is a map of `grad_cam`, of the whole image stretched to a square. The result
    is float32 (height, width), in the same units.
    """
    rows, columns = attention.shape
    # Without the margin the bicubic filter would shift the border by half a map cell.
    wide = np.pad(np.asarray(attention, np.float32), _MARGIN, mode="edge")
    start = _MARGIN - LEAN
    box = (start, start, start + columns, start + rows)
    smooth = Image.fromarray(wide).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.maximum(np.asarray(smooth, np.float32), np.float32(0))


def both_ways(
    attention: NDArray[np.float32], turned: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the mean of the maps of an image and its 180-degree rotation, upsampled four times.

    Receptive fields are shifted to the lower right of their map cells (`LEAN`). In the rotated
    image they are shifted to the upper left, so the mean has no offset.

    `attention` and `turned` (M, M) are maps of `grad_cam`; `turned`, that of the half turn, is None
    if it has another class. The result is float32 (4 M, 4 M).
    """
    rows, columns = (_FINER * length for length in attention.shape)
    one = upsample(attention, rows, columns)
    if turned is None:
        return one
    other = upsample(turned, rows, columns)[::-1, ::-1]
    return np.asarray((one + other) / 2, np.float32)


def placed(
    attention: NDArray[np.float32],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the map of an image of which the model saw a part; 0 outside that part.

    `attention` (M, M) is the map of the part, `box` the part as (x_min, y_min, x_max, y_max) in
    pixels of the image, which may reach beyond it, and `size` height and width of the image. The
    result is float32 (K, K), a map of the whole image stretched to a square.
    """
    fine = upsample(attention, _PLACED, _PLACED)
    place = (np.arange(_PLACED) + 0.5) / _PLACED
    x, y = (
        np.floor((place * side - low) / (high - low) * _PLACED).astype(int)
        for side, low, high in ((size[1], box[0], box[2]), (size[0], box[1], box[3]))
    )
    seen_x, seen_y = ((axis >= 0) & (axis < _PLACED) for axis in (x, y))
    whole = np.zeros((_PLACED, _PLACED), np.float32)
    whole[np.ix_(seen_y, seen_x)] = fine[np.ix_(y[seen_y], x[seen_x])]
    return whole


def hottest_point(attention: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return the position of a map's peak.

    `attention` (M, M) is a map of `grad_cam`. Returns x and y as fractions of the image's width and
    height, from its upper left corner; None if the map is 0 throughout.
    """
    smooth = upsample(attention, INPUT_SIZE, INPUT_SIZE)
    row, column = divmod(int(smooth.argmax()), INPUT_SIZE)
    if not smooth[row, column] > 0:
        return None
    return (column + 0.5) / INPUT_SIZE, (row + 0.5) / INPUT_SIZE


MAX_SIDE = 1024
"""Larger images are reduced to this longer side, in pixels."""

MIN_SIDE = 256
"""Smaller images are enlarged to this longer side; a 30-pixel overlay would be unreadable."""

# Viridis (S. van der Walt and N. Smith 2015, released into the public domain under CC0) at nine
# even steps. It is perceptually uniform, increases in lightness, and is readable in greyscale and
# with colour blindness. No common blood stain is green or yellow.
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

_STRENGTH = 0.6  # Opacity at the peak: the cell must stay visible.
_INK, _PAPER = (40, 40, 48), (255, 255, 255)


def colour_of(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colour of each value from 0 (dark violet) to 1 (yellow).

    The result has a last axis of red, green and blue, 0 to 255.
    """
    steps = np.linspace(0, 1, len(_VIRIDIS))
    channels = [np.interp(heat, steps, channel) for channel in zip(*_VIRIDIS, strict=True)]
    return np.stack(channels, axis=-1).astype(np.float32)


def draw_overlay(
    image: NDArray[np.uint8], attention: NDArray[np.float32], caption: str = ""
) -> NDArray[np.uint8]:
    """Draw an explanation map over the image, with a ring around its peak.

    The overlay is transparent without evidence for the class and yellow at the peak. Each map is
    scaled to its own peak, so colours cannot be compared between images. The longer side is
    reduced to 1024 pixels or enlarged to 256.

    `image` is the whole image, RGB uint8 (H, W, 3), and `attention` its map, float32 (M, M).
    `caption` is one line below the image, cut if it is too long. Returns RGB.
    """
    base = _sized(image)
    height, width = base.shape[:2]
    point = hottest_point(attention)
    if point is not None:
        heat = upsample(attention, height, width)
        base = _blend(base, heat / heat.max())
        _ring(base, point[0] * width, point[1] * height)
    pixels = np.rint(base).astype(np.uint8)
    return np.concatenate([pixels, _strip(caption, width, height)]) if caption else pixels


def _sized(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    longer = max(height, width)
    scale = np.clip(longer, MIN_SIDE, MAX_SIDE) / longer
    size = max(1, round(width * scale)), max(1, round(height * scale))
    sized = Image.fromarray(np.ascontiguousarray(image))
    if size != sized.size:
        sized = sized.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(sized, np.float32)


def _blend(base: NDArray[np.float32], heat: NDArray[np.float32]) -> NDArray[np.float32]:
    opacity = (_STRENGTH * heat)[..., None]
    return base + opacity * (colour_of(heat) - base)


def _ring(base: NDArray[np.float32], x: float, y: float) -> None:
    """Draw an antialiased white ring with a dark edge, in place."""
    height, width = base.shape[:2]
    radius = max(height, width) / 48 + 3
    thickness = radius / 4
    top, left = max(0, int(y - 2 * radius)), max(0, int(x - 2 * radius))
    part = base[top : int(y + 2 * radius) + 1, left : int(x + 2 * radius) + 1]
    rows, columns = np.indices(part.shape[:2], dtype=np.float32)
    distance = np.hypot(columns + (left + 0.5 - x), rows + (top + 0.5 - y))
    for colour, half in ((_INK, thickness), (_PAPER, thickness / 2)):
        cover = np.clip(half + 0.5 - np.abs(distance - radius), 0, 1)[..., None]
        part += cover * (np.asarray(colour, np.float32) - part)


def _strip(caption: str, width: int, height: int) -> NDArray[np.uint8]:
    """Return the caption on a white strip of the image's width."""
    size = max(12, max(width, height) // 28)
    font = ImageFont.load_default(size)
    strip = Image.new("RGB", (width, round(size * 1.9)), _PAPER)
    margin = size // 2
    available = width - 2 * margin
    text = caption
    while text and font.getlength(text) > available:
        text = text[:-2] + "…" if len(text) > 2 else ""
    middle = strip.height / 2
    ImageDraw.Draw(strip).text((margin, middle), text, fill=_INK, font=font, anchor="lm")
    return np.asarray(strip, np.uint8)
