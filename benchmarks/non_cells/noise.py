"""Blank fields and noise: decoys of the training for tuning, other kinds for testing."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hematovision.synthetic.decoys import RENDERED

Part = Literal["tuning", "testing"]
Image8 = NDArray[np.uint8]
Maker = Callable[[np.random.Generator], Image8]

SIDE = 224


def blank(part: Part, rng: np.random.Generator, _: object) -> tuple[str, Image8]:
    """Return an image of one colour, evenly lit or not."""
    decoys = {name: RENDERED[name] for name in ("plain", "sloped")}
    return _any(decoys if part == "tuning" else {"vignetted": vignetted, "sensor": sensor}, rng)


def noise(part: Part, rng: np.random.Generator, _: object) -> tuple[str, Image8]:
    """Return noise."""
    kinds = ("grain", "grey grain", "clouds", "salt and pepper", "blotches")
    decoys = {name: RENDERED[name] for name in kinds}
    others = {maker.__name__: maker for maker in (pink, speckle, mosaic, waves, worms)}
    return _any(decoys if part == "tuning" else others, rng)


def vignetted(rng: np.random.Generator) -> Image8:
    """Return a colour that darkens away from the light's centre."""
    y, x = (np.mgrid[:SIDE, :SIDE].T / SIDE - rng.uniform(0.2, 0.8, 2)).T
    light = 1 - rng.uniform(0.1, 0.6) * (x**2 + y**2)
    return _bytes(_colour(rng) * light[..., None])


def sensor(rng: np.random.Generator) -> Image8:
    """Return a colour with the faint noise of a camera."""
    grain = rng.normal(0, rng.uniform(0.003, 0.02), (SIDE, SIDE, 3))
    return _bytes(_colour(rng) + grain)


def pink(rng: np.random.Generator) -> Image8:
    """Return noise whose amplitude falls with frequency, as that of landscapes does."""
    y, x = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None]
    fall = np.maximum(np.hypot(y, x), 1 / SIDE) ** -rng.uniform(0.7, 2)
    spectrum = np.fft.fft2(rng.normal(size=(3, SIDE, SIDE))) * fall
    planes = np.fft.ifft2(spectrum).real
    planes /= planes.std(axis=(1, 2), keepdims=True)
    mixed = np.einsum("cd,dhw->hwc", rng.normal(0, 0.1, (3, 3)) + 0.1, planes)
    return _bytes(_colour(rng) + mixed)


def speckle(rng: np.random.Generator) -> Image8:
    """Return a colour multiplied with the grain of coherent light (exponential intensities)."""
    field = rng.normal(size=(2, SIDE, SIDE))
    blur = rng.uniform(0.5, 3)
    real, imaginary = (_blurred(plane, blur) for plane in field)
    light = real**2 + imaginary**2
    return _bytes(_colour(rng) * (light / light.mean())[..., None])


def mosaic(rng: np.random.Generator) -> Image8:
    """Return the regions nearest to each of some points, each in a colour of its own."""
    points = rng.uniform(0, SIDE, (int(rng.integers(8, 80)), 2))
    y, x = np.mgrid[:SIDE, :SIDE]
    nearest = ((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2).argmin(-1)
    return _bytes(np.array([_colour(rng) for _ in points])[nearest])


def waves(rng: np.random.Generator) -> Image8:
    """Return a few plane waves laid over each other."""
    levels = np.zeros((SIDE, SIDE, 3))
    for _ in range(int(rng.integers(1, 5))):
        phase = _slope(rng) * rng.uniform(10, 200) + rng.uniform(0, 6.3)
        levels += np.sin(phase)[..., None] * rng.normal(0, 0.25, 3)
    return _bytes(_colour(rng) + levels)


def worms(rng: np.random.Generator) -> Image8:
    """Return the ridges of smooth noise of one width (a band of frequencies)."""
    fine = rng.uniform(1, 4)
    noise = rng.normal(size=(SIDE, SIDE))
    band = _blurred(noise, fine) - _blurred(noise, 1.6 * fine)
    band = np.clip(band / band.std() * rng.uniform(0.2, 1), -1, 1)[..., None] / 2 + 0.5
    return _bytes(band * _colour(rng) + (1 - band) * _colour(rng))


def _any(makers: dict[str, Maker], rng: np.random.Generator) -> tuple[str, Image8]:
    name = str(rng.choice(list(makers)))
    return name, makers[name](rng)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Sample a colour (3,), levels from 0 to 1; half of them pale and bright, like slides."""
    slide = rng.random() < 0.5
    saturation = rng.uniform(0, 0.3) if slide else rng.uniform(0, 1)
    value = rng.uniform(0.65, 1) if slide else rng.uniform(0, 1)
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value))


def _slope(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    return x * np.cos(angle) + y * np.sin(angle)


def _blurred(levels: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Blur by a Gaussian of `radius` pixels; the image wraps around at its borders."""
    frequency = np.fft.fftfreq(SIDE)
    fall = np.exp(-2 * (np.pi * radius * frequency) ** 2)
    return np.fft.ifft2(np.fft.fft2(levels) * fall[:, None] * fall).real


def _bytes(levels: NDArray[np.floating]) -> Image8:
    return np.clip(np.asarray(levels) * 255 + 0.5, 0, 255).astype(np.uint8)
