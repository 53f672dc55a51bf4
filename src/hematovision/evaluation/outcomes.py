"""A model's predictions and the true classes: what metrics are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.errors import DatasetError
from hematovision.evaluation import scores
from hematovision.evaluation.uncertainty import Uncertainty

__all__ = ["Outcomes"]

_Scalar = TypeVar("_Scalar", bound=np.generic)

_UNKNOWN_LAB = "unknown"
_SUM_TOLERANCE = 1e-3  # a softmax over a thousand classes in float32 is within 1e-4


@dataclass(frozen=True)
class Outcomes:
    """Validated predictions and labels of N images; create with `checked`.

    Its arrays can't be written to, so that no metric changes what another one is computed from.
    """

    labels: NDArray[np.int64]  # shape (N,)
    probabilities: NDArray[np.float64]  # shape (N, C)
    classes: tuple[str, ...]  # the C class names
    accepted: NDArray[np.bool_]  # shape (N,)
    groups: NDArray[np.int64] | None  # shape (N,): group numbers
    labs: NDArray[np.str_] | None  # shape (N,); None if no lab is known

    @classmethod
    def checked(
        cls,
        labels: ArrayLike,
        probabilities: ArrayLike,
        classes: Sequence[str],
        accepted: ArrayLike,
        groups: Sequence[str] | None,
        labs: Sequence[str | None] | None,
    ) -> Outcomes:
        """Check the arguments of `metrics.evaluate`; see there."""
        truth, table = np.asarray(labels), np.asarray(probabilities, np.float64)
        taken = np.asarray(accepted, np.bool_)
        if truth.size == 0:
            raise DatasetError(
                "There are no images to evaluate: the split is empty. Choose another with --split."
            )
        _check_labels(truth, len(classes))
        _check_probabilities(table, (len(truth), len(classes)))
        for name, value in (("accepted", taken), ("groups", groups), ("labs", labs)):
            if value is not None and len(value) != len(truth):
                raise ValueError(
                    f"`{name}` must have one entry per image, {len(truth)} in total. "
                    f"Received: {len(value)}"
                )
        ids = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        known = labs is not None and any(lab is not None for lab in labs)
        named = np.array([lab or _UNKNOWN_LAB for lab in labs or ()]) if known else None
        return cls(
            _read_only(truth.astype(np.int64)),
            _read_only(table),
            tuple(classes),
            _read_only(taken),
            None if ids is None else _read_only(ids),
            None if named is None else _read_only(named),
        )

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted class indices, shape (N,)."""
        indices: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return _read_only(indices)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """The confusion matrix, shape (C, C), with true classes in rows."""
        return _read_only(scores.confusion_matrix(self.labels, self.predicted, len(self.classes)))

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Outcomes:
        """Return the chosen images, by position or as a mask; an image may be chosen repeatedly."""
        return replace(
            self,
            labels=self.labels[chosen],
            probabilities=self.probabilities[chosen],
            accepted=self.accepted[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            labs=None if self.labs is None else self.labs[chosen],
        )

    def rows(self, name: str, value: ArrayLike | None) -> NDArray[np.float64] | None:
        """Check that an optional table has one row per image; raise `ValueError` if not."""
        if value is None:
            return None
        table = np.asarray(value, np.float64)
        if table.ndim != 2 or len(table) != len(self.labels):
            raise ValueError(
                f"`{name}` must have one row per image, {len(self.labels)} in total. "
                f"Received: shape {table.shape}"
            )
        return table

    def uncertainty(self, seed: int) -> Uncertainty:
        """Return the intervals of the scores."""
        return Uncertainty(
            self.labels, self.predicted, self.accepted, len(self.classes), self.groups, seed
        )


def _read_only(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return a view that can't be written to; the array itself may be the caller's."""
    view = array.view()
    view.flags.writeable = False
    return view


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
    valid = (off < _SUM_TOLERANCE) & (table >= 0.0).all(axis=1)  # False for NaN
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise ValueError(
            f"`probabilities` must be at least 0 and sum to 1 in each row. Received in row {row}: "
            f"{table[row].tolist()}"
        )
