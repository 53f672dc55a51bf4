"""Boxes of cells in a field: clipping, scaling, rounding and rotating."""

from __future__ import annotations

import math
from typing import TypeAlias

from hematovision.errors import AnnotationError

__all__ = [
    "MIN_SIDE", "Box", "Size", "clip_box", "intersect_box", "round_box", "scale_box", "show_box",
    "turn_box",
]  # fmt: skip

Box: TypeAlias = tuple[float, float, float, float]
"""``(xmin, ymin, xmax, ymax)`` in pixels of the field; ``xmax`` and ``ymax`` are exclusive."""

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

MIN_SIDE = 2.0
"""Shortest side of a usable box, in pixels."""


def clip_box(box: Box, width: int, height: int) -> Box:
    """Clip a box to its field of `width` x `height` pixels.

    Raises `AnnotationError` if the box is degenerate: not finite, inverted, outside the field, or
    with a side under `MIN_SIDE` pixels after clipping.
    """
    xmin, ymin, xmax, ymax = box
    if not all(map(math.isfinite, box)):
        raise AnnotationError(f"the box {show_box(box)} has a coordinate that is not a number")
    if xmax <= xmin or ymax <= ymin:
        raise AnnotationError(f"the box {show_box(box)} has no area (xmax <= xmin or ymax <= ymin)")
    if xmax <= 0 or ymax <= 0 or xmin >= width or ymin >= height:
        raise AnnotationError(f"the box {show_box(box)} is outside the {width}x{height} field")
    clipped = intersect_box(box, width, height)
    sides = (clipped[2] - clipped[0], clipped[3] - clipped[1])
    if min(sides) < MIN_SIDE:
        raise AnnotationError(
            f"the box {show_box(box)} covers only {sides[0]:g}x{sides[1]:g} pixels of the field; "
            f"each side must be at least {MIN_SIDE:g}"
        )
    return clipped


def intersect_box(box: Box, width: int, height: int) -> Box:
    """Return the part of a box inside its field, which may be empty."""
    xmin, ymin, xmax, ymax = box
    return max(xmin, 0.0), max(ymin, 0.0), min(xmax, float(width)), min(ymax, float(height))


def scale_box(box: Box, x: float, y: float) -> Box:
    """Multiply the coordinates of a box by `x` (across) and `y` (down)."""
    xmin, ymin, xmax, ymax = box
    return xmin * x, ymin * y, xmax * x, ymax * y


def round_box(box: Box, digits: int) -> Box:
    """Round the coordinates of a box to `digits` decimals."""
    xmin, ymin, xmax, ymax = (round(value, digits) for value in box)
    return xmin, ymin, xmax, ymax


def turn_box(box: Box, orientation: int, width: int, height: int) -> Box:
    """Rotate a box upright together with its image (Exif 2.32, section 4.6.4).

    The box is in pixels of the image as stored; `width` and `height` are those of the upright
    image. `orientation` is 1 (changes nothing) to 8.
    """
    xmin, ymin, xmax, ymax = box
    if orientation > 4:
        xmin, ymin, xmax, ymax = ymin, xmin, ymax, xmax
    flips = (orientation - 1) % 4
    if flips in (1, 2):
        xmin, xmax = width - xmax, width - xmin
    if flips in (2, 3):
        ymin, ymax = height - ymax, height - ymin
    return xmin, ymin, xmax, ymax


def show_box(box: Box) -> str:
    """Format a box for a message: ``(10, 20.5, 30, 40)``."""
    return f"({', '.join(f'{value:g}' for value in box)})"
