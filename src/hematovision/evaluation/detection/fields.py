"""Annotated fields with the cells that a detector found in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["EvaluatedField", "FoundCells"]


@dataclass(frozen=True, eq=False)
class FoundCells:
    """The cells found in one field.

    Raises `ValueError` if the arrays have other shapes, or a value is not finite.
    """

    boxes: NDArray[np.float64]  # shape (N, 4): xmin, ymin, xmax, ymax in pixels of the field
    labels: NDArray[np.int64]  # shape (N,): class indices
    confidence: NDArray[np.float64]  # shape (N,): orders the cells; higher is more certain
    # shape (N,): the detector's result; the others are below its thresholds, and only extend the
    # curves (average precision, FROC)
    kept: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.labels)
        shapes = [getattr(self, name).shape for name in ("labels", "confidence", "kept")]
        if self.boxes.shape != (n, 4) or any(shape != (n,) for shape in shapes):
            raise ValueError(
                "`boxes` must have shape (N, 4), `labels`, `confidence` and `kept` (N,). "
                f"Received: {self.boxes.shape}, {shapes}"
            )
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.confidence).all()):
            raise ValueError("`boxes` and `confidence` must be finite numbers.")

    @classmethod
    def of(
        cls, boxes: ArrayLike, labels: ArrayLike, confidence: ArrayLike, *, kept: ArrayLike = True
    ) -> FoundCells:
        """Convert array-likes; `confidence` and `kept` may be one value for all cells."""
        where = np.asarray(boxes, np.float64).reshape(-1, 4)
        n = len(where)
        return cls(
            where,
            np.asarray(labels, np.int64).reshape(n),
            np.array(np.broadcast_to(np.asarray(confidence, np.float64), n)),
            np.array(np.broadcast_to(np.asarray(kept, np.bool_), n)),
        )

    def of_class(self, index: int) -> FoundCells:
        """Return the cells of one class."""
        return self._where(self.labels == index)

    def only_kept(self) -> FoundCells:
        """Return the detector's result: the cells above its thresholds."""
        return self._where(self.kept)

    def count(self, index: int) -> int:
        """Return the number of cells of one class in the detector's result."""
        return int((self.kept & (self.labels == index)).sum())

    def _where(self, chosen: NDArray[np.bool_]) -> FoundCells:
        return FoundCells(
            self.boxes[chosen], self.labels[chosen], self.confidence[chosen], self.kept[chosen]
        )


@dataclass(frozen=True, eq=False)
class EvaluatedField:
    """One annotated field with the cells found in it."""

    name: str
    boxes: NDArray[np.float64]  # shape (A, 4): annotated cells, clipped to the field
    labels: NDArray[np.int64]  # shape (A,): their class indices
    found: FoundCells
    # class indices that the lab annotates; found cells of other classes are not evaluated
    annotated: frozenset[int]
    group: str = ""  # the bootstrap resamples groups; by default each field is its own
    lab: str = ""
    # the scale that the analysis found and the annotated one, as red-cell diameters in pixels
    diameter: float | None = None
    annotated_diameter: float | None = None

    def boxes_of(self, index: int) -> NDArray[np.float64]:
        """Return the annotated boxes of one class, shape (n, 4)."""
        return np.asarray(self.boxes[self.labels == index])
