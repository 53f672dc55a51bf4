"""The prediction for one image: a row with the class, its probabilities and the decision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import figures, images
from hematovision.errors import ImageError
from hematovision.model.inference import Source
from hematovision.model.thresholds import is_out_of_distribution
from hematovision.paths import shown
from hematovision.rows import ERROR, Column, Schema, Value

if TYPE_CHECKING:
    from hematovision.figures import Figure

__all__ = [
    "NOT_READ", "NOT_RECOGNISED", "Prediction", "RawPredictions", "headline", "prediction_schema",
]  # fmt: skip

NOT_READ = "Not read"
"""The headline for a file that could not be read."""

NOT_RECOGNISED = "Not recognised"
"""The headline for an out-of-distribution image, whose label is meaningless."""


def headline(label: str | None, reason: str) -> str:
    """Return the title for an image: its label, unless it is out-of-distribution.

    A label with high confidence is misleading if the image shows no cell. Use this wherever a
    label is prominent; tables keep the label, with its decision and reason.

    Parameters
    ----------
    label : str or None
        The most probable class; None if the image could not be read.
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


@lru_cache(maxsize=64)
def prediction_schema(classes: tuple[str, ...]) -> Schema:
    """Return the columns of a table of predictions.

    Examples
    --------
    >>> prediction_schema(("RBC", "WBC")).names[-3:]
    ('p_RBC', 'p_WBC', 'error')
    """
    return Schema(
        (
            Column("path"),
            Column("label"),
            Column("confidence", "number"),
            Column("decision"),
            Column("reason"),
            Column("novelty", "number", required=False),
            *(Column(f"p_{name}", "number") for name in classes),
            Column(ERROR),
        )
    )


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Parameters
    ----------
    path : str
        The image, as passed by the caller.
    classes : tuple of str
        The model's classes.
    label : str or None
        The most probable class; None if the image could not be read.
    probabilities : tuple of float
        One per class, calibrated; empty if the image could not be read.
    confidence : float or None
        The largest probability.
    novelty : float or None
        Distance from the training images, about 1 for typical images. None if the image could
        not be read, or the model has no novelty score.
    decision : {"accepted", "review", "refused"}
        Accepted, flagged for review, or not readable.
    reason : str
        Why it was flagged for review; else empty.
    error : str or None
        Why the image could not be read.
    field_score : float or None
        Probability that the image shows a whole field; not part of the row. None if the image
        could not be read, the prediction was restored from a row, or the model has no field score.
    source : path, bytes, ndarray or None
        Where `plot` reads the image; not part of the row. None for the file at `path`.

    Examples
    --------
    >>> import hematovision
    >>> prediction = hematovision.load().predict("cell.png")[0]
    >>> prediction
    Prediction('cell.png': WBC 99.7%, accepted)
    >>> prediction.label, prediction.decision, round(prediction.confidence, 2)
    ('WBC', 'accepted', 1.0)
    >>> list(prediction.values())[:4]
    ['path', 'label', 'confidence', 'decision']
    >>> prediction.plot().savefig("prediction.png")
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
    field_score: float | None = field(default=None, compare=False)
    source: Source | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        if self.label is None:
            return f"Prediction({self.path!r}: refused: {self.error})"
        decision = f"{self.decision}: {self.reason}" if self.reason else self.decision
        return f"Prediction({self.path!r}: {self.label} {self.confidence:.1%}, {decision})"

    @classmethod
    def refused(cls, path: str, classes: tuple[str, ...], reason: str) -> Prediction:
        """Return the row of an image that could not be read."""
        return cls(path, classes, None, (), None, None, "refused", error=reason)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], classes: tuple[str, ...]) -> Prediction:
        """Restore a prediction from `values()`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a column is missing or has an invalid value.
        """
        if values["decision"] == "refused":
            return cls.refused(str(values["path"]), classes, str(values[ERROR]))
        if values["decision"] not in ("accepted", "review") or values["label"] not in classes:
            raise ValueError(f"not a prediction of the classes {classes}: {values}")
        return cls(
            path=str(values["path"]),
            classes=classes,
            label=values["label"],
            probabilities=tuple(float(values[f"p_{name}"]) for name in classes),
            confidence=float(values["confidence"]),
            novelty=None if values["novelty"] is None else float(values["novelty"]),
            decision=values["decision"],
            reason=str(values["reason"]),
        )

    @property
    def headline(self) -> str:
        """The image's title; see `headline`."""
        return headline(self.label, self.reason)

    @property
    def caption(self) -> str:
        """The headline, the confidence if it is a class, and the decision if it is review."""
        is_label = self.headline == self.label
        confidence = f"  {self.confidence:.1%}" if is_label else ""
        verdict = f", {self.decision}" if self.decision == "review" else ""
        return f"{self.headline}{confidence}{verdict}"

    def image(self) -> NDArray[np.uint8]:
        """Read the image: RGB uint8 (H, W, 3).

        Raises
        ------
        ImageError
            If it cannot be read, or was in memory and is not kept.
        """
        source = self.path if self.source is None else self.source
        if isinstance(source, np.ndarray):
            return source
        if isinstance(source, str | Path | bytes):
            return images.read(source, name=self.path)
        raise source if isinstance(source, ImageError) else ImageError(self.path, "not an image")

    def panel(self) -> figures.Panel:
        """Return the image with its caption for `figures.image_grid`."""
        try:
            pixels = None if self.label is None else self.image()
        except ImageError:  # changed since it was classified
            pixels = None
        return figures.Panel(
            pixels, self.caption, shown(self.path), is_flagged=self.decision != "accepted"
        )

    def plot(self) -> Figure:
        """Return a matplotlib figure of the image with its label, confidence and decision.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        return figures.show(figures.image_grid([self.panel()]))

    @property
    def schema(self) -> Schema:
        """The columns; see `prediction_schema`."""
        return prediction_schema(self.classes)

    def values(self) -> dict[str, Value]:
        """Return the values by column; numbers are None if the image could not be read."""
        numbers = self.probabilities or (None,) * len(self.classes)
        return {
            "path": self.path,
            "label": self.label or "",
            "confidence": self.confidence,
            "decision": self.decision,
            "reason": self.reason,
            "novelty": self.novelty,
            **{f"p_{name}": value for name, value in zip(self.classes, numbers, strict=True)},
            ERROR: self.error or "",
        }

    def row(self) -> dict[str, Value]:
        """Return `values()`; deprecated."""
        warnings.warn(
            "Prediction.row() is deprecated and will be removed in 0.4; use Prediction.values()",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.values()


class RawPredictions(NamedTuple):
    """Predictions for N images, without decisions."""

    probabilities: NDArray[np.floating]  # shape (N, C)
    novelty: NDArray[np.float32]  # shape (N,)
    field: NDArray[np.float32] | None = None  # shape (N,); None without a field score
