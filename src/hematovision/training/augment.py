"""Augment cell images, for fine-tuning only.

The order follows image formation: geometry (one of the eight rotations and flips, then a random
crop resized in one step), optics (blur, lost resolution), colour, sensor and file (noise, JPEG).

Colour is varied in optical density, in which dyes are additive (Beer-Lambert law; Ruifrok and
Johnston 2001, "Quantification of histochemical staining by color deconvolution"). A random mixing
matrix simulates other dyes and filters, a random offset another white balance.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hematovision import images

__all__ = ["MILD", "Augmentation", "augment"]


@dataclass(frozen=True)
class Augmentation:
    """The ranges of random changes."""

    # smallest side of the random crop as a fraction of the image's side, independently per axis
    min_crop: float = 0.8
    # standard deviation of the log amount of dye, common to all channels
    gain: float = 0.1
    # standard deviation of the entries of the matrix that mixes the channels' densities
    mixing: float = 0.04
    tint: float = 0.03  # standard deviation of the background's density, per channel
    # probabilities of defocus, lost resolution, sensor noise, JPEG artefacts and greyscale
    blur: float = 0.1
    resolution: float = 0.1
    noise: float = 0.1
    jpeg: float = 0.0
    grey: float = 0.0
    sharpen: float = 0.0  # probability of sharpening, which some cameras and analysers apply
    # standard deviation of the amplitude of a random texture of the dye, relative to its density
    texture: float = 0.0


MILD = Augmentation()
"""For fine-tuning on images of one lab, whose focus varies more than its stain."""


_TEXTURED = 0.7
_GRAIN = (2.3, 7.0)
"""The share of images with a texture, and its range of sizes in pixels of a cell image of 224."""

# Optical density of each pixel value, finite on black.
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1.0) / 256.0)


def augment(
    image: NDArray[np.uint8], size: int, ranges: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return one random variant of a cell image.

    The image is RGB (H, W, 3), the result (size, size, 3).
    """
    turned = images.view(image, int(rng.integers(8)))
    optical = _optics(_crop(Image.fromarray(turned), size, ranges, rng), ranges, rng)
    coloured = _colour(np.asarray(optical), ranges, rng)
    return _recorded(coloured, ranges, rng)


def _crop(
    image: Image.Image, size: int, ranges: Augmentation, rng: np.random.Generator
) -> Image.Image:
    width, height = image.size
    w, h = rng.uniform(ranges.min_crop, 1.0, size=2) * (width, height)
    left, top = rng.uniform(0.0, 1.0, size=2) * (width - w, height - h)
    box = (left, top, left + w, top + h)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def _optics(image: Image.Image, ranges: Augmentation, rng: np.random.Generator) -> Image.Image:
    size = image.size
    if rng.random() < ranges.resolution:
        side = max(8, int(size[0] * rng.uniform(0.25, 0.8)))
        small = image.resize((side, side), Image.Resampling.BOX)
        image = small.resize(size, Image.Resampling.BILINEAR)
    if rng.random() < ranges.blur:
        radius = rng.uniform(0.3, 2.0) * size[0] / images.SIZE
        image = image.filter(ImageFilter.GaussianBlur(radius))
    if rng.random() < ranges.sharpen:
        radius = rng.uniform(0.8, 3.0) * size[0] / images.SIZE
        strength = int(rng.integers(50, 250))
        image = image.filter(ImageFilter.UnsharpMask(radius, strength, threshold=0))
    return image


def _colour(
    image: NDArray[np.uint8], ranges: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    density = _DENSITY[image]
    if ranges.texture > 0 and rng.random() < _TEXTURED:
        density = density * _texture(density.shape[0], ranges.texture, rng)
    mixing = np.eye(3) * np.exp(rng.normal(0.0, ranges.gain)) + rng.normal(
        0.0, ranges.mixing, (3, 3)
    )
    offset = rng.normal(0.0, ranges.tint, 3)
    density = density @ mixing.astype(np.float32) + offset.astype(np.float32)
    changed = 256.0 * np.exp(-density) - 1.0
    if rng.random() < ranges.grey:
        changed = np.repeat(changed.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.asarray(np.clip(changed, 0.0, 255.0), np.float32)


def _texture(size: int, spread: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return factors (size, size, 1) of a density, like the texture of resolved chromatin."""
    side = round(images.SIZE / rng.uniform(*_GRAIN))
    grain = Image.fromarray(rng.normal(0.0, 1.0, (side, side)).astype(np.float32))
    fine = np.asarray(grain.resize((size, size), Image.Resampling.BICUBIC))
    factor = 1.0 + abs(rng.normal(0.0, spread)) * fine / fine.std()
    return np.asarray(np.clip(factor, 0.5, 1.5)[..., None], np.float32)


def _recorded(
    image: NDArray[np.float32], ranges: Augmentation, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if rng.random() < ranges.noise:
        sigma = rng.uniform(1.0, 8.0)
        image = image + rng.normal(0.0, sigma, image.shape).astype(np.float32)
    recorded = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if rng.random() < ranges.jpeg:
        stream = io.BytesIO()
        Image.fromarray(recorded).save(stream, "JPEG", quality=int(rng.integers(30, 90)))
        recorded = np.array(Image.open(stream), dtype=np.uint8)
    return recorded
