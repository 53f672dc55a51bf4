"""The answers that are evaluated, checked once at the door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.errors import DatasetError
from hematovision.evaluation.uncertainty import Uncertainty

__all__ = ["Predictions"]

UNKNOWN_LAB = "unknown"
SUM_TOLERANCE = 1e-3  # a softmax over a thousand classes in float32 is within 1e-4


@dataclass(frozen=True)
class Predictions:
    """Predictions beside the truth, checked; make them with `checked`.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float64, shape (N, C)
    classes : tuple of str
        The C class names.
    accepted : ndarray of bool, shape (N,)
    groups : ndarray of int64, shape (N,), or None
        Groups, numbered.
    labs : tuple of str, or None
        None where no lab is known at all.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    classes: tuple[str, ...]
    accepted: NDArray[np.bool_]
    groups: NDArray[np.int64] | None
    labs: tuple[str, ...] | None

    @classmethod
    def checked(
        cls,
        labels: ArrayLike,
        probabilities: ArrayLike,
        classes: Sequence[str],
        accepted: ArrayLike,
        groups: Sequence[str] | None,
        labs: Sequence[str | None] | None,
    ) -> Predictions:
        """Check what `evaluate` was given; its docstring has the parameters and errors."""
        truth, table = np.asarray(labels), np.asarray(probabilities, np.float64)
        taken = np.asarray(accepted, np.bool_)
        if truth.size == 0:
            raise DatasetError(
                "There is no image to evaluate: the part is empty. Choose another with --split."
            )
        _check_labels(truth, len(classes))
        _check_probabilities(table, (len(truth), len(classes)))
        for name, value in (("accepted", taken), ("groups", groups), ("labs", labs)):
            if value is not None and len(value) != len(truth):
                raise ValueError(
                    f"`{name}` must have one entry for each of the {len(truth)} images. "
                    f"Received: {len(value)}"
                )
        ids = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        known = labs is not None and any(lab is not None for lab in labs)
        named = tuple(lab or UNKNOWN_LAB for lab in labs) if labs is not None and known else None
        return cls(truth.astype(np.int64), table, tuple(classes), taken, ids, named)

    @property
    def answers(self) -> NDArray[np.int64]:
        """Answered class indices, shape (N,)."""
        indices: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return indices

    def rows(self, name: str, value: ArrayLike | None) -> NDArray[np.float64] | None:
        """Return a further table of one row for each image, or None.

        Raises
        ------
        ValueError
            If it has another number of rows.
        """
        if value is None:
            return None
        table = np.asarray(value, np.float64)
        if table.ndim != 2 or len(table) != len(self.labels):
            raise ValueError(
                f"`{name}` must have one row for each of the {len(self.labels)} images. "
                f"Received: shape {table.shape}"
            )
        return table

    def uncertainty(self, seed: int, of: NDArray[np.bool_] | None = None) -> Uncertainty:
        """Return the scores' intervals, over all images or those where `of` holds."""
        chosen = np.ones(len(self.labels), np.bool_) if of is None else of
        return Uncertainty(
            self.labels[chosen],
            self.answers[chosen],
            self.accepted[chosen],
            len(self.classes),
            None if self.groups is None else self.groups[chosen],
            seed,
        )


def _check_labels(labels: NDArray[Any], n_classes: int) -> None:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "`labels` must be class indices of shape (N,). "
            f"Received: shape {labels.shape}, dtype {labels.dtype}"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"`labels` must be in 0 .. {n_classes - 1}. Received: {labels.min()} .. {labels.max()}"
        )


def _check_probabilities(table: NDArray[np.float64], shape: tuple[int, int]) -> None:
    if table.shape != shape:
        raise ValueError(f"`probabilities` must have shape {shape}. Received: {table.shape}")
    off = np.abs(table.sum(axis=1) - 1.0)
    # NaN fails every comparison, so the test is for what is right.
    if not (np.all(table >= 0.0) and np.all(off < SUM_TOLERANCE)):
        row = int(np.flatnonzero(~((off < SUM_TOLERANCE) & (table >= 0.0).all(axis=1)))[0])
        raise ValueError(
            f"`probabilities` must be at least 0 and sum to 1 in each row. Received in row {row}: "
            f"{table[row].tolist()}"
        )
