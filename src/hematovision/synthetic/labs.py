"""Labs: stain, microscope and camera, which make the same cells look different.

Colour is modelled by the Beer-Lambert law: light passes through the stained smear, and each dye
absorbs part of it, ``intensity = white * exp(-sum(amount * absorbance))``. Ruifrok & Johnston 2001,
Anal. Quant. Cytol. Histol. 23:291-299, use the same model to separate stains. A lab defines ranges
of the parameters; every field samples its own values from them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.synthetic.shapes import Array, grain

__all__ = [
    "AZURE", "BLUE", "DYES", "EDGE", "EOSIN", "HAEM", "LABS", "Appearance", "Lab", "expose",
    "sample_appearance",
]  # fmt: skip

DYES = 5
AZURE, BLUE, EOSIN, HAEM, EDGE = range(DYES)
"""Planes of dye: azure B on chromatin and dark granules, methylene blue on ribonucleic acid,
eosin on granules and protein, and haemoglobin with the eosin it binds. The last plane is not a dye:
it is the refraction at an outline, which most optics show as a thin bright or tinted line."""

Range = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Lab:
    """Parameters of stain, optics and camera; ranges are uniform, lengths in micrometres."""

    white: Colour  # colour of the empty background, 0 to 255
    # RGB of each dye plane: natural-logarithm absorbance of one unit of dye
    absorbance: tuple[Colour, Colour, Colour, Colour, Colour]
    scale: Range  # pixels per micrometre of a field
    view: Range  # width shown in a cell image
    blur: Range  # standard deviation of the defocus
    fringe: float  # shift between the red and blue channels
    sharpen: float  # strength of the camera's sharpening; 0 is none
    noise: Range  # standard deviation of the sensor noise, in grey levels (0 to 255)
    vignette: Range  # loss of light in the corners
    gradient: Range  # difference in brightness from side to side
    quality: tuple[int, int]  # JPEG quality
    crowding: Range  # red cells per 1,000 square micrometres
    oval: Range  # long over short axis of all cells (due to smearing or the camera's pixels)
    pallor: Range  # fraction of a red cell's hollow that remains after drying, 0 to 1


LABS: Mapping[str, Lab] = {
    # An analyser's evenly lit, sharpened images: cream background, violet nuclei.
    "synthetic-a": Lab(
        white=(252, 230, 202),
        absorbance=(
            (1.20, 2.00, 0.45), (0.60, 0.64, 0.14), (0.09, 0.56, 0.38), (0.23, 0.34, 0.23),
            (0.01, 0.02, 0.02),
        ),
        scale=(9.5, 11.5), view=(33.0, 41.0), blur=(0.06, 0.13), fringe=0.0, sharpen=0.6,
        noise=(0.8, 1.8), vignette=(0.0, 0.03), gradient=(0.0, 0.03), quality=(88, 97),
        crowding=(8.0, 14.0), oval=(1.0, 1.04), pallor=(0.55, 0.95),
    ),
    # An older camera on a teaching microscope: grey-white, soft, blue-violet nuclei, salmon cells.
    "synthetic-b": Lab(
        white=(206, 207, 202),
        absorbance=(
            (0.46, 0.82, -0.02), (0.30, 0.38, 0.02), (0.10, 0.42, 0.18), (0.13, 0.31, 0.26),
            (0.00, 0.00, 0.10),
        ),
        scale=(9.0, 12.0), view=(26.0, 34.0), blur=(0.16, 0.26), fringe=0.08, sharpen=0.3,
        noise=(1.2, 2.6), vignette=(0.0, 0.08), gradient=(0.0, 0.10), quality=(72, 92),
        crowding=(8.0, 14.0), oval=(1.0, 1.28), pallor=(0.6, 1.0),
    ),
    # A phone on an eyepiece: pink from too much eosin, magenta nuclei.
    "synthetic-c": Lab(
        white=(216, 180, 168),
        absorbance=(
            (0.62, 1.80, 0.40), (0.38, 0.46, 0.18), (0.15, 0.42, 0.24), (0.36, 0.50, 0.27),
            (-0.03, -0.03, -0.03),
        ),
        scale=(13.0, 17.0), view=(22.0, 30.0), blur=(0.14, 0.24), fringe=0.05, sharpen=0.0,
        noise=(1.0, 2.2), vignette=(0.02, 0.14), gradient=(0.0, 0.08), quality=(80, 95),
        crowding=(7.0, 12.0), oval=(1.0, 1.06), pallor=(0.3, 0.75),
    ),
    # A yellowish lamp and an alkaline buffer: blue-grey red cells, fringes of colour.
    "synthetic-d": Lab(
        white=(206, 196, 160),
        absorbance=(
            (0.62, 1.75, 0.22), (0.50, 0.48, 0.08), (0.14, 0.44, 0.20), (0.39, 0.42, 0.12),
            (0.02, 0.05, -0.05),
        ),
        scale=(11.0, 16.0), view=(24.0, 33.0), blur=(0.14, 0.26), fringe=0.16, sharpen=0.0,
        noise=(1.5, 3.5), vignette=(0.02, 0.12), gradient=(0.0, 0.10), quality=(70, 92),
        crowding=(6.5, 12.0), oval=(1.0, 1.08), pallor=(0.25, 0.75),
    ),
}  # fmt: skip
"""Labs by name. Every name begins with ``synthetic``, which marks their images in reports."""


@dataclass(frozen=True, eq=False)
class Appearance:
    """One field's values, sampled from its lab: one smear on one microscope on one day.

    ``absorbance`` has shape (DYES, 3); the scalars are those of `Lab`.
    """

    lab: str
    white: NDArray[np.float32]
    absorbance: Array
    scale: float
    view: float
    blur: float
    fringe: float
    sharpen: float
    noise: float
    vignette: float
    gradient: float
    quality: int
    crowding: float
    oval: float
    pallor: float


def sample_appearance(rng: np.random.Generator, lab: str | None) -> Appearance:
    """Sample an appearance from a lab, or from any of them.

    Raises `ValueError` if there is no such lab.
    """
    names = tuple(LABS)
    sampled = names[int(rng.integers(len(names)))]
    name = sampled if lab is None else lab
    if name not in LABS:
        raise ValueError(f"`lab` must be one of {', '.join(names)}. Received: {name!r}")
    family = LABS[name]
    strength = rng.normal(1.0, 0.10, (DYES, 1))
    tint = rng.normal(1.0, 0.05, (DYES, 3))
    balance = rng.normal(1.0, 0.01, 3) * rng.normal(1.0, 0.02)
    scalars = {
        key: float(rng.uniform(*getattr(family, key)))
        for key in ("scale", "view", "blur", "noise", "vignette", "gradient", "crowding", "oval")
    }
    return Appearance(
        lab=name,
        white=np.clip(np.array(family.white) * balance, 0.0, 253.0).astype(np.float32),
        absorbance=(np.array(family.absorbance) * strength * tint).astype(np.float32),
        fringe=family.fringe,
        sharpen=family.sharpen * float(rng.uniform(0.5, 1.2)),
        quality=int(rng.integers(family.quality[0], family.quality[1] + 1)),
        pallor=float(rng.uniform(*family.pallor)),
        **scalars,
    )


def expose(dyes: Array, appearance: Appearance, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Photograph dyes (DYES, H, W) on a smear; returns RGB uint8 of shape (H, W, 3).

    Applies absorption, uneven light, defocus with colour fringes, sensor noise, sharpening,
    rounding to eight bits and JPEG, in this order.
    """
    shape = dyes.shape[1], dyes.shape[2]
    # Not a matrix product, whose rounding depends on the linear algebra library.
    absorbed = [
        sum(dye * -amount for dye, amount in zip(dyes, colour, strict=True))
        for colour in appearance.absorbance.T
    ]
    light = _defocus(np.exp(np.stack(absorbed)), appearance) * _illumination(rng, shape, appearance)
    light_levels = light * appearance.white[:, None, None]
    noise = rng.standard_normal(light_levels.shape, dtype=np.float32)
    noise = np.float32(0.7) * (noise + np.roll(noise, 1, axis=2))  # demosaicing correlates pixels
    light_levels += np.float32(appearance.noise) * noise * np.sqrt(light_levels / 255.0 + 0.1)
    if appearance.sharpen > 0.0:
        radius = max(0.7, 0.10 * appearance.scale)
        light_levels += np.float32(appearance.sharpen) * (
            light_levels - _blur(light_levels, radius)
        )
    levels = np.clip(np.rint(light_levels), 0, 255).astype(np.uint8)
    return _compress(np.ascontiguousarray(levels.transpose(1, 2, 0)), appearance.quality)


