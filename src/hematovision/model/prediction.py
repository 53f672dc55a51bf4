"""What a model says about images, and the columns of a table of such answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ImageError
from hematovision.model.thresholds import is_out_of_distribution

__all__ = [
    "NOT_READ",
    "NOT_RECOGNISED",
    "Explained",
    "ImagePrediction",
    "Prediction",
    "RawPredictions",
    "columns",
    "headline",
]

NOT_READ = "Not read"
"""The headline of a file that could not be used."""

NOT_RECOGNISED = "Not recognised"
"""The headline of an image that is unlike the training images: its class means nothing."""


def headline(label: str | None, reason: str) -> str:
    """Return what stands above an image: its class, unless the model does not know such images.

    A class with a high confidence misleads where the image shows no cell at all. Use this wherever
    a class is shown large; tables keep the label, with its decision and reason.

    Parameters
    ----------
    label : str or None
        The most probable class; None where the image was refused.
    reason : str
        `Prediction.reason`.

    Examples
    --------
    >>> headline("WBC", "low confidence")
    'WBC'
    >>> headline("WBC", "unlike the training images")
    'Not recognised'
    """
    if label is None:
        return NOT_READ
    return NOT_RECOGNISED if is_out_of_distribution(reason) else label


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    Parameters
    ----------
    path : str
        The image, as it was given.
    classes : tuple of str
        The model's classes.
    label : str or None
        The most probable class; None where the image was refused.
    probabilities : tuple of float
        One per class, calibrated; empty where refused.
    confidence : float or None
        The largest of them.
    novelty : float or None
        How far the image is from those learnt from; about 1 for ordinary ones.
    decision : {"accepted", "review", "refused"}
        Whether the answer stands, a person should look, or there is none since the image could
        not be read.
    reason : str
        Why a person should look; else empty.
    error : str or None
        Why the image was refused.
    """

    path: str
    classes: tuple[str, ...]
    label: str | None
    probabilities: tuple[float, ...]
    confidence: float | None
    novelty: float | None
    decision: Literal["accepted", "review", "refused"]
    reason: str = ""
    error: str | None = None

    @classmethod
    def refused(cls, path: str, classes: tuple[str, ...], reason: str) -> Prediction:
        """Return what stands in the place of an answer where an image could not be used."""
        return cls(path, classes, None, (), None, None, "refused", error=reason)

    @property
    def headline(self) -> str:
        """What stands above the image; see `headline`."""
        return headline(self.label, self.reason)

    def row(self) -> dict[str, str | float | None]:
        """Return one row of a table with the `columns` of its classes, in that order.

        Numbers that a refused image does not have are None.
        """
        values = self.probabilities or (None,) * len(self.classes)
        return {
            "path": self.path,
            "label": self.label or "",
            "confidence": self.confidence,
            "decision": self.decision,
            "reason": self.reason,
            "novelty": self.novelty,
            **{f"p_{name}": value for name, value in zip(self.classes, values, strict=True)},
            "error": self.error or "",
        }


class RawPredictions(NamedTuple):
    """A model's predictions for N images.

    Parameters
    ----------
    probabilities : array of float, (N, C)
    novelty : array of float32, (N,)
    """

    probabilities: NDArray[np.floating]
    novelty: NDArray[np.float32]


class Explained(NamedTuple):
    """An answer, and where the model looked for it.

    Parameters
    ----------
    prediction : Prediction
    attention : array of float32, (K, K), or None
        Grad-CAM of the answered class (`explain.grad_cam`); None where the image was refused.
    """

    prediction: Prediction
    attention: NDArray[np.float32] | None


class ImagePrediction(NamedTuple):
    """An answer, and the pixels it was given for.

    Parameters
    ----------
    prediction : Prediction
    pixels : array of uint8, (224, 224, 3), or None
        RGB as `images.fit` gives it; None where the image was refused.
    refusal : ImageError or None
        Why the image was refused, as the typed error.
    """

    prediction: Prediction
    pixels: NDArray[np.uint8] | None
    refusal: ImageError | None = None


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table of predictions, in order."""
    probabilities = (f"p_{name}" for name in classes)
    return (
        "path",
        "label",
        "confidence",
        "decision",
        "reason",
        "novelty",
        *probabilities,
        "error",
    )
