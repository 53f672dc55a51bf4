"""White cells framed by the red cells around them: the input of classifiers with a `Framing`.

Of a field the crop is cut around the box of a cell. A single-cell image is a small field: its red
cells are measured in the same way, and the cell is the white cell in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hematovision import images
from hematovision.fields.finding import FieldContext, FieldFinder
from hematovision.fields.rows import CELL_CLASSES
from hematovision.images.stain import Stain, recoloured, redyed
from hematovision.model.detector import Detector
from hematovision.model.framing import NOT_FRAMED, Framed, Framing
from hematovision.model.registry import DEFAULT_DETECTOR

__all__ = ["PBC", "RedCellFramer", "blurred", "cut_out", "square", "stained"]

PBC = Framing(360 / 83)
"""The framing of classifiers that state none: that of PBC, whose images are 360 pixels wide with
red cells of 83 pixels, and on which `pbc8` was trained. Colours are as recorded."""

_VERSION = 2.0
"""Raised when the same image and detector yield another crop or flag."""

_NEAR = 0.8
"""A white cell this near to the middle of a single-cell image, in diameters of a red cell, is the
one that it shows."""

_REACH = 24.0
"""Width of the middle of an image in which cells are searched, likewise: enough for a hundred red
cells, so that a whole field takes no longer than a crop."""

_NUCLEUS = 0.6
"""How near to the middle of a white cell its nucleus is measured, likewise."""


class RedCellFramer:
    """Frames single-cell images by the red cells in them: a `Framer`.

    The crop is centred on the white cell nearest to the middle of the image, or on the middle if
    there is none within 0.8 diameters of a red cell. If there are white cells elsewhere only, the
    image is a whole field, and is sent for review (`Framed.several`).

    Parameters
    ----------
    finder : FieldFinder
        Finds the red and white cells.
    """

    def __init__(self, finder: FieldFinder) -> None:
        self._finder = finder

    @classmethod
    def load(cls) -> RedCellFramer:
        """Open the default detector.

        Raises
        ------
        BundleError
            If it is damaged.
        """
        return cls(FieldFinder(Detector.load(DEFAULT_DETECTOR)))

    @property
    def identity(self) -> Mapping[str, str | float]:
        """Everything the results depend on: the detector, and the version of this class."""
        return {**self._finder.finder.identity, "framer": _VERSION}

    def frame(self, pixels: NDArray[np.uint8], framing: Framing, size: int, name: str) -> Framed:
        """Cut out and recolour the cell in the middle of an image; see `Framer`.

        An image without red cells is returned whole, with a note; it is blurred like the others.
        """
        height, width = pixels.shape[:2]
        found = self._finder.find(pixels, name, reach=_REACH)
        if not found.context.scale.known:
            whole = blurred(images.fit(pixels, size), framing)
            return Framed(whole, (0.0, 0.0, width, height), NOT_FRAMED)
        whites = found.boxes[found.labels == CELL_CLASSES.index("WBC")]
        box = _central(whites, found.context.scale.diameter, width, height)
        middle = np.array((0, 0, width, height), np.float32) if box is None else box
        framed = cut_out(pixels, middle, found.context, framing, size)
        return framed._replace(several=box is None and len(whites) > 0)


def cut_out(
    pixels: NDArray[np.uint8],
    box: NDArray[np.float32],
    context: FieldContext,
    framing: Framing,
    size: int,
) -> Framed:
    """Return a cell of a field as a classifier sees it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The field as recorded.
    box : ndarray of float32, shape (4,)
        The cell's box in pixels of the field.
    context : FieldContext
        The diameter of the field's red cells, and its stain; without one, colours are as recorded.
    framing : Framing
    size : int
        Width and height of the result in pixels.
    """
    side = framing.red_cell_diameters * context.scale.diameter
    cell = images.fit(square(pixels, box, side), size)
    if context.stain:
        cell = stained(cell, context.stain, framing)
    return Framed(blurred(cell, framing), _place(box, side))


def stained(
    cell: NDArray[np.uint8], stain: Stain, framing: Framing, turn: float = 0.5
) -> NDArray[np.uint8]:
    """Change the stain of a white cell, (S, S, 3) uint8, cut out as `framing` states.

    `turn` is how far nuclei are turned, 0 to 1; see `stain.redyed`.
    """
    if framing.stain is None:
        return cell
    if framing.nucleus is None:
        return recoloured(cell, stain, framing.stain)
    radius = _NUCLEUS * cell.shape[0] / framing.red_cell_diameters
    return redyed(cell, stain, framing.stain, framing.nucleus, radius, turn)


def square(pixels: NDArray[np.uint8], box: NDArray[np.float32], side: float) -> NDArray[np.uint8]:
    """Return the square around a box's centre; border pixels are repeated outside the field."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = _place(box, side)
    rows = np.arange(top, bottom).clip(0, height - 1)
    columns = np.arange(left, right).clip(0, width - 1)
    part: NDArray[np.uint8] = pixels[rows][:, columns]
    return part


def blurred(cell: NDArray[np.uint8], framing: Framing) -> NDArray[np.uint8]:
    """Blur a cell, (S, S, 3) uint8, as `framing` states."""
    radius = framing.blur * cell.shape[0] / framing.red_cell_diameters
    if radius == 0:
        return cell
    return np.array(Image.fromarray(cell).filter(ImageFilter.GaussianBlur(radius)))


def _place(box: NDArray[np.float32], side: float) -> tuple[int, int, int, int]:
    """Return the square around a box's centre, in whole pixels."""
    length = max(1, round(side))
    left = int(np.floor((float(box[0]) + float(box[2]) - length) / 2 + 0.5))
    top = int(np.floor((float(box[1]) + float(box[3]) - length) / 2 + 0.5))
    return left, top, left + length, top + length


def _central(
    whites: NDArray[np.float32], diameter: float, width: int, height: int
) -> NDArray[np.float32] | None:
    """Return which of the boxes, shape (N, 4), is in the middle of an image; None if none is."""
    away = np.hypot(*((whites[:, :2] + whites[:, 2:] - (width, height)) / 2).T)
    if not len(whites) or away.min() > _NEAR * diameter:
        return None
    return np.asarray(whites[away.argmin()])
