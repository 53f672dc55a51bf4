"""Fit a detector's calibration, thresholds and box size to a few annotated fields of a lab.

The network is unchanged. Its scores are logits of "a cell of this class has its centre here", which
another lab's stain and optics shift; its boxes may be a few percent too wide or narrow for the
lab's camera, and the width of red cells is the scale of the whole analysis.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LEAST_CELLS", "Peaks", "best_threshold", "box_ratio", "fit_logits", "is_gain", "log_loss",
    "logit", "sigmoid",
]  # fmt: skip

LEAST_CELLS = 10
"""Annotated cells of a class below which its values are kept."""

_SLOPE_SPREAD, _OFFSET_SPREAD = 0.5, 1.5  # prior standard deviations of log a and of b
_ROUNDS = 50
_CHANCE = 1.64  # one-sided 5% point of the normal distribution
_PLATEAU = 0.002
_LOWEST, _HIGHEST = 0.05, 0.95
_LIMIT = 1e-6
_MOST = math.log(1.25)  # boxes that differ more have another meaning


class Peaks(NamedTuple):
    """The possible cells of one class in some fields, and the cells that are there."""

    logits: NDArray[np.float64]  # shape (N,): of the detector's calibrated confidence
    right: NDArray[np.bool_]  # shape (N,): whether each matches an annotated cell
    annotated: int  # cells

    def f1(self, threshold: float) -> float:
        """Return the F1 score of the peaks with a confidence of at least `threshold`."""
        kept = self.logits >= logit(threshold)
        total = int(kept.sum()) + self.annotated
        return 2 * int(self.right[kept].sum()) / total if total else 1.0


def logit(probability: float) -> float:
    """Return the logit of a probability, limited to those of 1e-6 and 1 - 1e-6."""
    limited = min(max(probability, _LIMIT), 1 - _LIMIT)
    return math.log(limited / (1 - limited))


def sigmoid(value: float) -> float:
    """Return the probability of a logit."""
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


def fit_logits(peaks: Peaks) -> tuple[float, float]:
    """Fit a and b, so that ``sigmoid(a * logit + b)`` is how often such peaks are cells.

    Logistic regression by Newton's method, with normal priors that keep a near 1 and b near 0: the
    detector was calibrated on hundreds of fields.
    """
    x, y = peaks.logits, peaks.right.astype(np.float64)
    slope, offset = 0.0, 0.0  # log a, b
    for _ in range(_ROUNDS):
        a = math.exp(slope)
        p = 1 / (1 + np.exp(-np.clip(a * x + offset, -30, 30)))
        residual, weight = p - y, p * (1 - p)
        inner = a * x  # derivative of the logit by log a
        gradient = np.array([
            (residual * inner).sum() + slope / _SLOPE_SPREAD**2,
            residual.sum() + offset / _OFFSET_SPREAD**2,
        ])  # fmt: skip
        mixed = (weight * inner).sum()
        hessian = np.array([
            [(weight * inner**2).sum() + 1 / _SLOPE_SPREAD**2, mixed],
            [mixed, weight.sum() + 1 / _OFFSET_SPREAD**2],
        ])  # fmt: skip
        step = np.clip(np.linalg.solve(hessian, gradient), -1, 1)
        slope, offset = slope - float(step[0]), offset - float(step[1])
        if np.abs(step).max() < 1e-6:
            break
    return math.exp(slope), offset


def log_loss(peaks: Peaks, a: float, b: float) -> float:
    """Return the sum of the log losses of ``sigmoid(a * logit + b)``."""
    z = a * peaks.logits + b
    return float((np.logaddexp(0, z) - peaks.right * z).sum())


def is_gain(gains: NDArray[np.number]) -> bool:
    """Return whether the gains of fields (F,) are more than chance.

    Their sum must exceed 1.64 times the square root of the sum of their squares: if gain and loss
    were equally likely in each field, that would happen in one of twenty cases.
    """
    return bool(gains.sum() > _CHANCE * math.sqrt(float((gains.astype(np.float64) ** 2).sum())))


def best_threshold(peaks: Peaks) -> float:
    """Return the threshold with the best F1, 0.05 to 0.95: the middle of the plateau."""
    choices = np.linspace(_LOWEST, _HIGHEST, 181)
    scores = np.array([peaks.f1(float(choice)) for choice in choices])
    good = choices[scores >= scores.max() - _PLATEAU]
    # A plateau may be interrupted: use the part around the best one.
    best = float(choices[int(scores.argmax())])
    gaps = np.flatnonzero(np.diff(good) > 1.5 * (choices[1] - choices[0]))
    parts = np.split(good, gaps + 1)
    part = next(part for part in parts if part[0] <= best <= part[-1])
    return float(part[0] + part[-1]) / 2


def box_ratio(ratios: NDArray[np.float64]) -> float:
    """Return the median of the fields' ratios of annotated to detected diameter, 0.8 to 1.25.

    `ratios` (F,) are above 0; without any, 1.
    """
    if not len(ratios):
        return 1.0
    return math.exp(min(max(float(np.median(np.log(ratios))), -_MOST), _MOST))
