"""Explanations: a prediction with the map of the evidence for its class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hematovision import figures
from hematovision.model.explain import draw_overlay
from hematovision.model.prediction import Prediction

if TYPE_CHECKING:
    from hematovision.figures import Figure

__all__ = ["Explanation"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """A prediction, and where in the image the model found evidence for its class.

    Parameters
    ----------
    prediction : Prediction
        The prediction for the image.
    attention : ndarray of float32, shape (K, K), or None
        Grad-CAM of the predicted class, in logits, for the image stretched to a square; row 0,
        column 0 is its upper left corner. None if the image could not be read.

    Examples
    --------
    >>> import hematovision
    >>> explanation = next(hematovision.load().explain("cell.png"))
    >>> explanation
    Explanation('cell.png': WBC 99.7%, accepted)
    >>> explanation.attention.shape, explanation.overlay().shape
    ((16, 16), (256, 256, 3))
    >>> explanation.plot().savefig("explanation.png")
    """

    prediction: Prediction
    attention: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        return repr(self.prediction).replace("Prediction", "Explanation", 1)

    def overlay(self, caption: str = "") -> NDArray[np.uint8]:
        """Return the image under its map, RGB uint8 (H, W, 3), with a ring around the peak.

        See `explain.draw_overlay`; `caption` is a line below.

        Raises
        ------
        ImageError
            If the image cannot be read.
        """
        image = self.prediction.image()
        return image if self.attention is None else draw_overlay(image, self.attention, caption)

    def plot(self) -> Figure:
        """Return a matplotlib figure of the image, and of the image under its map.

        Raises
        ------
        ImageError
            If the image cannot be read.
        MissingExtraError
            If matplotlib is not installed.
        """
        image = self.prediction.panel()
        overlay = figures.Panel(self.overlay(), f"evidence for {self.prediction.label}")
        return figures.show(figures.image_grid([image, overlay]))
