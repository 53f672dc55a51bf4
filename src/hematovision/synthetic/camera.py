"""From dye on glass to the picture a camera saves."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.synthetic.shapes import Array, grain
from hematovision.synthetic.stain import Look

__all__ = ["expose"]


def expose(dyes: Array, look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Photograph a smear.

    Absorption, uneven light, defocus with a fringe of colour, sensor noise, sharpening, eight bits
    and JPEG, in the order in which they happen.

    Parameters
    ----------
    dyes : ndarray of float32, shape (DYES, H, W)
        Amount of each dye at each pixel.
    look : Look
        Stain, optics and camera.
    rng : numpy.random.Generator
        Where light and noise come from.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    shape = dyes.shape[1], dyes.shape[2]
    # Written out, because a matrix product's sums depend on the linear algebra library.
    absorbed = [
        sum(dye * -amount for dye, amount in zip(dyes, colour, strict=True))
        for colour in look.absorbance.T
    ]
    light = _defocus(np.exp(np.stack(absorbed)), look) * _illumination(rng, shape, look)
    picture = light * look.white[:, None, None]
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    noise = np.float32(0.7) * (noise + np.roll(noise, 1, axis=2))  # demosaicing correlates pixels
    picture += np.float32(look.noise) * noise * np.sqrt(picture / 255.0 + 0.1)
    if look.sharpen > 0.0:
        radius = max(0.7, 0.10 * look.scale)
        picture += np.float32(look.sharpen) * (picture - _blur(picture, radius))
    levels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return _compress(np.ascontiguousarray(levels.transpose(1, 2, 0)), look.quality)


def _illumination(rng: np.random.Generator, shape: tuple[int, int], look: Look) -> Array:
    """Return the light at each pixel: a slope, dim corners and a slow unevenness of the smear."""
    height, width = shape
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    angle = rng.uniform(0.0, 2.0 * np.pi)
    slope = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    centre = rng.normal(0.0, 0.15, 2).astype(np.float32)
    corners = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    film = 0.004 * grain(rng, shape, 4.0 * look.scale)
    return np.asarray(
        1.0 - look.gradient * 0.5 * slope - look.vignette * 0.5 * corners + film, dtype=np.float32
    )


def _defocus(light: Array, look: Look) -> Array:
    """Blur each colour, and shift red and blue apart."""
    blurred = _blur(light, look.blur * look.scale)
    shift = look.fringe * look.scale
    if shift > 0.0:
        blurred[0] = _shift(blurred[0], shift)
        blurred[2] = _shift(blurred[2], -shift)
    return blurred


def _shift(plane: Array, pixels: float) -> Array:
    """Move a plane along the diagonal by a part of pixels, repeating the border."""
    kernel = _shift_kernel(pixels)
    return _filter(_filter(plane, kernel, -2), kernel, -1)


def _shift_kernel(pixels: float) -> Array:
    """Return the kernel of linear interpolation at a distance."""
    reach = int(np.ceil(abs(pixels)))
    places = np.arange(-reach, reach + 1)
    return np.asarray(np.clip(1.0 - np.abs(places - pixels), 0.0, None), dtype=np.float32)


def _blur(image: Array, deviation: float) -> Array:
    """Convolve the last two axes with a Gaussian, repeating the border."""
    if deviation < 0.2:
        return image
    reach = int(np.ceil(2.5 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    return _filter(_filter(image, kernel, -2), kernel, -1)


def _filter(image: Array, kernel: Array, axis: int) -> Array:
    """Correlate one axis with an odd kernel, repeating the border."""
    reach = len(kernel) // 2
    places = np.arange(-reach, image.shape[axis] + reach).clip(0, image.shape[axis] - 1)
    padded = np.moveaxis(np.take(image, places, axis=axis), axis, -2)
    total = np.zeros_like(image)
    view = np.moveaxis(total, axis, -2)
    for start, weight in enumerate(kernel):
        if weight > 0.0:
            view += weight * padded[..., start : start + image.shape[axis], :]
    return total


def _compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Write as JPEG and read again."""
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, format="JPEG", quality=quality)
        return np.array(Image.open(stream))
