"""How images become the input of a classifier that is made for one framing and one stain.

A crop three red cells wide shows a white cell at the same scale in every lab. Its colours are
adjusted by the red cells, the background and its own nucleus, and a blur hides texture that only
some labs' optics resolve. `Framing` is in ``bundle.json``; a `Framer` applies it to images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import BundleError
from hematovision.images.stain import Colour, Stain

__all__ = ["NOT_FRAMED", "Framed", "Framer", "Framing"]

NOT_FRAMED = "no red cells: image used as it is"
"""The note of a prediction for an image in which no red cell was found."""

_NARROWEST, _WIDEST = 1.0, 20.0
_STRONGEST = 0.5


@dataclass(frozen=True)
class Framing:
    """The part of an image that a classifier sees around a cell, and in which colours.

    Raises `BundleError` if a value is out of range.
    """

    red_cell_diameters: float  # side of the square, in diameters of the median red cell
    # towards which images are recoloured (`stain.recoloured`); None for the colours as recorded
    stain: Stain | None = None
    # standard deviation of the Gaussian blur of the crop, in the same diameters
    blur: float = 0.0
    # to which nuclei are turned (`stain.redyed`); None for their own colour; needs a stain
    nucleus: Colour | None = None

    def __post_init__(self) -> None:
        side = self.red_cell_diameters
        if not (math.isfinite(side) and _NARROWEST <= side <= _WIDEST):
            raise BundleError(
                f"`Framing` must have {_NARROWEST:g} <= red_cell_diameters <= {_WIDEST:g}. "
                f"Received: {side}."
            )
        if not 0 <= self.blur <= _STRONGEST:
            raise BundleError(
                f"`Framing` must have 0 <= blur <= {_STRONGEST:g}. Received: {self.blur}."
            )
        colour = self.nucleus
        if colour is not None and not (self.stain and _is_colour(colour)):
            raise BundleError(
                "`Framing` must have a nucleus of three values from 0 to 255, and a stain with it. "
                f"Received: {colour}, stain {self.stain}."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        stain = self.stain and {
            "background": list(self.stain.background),
            "red_cell": list(self.stain.red_cell),
        }
        nucleus = None if self.nucleus is None else list(self.nucleus)
        return {
            "red_cell_diameters": self.red_cell_diameters,
            "stain": stain,
            "blur": self.blur,
            "nucleus": nucleus,
        }

    @property
    def identity(self) -> str:
        """The values as text: what predictions depend on."""
        colours = (*self.stain.background, *self.stain.red_cell) if self.stain else ()
        values = (self.red_cell_diameters, self.blur, *colours, *(self.nucleus or ()))
        return " ".join(f"{value:.6g}" for value in values)


def _is_colour(colour: Colour) -> bool:
    return len(colour) == 3 and all(math.isfinite(v) and 0 <= v <= 255 for v in colour)


class Framed(NamedTuple):
    """The input of a classifier, cut out of an image."""

    pixels: NDArray[np.uint8]  # (S, S, 3)
    # what it shows, (x_min, y_min, x_max, y_max) in pixels of the image; may reach beyond it
    box: tuple[float, float, float, float]
    note: str = ""  # what limits the use of the prediction, for its reason
    several: bool = False  # whether the image shows several cells, and none in its middle


class Framer(Protocol):
    """Measures single-cell images and cuts them for a classifier; thread-safe.

    Attributes
    ----------
    identity : mapping
        What its results depend on.
    """

    @property
    def identity(self) -> Mapping[str, str | float]: ...  # noqa: D102 - described above

    def frame(self, pixels: NDArray[np.uint8], framing: Framing, size: int, name: str) -> Framed:
        """Cut out and recolour the cell in an image.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            The whole image.
        framing : Framing
        size : int
            Width and height of the result in pixels.
        name : str
            The image in error messages.
        """
