"""The crop rule: how a cell image is cropped from its field.

1. The box is clipped to the field; a degenerate box (see `clip_box`) yields no cell image.
2. The cell image is a square around the centre of the clipped box. Its side is `CONTEXT` times the
   longer side of the box, rounded to whole pixels, at least 1.
3. Outside the field, the border pixels are repeated.
4. A box within `BORDER` pixels of the field's border is flagged ``touches_border``: its cell is
   probably incomplete.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hematovision.images.boxes import Box, clip_box

__all__ = ["BORDER", "CONTEXT", "crop"]

CONTEXT = 1.2
"""Side of a cell image, in units of the box's longer side."""

BORDER = 1.0
"""A box this close to the field's border, in pixels, touches it."""


def crop(
    field: NDArray[np.uint8], box: Box, context: float = CONTEXT
) -> tuple[NDArray[np.uint8], bool]:
    """Crop one cell from its field.

    Raises `AnnotationError` if the box is degenerate.

    Parameters
    ----------
    field : ndarray of uint8, shape (H, W, 3)
        The field.
    box : Box
        The cell's box in pixels of the field.
    context : float
        Side of the square, in units of the box's longer side.

    Returns
    -------
    image : ndarray of uint8, shape (S, S, 3)
        The cell image, a copy.
    touches_border : bool
        Whether the box is within `BORDER` pixels of the field's border.

    Examples
    --------
    >>> field = np.zeros((100, 200, 3), np.uint8)
    >>> image, touches_border = crop(field, (50.0, 40.0, 60.0, 60.0))
    >>> image.shape, touches_border
    ((24, 24, 3), False)
    """
    height, width = field.shape[:2]
    xmin, ymin, xmax, ymax = clip_box(box, width, height)
    side = max(1, _round(context * max(xmax - xmin, ymax - ymin)))
    left, top = _round((xmin + xmax - side) / 2), _round((ymin + ymax - side) / 2)
    # Clamped indices repeat the border pixels without a padded copy of the whole field.
    rows = np.arange(top, top + side).clip(0, height - 1)
    columns = np.arange(left, left + side).clip(0, width - 1)
    touches = xmin <= BORDER or ymin <= BORDER or xmax >= width - BORDER or ymax >= height - BORDER
    return field[rows][:, columns], touches


def _round(value: float) -> int:
    # Python's round() rounds halves to even, which would shift every second half-pixel crop.
    return math.floor(value + 0.5)
