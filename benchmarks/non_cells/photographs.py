"""Photographs, textures and other microscopy from the scikit-image wheel, cut and altered.

Only files that the wheel itself holds are opened, by their path: nothing is ever fetched.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hematovision import images

Part = Literal["tuning", "testing"]

# The two motorcycles are one scene seen by two cameras.
PHOTOGRAPHS = {
    "tuning": (
        "astronaut.png",
        "camera.png",
        "coffee.png",
        "moon.png",
        "motorcycle_left.png",
        "coins.png",
    ),
    "testing": (
        "chelsea.png",
        "rocket.jpg",
        "hubble_deep_field.jpg",
        "clock_motion.png",
        "horse.png",
        "logo.png",
    ),
}
TEXTURES = {
    "tuning": ("brick.png", "chessboard_RGB.png"),
    "testing": ("grass.png", "gravel.png", "color.png"),
}
TISSUE = {
    "tuning": ("ihc.png", "microaneurysms.png"),
    "testing": ("retina.jpg", "cell.png"),
}
SMALLEST = 48  # Pixels: a smaller cut is a blur without a content.


def photograph(part: Part, rng: np.random.Generator, _: object) -> tuple[str, NDArray[np.uint8]]:
    """Return a cut of a photograph, or several small ones side by side."""
    return _altered(PHOTOGRAPHS[part], rng)


def texture(part: Part, rng: np.random.Generator, _: object) -> tuple[str, NDArray[np.uint8]]:
    """Return a cut of a photographed surface."""
    return _altered(TEXTURES[part], rng)


def tissue(part: Part, rng: np.random.Generator, _: object) -> tuple[str, NDArray[np.uint8]]:
    """Return a cut of a stained tissue, a retina, or one cell in a hologram."""
    return _altered(TISSUE[part], rng)


def _altered(names: tuple[str, ...], rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    name = str(rng.choice(names))
    image = _cut(_read_image(name), rng)
    image = images.view(image, int(rng.integers(8)))
    if rng.random() < 0.25:
        tiles = int(rng.integers(2, 4))
        image = np.tile(image, (tiles, tiles, 1))
    if rng.random() < 0.5:
        image = _recoloured(image, rng)
    return name, image


def _cut(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    side = min(height, width)
    side = max(round(side * rng.uniform(0.2, 1)), min(SMALLEST, side))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return image[top : top + side, left : left + side]


def _recoloured(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exchange the channels, bend the brightness and tint, as another camera might."""
    levels = image[..., rng.permutation(3)] / 255
    levels = levels ** rng.uniform(0.6, 1.6) * rng.uniform(0.7, 1, 3)
    return np.clip(levels * 255, 0, 255).astype(np.uint8)


@cache
def _read_image(name: str) -> NDArray[np.uint8]:
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("The photographs are those of scikit-image: pip install scikit-image.")
    return images.read(Path(spec.origin).parent / "data" / name)
