"""Decoys: images without a cell, which train a model's novelty score.

A network trained only on cells predicts a class for everything. Decoys provide features of images
without cells, without a collection of other images. Some are rendered: even colours, noise, clouds,
text, lines and shapes. Others are training images with the cell destroyed: blurred beyond
recognition, alone or in a crowd, cropped to a corner, or shuffled. Training on synthetic anomalies
generalises to others (Hendrycks, Mazeika & Dietterich 2019, "Deep Anomaly Detection with Outlier
Exposure", arXiv:1812.04606, section 5).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from hematovision import images

__all__ = ["RENDERED", "SPOILT", "render_decoy", "spoil"]

_Image: TypeAlias = NDArray[np.uint8]

_SIDE = images.SIZE
_PAGE = 320  # pixels: scaling down to the input size softens edges
_BLUR = (0.08, 0.3)  # in sides of the image: from no detail to no shape
_CORNER = (0.04, 0.1)  # in sides: the crop rule leaves a twelfth of the side around a cell
_TILES = (4, 9)
_WORDS = (
    "the sample was taken in the morning and kept cool until it was stained counted and seen "
    "by two people who did not know of each other what they wrote down is in the table below"
)


def render_decoy(number: int) -> _Image:
    """Render an image without a cell, uint8 of shape (224, 224, 3).

    The same number yields the same image (for text, with the same version of Pillow), and eleven
    consecutive numbers yield the eleven kinds in `RENDERED`.
    """
    rng = np.random.default_rng((number, 0))
    maker = list(RENDERED.values())[number % len(RENDERED)]
    return _worn(images.fit(maker(rng)), rng)


def spoil(image: _Image, number: int) -> _Image:
    """Destroy the cell in an image of the input size; returns uint8 of shape (224, 224, 3).

    The same number has the same effect, and four consecutive numbers use the four methods in
    `SPOILT`.
    """
    rng = np.random.default_rng((number, 1))
    return images.fit(list(SPOILT.values())[number % len(SPOILT)](image, rng))


def _plain(rng: np.random.Generator) -> _Image:
    return _bytes(np.broadcast_to(_colour(rng), (_SIDE, _SIDE, 3)))


def _sloped(rng: np.random.Generator) -> _Image:
    start, angle = _colour(rng), rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    slope = x * np.cos(angle) + y * np.sin(angle)
    return _bytes(start + rng.normal(0, 0.08, 3) * slope[..., None])


def _grain(rng: np.random.Generator) -> _Image:
    return _bytes(_colour(rng) + rng.normal(0, rng.uniform(0.05, 0.4), (_SIDE, _SIDE, 3)))


def _grey_grain(rng: np.random.Generator) -> _Image:
    cells = _SIDE // int(rng.integers(1, 9))
    return _grown(np.repeat(rng.random((cells, cells, 1)), 3, axis=2), Image.Resampling.NEAREST)


def _clouds(rng: np.random.Generator) -> _Image:
    """Add smooth noise of decreasing scale and strength to a colour."""
    levels = np.zeros((_SIDE, _SIDE, 3))
    for octave in range(2, 7):
        coarse = _grown(rng.random((2**octave, 2**octave, 3)), Image.Resampling.BICUBIC)
        levels += (coarse / 255 - 0.5) * 0.6 ** (octave - 2)
    return _bytes(_colour(rng) + rng.uniform(0.2, 1) * levels)


def _salt_and_pepper(rng: np.random.Generator) -> _Image:
    levels = np.array(np.broadcast_to(_colour(rng), (_SIDE, _SIDE, 3)))
    chance, share = rng.random((_SIDE, _SIDE)), rng.uniform(0.02, 0.3)
    levels[chance < share / 2], levels[chance > 1 - share / 2] = 0, 1
    return _bytes(levels)


def _blotches(rng: np.random.Generator) -> _Image:
    noise = Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE), np.uint8))
    field = np.asarray(noise.filter(ImageFilter.GaussianBlur(rng.uniform(3, 15))), np.float64)
    return _bytes(np.where((field > np.median(field))[..., None], _colour(rng), _colour(rng)))


def _words(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Any) -> None:
    size = int(np.exp(rng.uniform(np.log(9), np.log(90))))
    font, words = ImageFont.load_default(size), _WORDS.split()
    for top in range(4, _PAGE, round(1.4 * size)):
        draw.text((int(rng.integers(-size, 6)), top), " ".join(rng.choice(words, 14)), ink, font)


def _lines(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Any) -> None:
    for _ in range(int(rng.integers(2, 40))):
        ends = [float(end) for end in rng.uniform(0, _PAGE, 4)]
        draw.line(ends, ink, int(rng.integers(1, 12)))


def _polygons(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Any) -> None:
    for _ in range(int(rng.integers(1, 12))):
        corners = [(float(x), float(y)) for x, y in rng.uniform(0, _PAGE, (rng.integers(3, 6), 2))]
        draw.polygon(corners, _ink(_colour(rng)), ink)


def _bars(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Any) -> None:
    heights = rng.uniform(10, _PAGE - 60, int(rng.integers(3, 14)))
    width = (_PAGE - 40) / len(heights)
    for bar, height in enumerate(heights):
        left = 30 + bar * width
        box = (left, _PAGE - 30 - float(height), left + 0.7 * width, _PAGE - 30.0)
        draw.rectangle(box, _ink(_colour(rng)))
    draw.line((30, 10, 30, _PAGE - 30, _PAGE - 10, _PAGE - 30), ink, 2)


def _on_paper(
    what: Callable[[ImageDraw.ImageDraw, np.random.Generator, Any], None],
) -> Callable[[np.random.Generator], _Image]:
    """Draw on a page of one colour, mostly dark on light, and rotate it a little."""

    def draw(rng: np.random.Generator) -> _Image:
        usual = rng.random() < 0.6
        paper = _ink(rng.uniform(0.88, 1, 3) if usual else _colour(rng))
        ink = _ink(rng.uniform(0, 0.35, 3) if usual else _colour(rng))
        page = Image.new("RGB", (_PAGE, _PAGE), paper)
        what(ImageDraw.Draw(page), rng, ink)
        turn = float(rng.uniform(-40, 40)) if rng.random() < 0.4 else 0.0
        return np.array(page.rotate(turn, fillcolor=paper))

    return draw


def _worn(image: _Image, rng: np.random.Generator) -> _Image:
    """Fade and soften half of the images."""
    if rng.random() < 0.5:
        return image
    soft = Image.fromarray(image).filter(ImageFilter.GaussianBlur(rng.uniform(0, 6)))
    levels = np.asarray(soft, np.float64) / 255
    mean = levels.mean(axis=(0, 1))
    return _bytes(mean + (levels - mean) * rng.uniform(0.1, 1))


def _blurred(image: _Image, rng: np.random.Generator) -> _Image:
    radius = rng.uniform(*_BLUR) * len(image)
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _crowded(image: _Image, rng: np.random.Generator) -> _Image:
    """Show four or nine cells out of focus, as in a field."""
    tiles = int(rng.integers(2, 4))
    return images.fit(np.tile(_blurred(image, rng), (tiles, tiles, 1)))


def _corner(image: _Image, rng: np.random.Generator) -> _Image:
    side = round(rng.uniform(*_CORNER) * len(image))
    top, left = (len(image) - side) * rng.integers(0, 2, 2)
    return image[top : top + side, left : left + side]


def _shuffled(image: _Image, rng: np.random.Generator) -> _Image:
    count = int(rng.integers(*_TILES))
    side = len(image) // count
    whole = image[: count * side, : count * side]
    tiles = whole.reshape(count, side, count, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    mixed = tiles[rng.permutation(len(tiles))].reshape(count, count, side, side, 3)
    return np.ascontiguousarray(mixed.swapaxes(1, 2)).reshape(whole.shape)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Sample a colour (3,), levels from 0 to 1; half of the colours are pale, like slides."""
    slide = rng.random() < 0.5
    saturation = rng.uniform(0, 0.3) if slide else rng.uniform(0, 1)
    value = rng.uniform(0.65, 1) if slide else rng.uniform(0, 1)
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value))


def _ink(colour: NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = (int(255 * level) for level in colour)
    return red, green, blue


def _grown(levels: NDArray[np.float64], how: Image.Resampling) -> _Image:
    page = Image.fromarray((levels * 255).astype(np.uint8))
    return np.asarray(page.resize((_SIDE, _SIDE), how))


def _bytes(levels: NDArray[np.floating]) -> _Image:
    return np.clip(np.asarray(levels) * 255 + 0.5, 0, 255).astype(np.uint8)


RENDERED: dict[str, Callable[[np.random.Generator], _Image]] = {
    "plain": _plain,
    "sloped": _sloped,
    "grain": _grain,
    "grey grain": _grey_grain,
    "clouds": _clouds,
    "salt and pepper": _salt_and_pepper,
    "blotches": _blotches,
    "words": _on_paper(_words),
    "lines": _on_paper(_lines),
    "polygons": _on_paper(_polygons),
    "bars": _on_paper(_bars),
}
"""The function that renders each kind of decoy, at any size."""

SPOILT: dict[str, Callable[[_Image, np.random.Generator], _Image]] = {
    "blurred": _blurred,
    "crowded": _crowded,
    "corner": _corner,
    "shuffled": _shuffled,
}
"""The methods of destroying a cell."""
