"""A second look at the images of an analysis: pixels, sizes and crops of single cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import AnnotationError, ImageError
from hematovision.images.boxes import Box
from hematovision.images.crops import crop
from hematovision.images.slides import Slide, is_slide, open_slide
from hematovision.model.inference import Source
from hematovision.regions import Region

__all__ = ["image_size", "opened_pixels", "read_crops", "read_pixels"]

_CONTEXT = 1.35
"""Side of a crop for the gallery, in units of the box's longer side."""


def read_pixels(source: Source, name: str) -> NDArray[np.uint8]:
    """Return the pixels of an image, RGB (H, W, 3); of a region, those of its whole image.

    Raises `ImageError` if it cannot be read.
    """
    if isinstance(source, ImageError):
        raise source
    if isinstance(source, Region):
        return images.read(source.path, name=name)
    return source if isinstance(source, np.ndarray) else images.read(source, name=name)


@contextmanager
def opened_pixels(
    source: Source, name: str, budget: images.PixelBudget
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of an image for the block; see `read_pixels` and `images.opened`."""
    if isinstance(source, str | Path | bytes):
        with images.opened(source, name=name, budget=budget) as pixels:
            yield pixels
    else:
        yield read_pixels(source, name)


def image_size(source: Source, name: str) -> tuple[int | None, int | None]:
    """Return width and height of an image, or of a slide's level 0; None if it cannot be read."""
    try:
        if isinstance(source, Region) and is_slide(source.path):
            with open_slide(source.path) as slide:
                return slide.width, slide.height
        height, width = read_pixels(source, name).shape[:2]
    except (ImageError, MemoryError):
        return None, None
    return width, height


def read_crops(source: Source, name: str, boxes: Sequence[Box]) -> list[NDArray[np.uint8] | None]:
    """Return a square around each box, RGB (S, S, 3); None where it cannot be read."""
    try:
        if isinstance(source, Region) and is_slide(source.path):
            with open_slide(source.path) as slide:
                return [_read_square(slide, box) for box in boxes]
        pixels = read_pixels(source, name)
    except (ImageError, MemoryError):
        return [None] * len(boxes)
    return [_crop(pixels, box) for box in boxes]


def _crop(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8] | None:
    try:
        return crop(pixels, box, _CONTEXT)[0]
    except AnnotationError:  # the image has changed since
        return None


def _read_square(slide: Slide, box: Box) -> NDArray[np.uint8] | None:
    x_min, y_min, x_max, y_max = box
    side = max(1, round(_CONTEXT * max(x_max - x_min, y_max - y_min)))
    left, top = round((x_min + x_max - side) / 2), round((y_min + y_max - side) / 2)
    try:
        return slide.read_region(left, top, side, side)
    except ImageError:
        return None