def _illumination(
    rng: np.random.Generator, shape: tuple[int, int], appearance: Appearance
) -> Array:
    """Return the light at each pixel: a slope, dim corners and smooth unevenness of the smear."""
    height, width = shape
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    angle = rng.uniform(0.0, 2.0 * np.pi)
    slope = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    centre = rng.normal(0.0, 0.15, 2).astype(np.float32)
    corners = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    film = 0.004 * grain(rng, shape, 4.0 * appearance.scale)
    return np.asarray(
        1.0 - appearance.gradient * 0.5 * slope - appearance.vignette * 0.5 * corners + film,
        dtype=np.float32,
    )


def _defocus(light: Array, appearance: Appearance) -> Array:
    """Blur each colour, and shift red and blue apart."""
    blurred = _blur(light, appearance.blur * appearance.scale)
    shift = appearance.fringe * appearance.scale
    if shift > 0.0:
        blurred[0] = _shift(blurred[0], shift)
        blurred[2] = _shift(blurred[2], -shift)
    return blurred


def _shift(plane: Array, pixels: float) -> Array:
    """Move a plane along the diagonal by a fraction of pixels, repeating the border."""
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
    """Encode as JPEG, and decode."""
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, format="JPEG", quality=quality)
        return np.array(Image.open(stream))
