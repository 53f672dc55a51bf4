"""Calibrate probabilities: predictions with confidence p should be correct at rate p.

One temperature for all classes and one bias per class are fitted to validation images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ModelError
from hematovision.model.checks import checked
from hematovision.model.head import Head, log_softmax

__all__ = ["Calibration", "fit_calibration"]

_SCALES = (0.05, 20.0)  # range of 1 / temperature; networks typically need 0.3 to 2
_BIAS_SPREAD = 1.0  # standard deviation of a bias's prior: a factor e in the odds
_STEPS = 100  # Newton's method needs about ten
_ENOUGH = 1e-10  # stop when the loss improves by less than this per image


@dataclass(frozen=True)
class Calibration:
    """``softmax(logits / temperature + bias)``."""

    temperature: float  # above 0; above 1 if the model was overconfident
    # shape (C,): sums to 0. Training weights all classes equally; the bias restores their
    # frequencies.
    bias: NDArray[np.float64]

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated logits, shape (..., C)."""
        return np.asarray(logits, np.float64) / self.temperature + self.bias

    def fold(self, head: Head) -> Head:
        """Return a head with this calibration folded into its last layer."""
        return head.calibrated(self.temperature, self.bias)


def fit_calibration(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Calibration:
    """Fit a calibration of logits: bias-corrected temperature scaling.

    The method is that of Alexandari, Kundaje and Shrikumar 2020 (arXiv:1901.06852, sec. 2.2), an
    extension of Guo et al. 2017 (arXiv:1706.04599): temperature and biases minimise the negative
    log-likelihood, which is convex in the biases and the inverse of the temperature; Newton's
    method finds its one minimum.

    Two measures prevent overconfidence after a fit to few images. Targets are (N + 1) / (N + 2)
    instead of 1, with the rest shared by the other classes (Platt 1999, "Probabilistic outputs for
    support vector machines", sec. 2.2). Each bias has a normal prior with mean 0 and standard
    deviation 1. Classes without images are left out of the fit: their bias is 0.

    `logits` (N, C) and `labels` (N,), from 0, belong to validation images with the class
    frequencies expected in use. If fewer than two classes have images, temperature 1 and bias 0
    are returned. Raises `ModelError` if the shapes do not match, or the values or the likelihood
    are not finite.
    """
    scores, truth = checked(logits, labels)
    bias = np.zeros(scores.shape[1])
    present, column = np.unique(truth, return_inverse=True)
    if len(present) < 2:
        return Calibration(1.0, bias)
    scores, count = scores[:, present], len(truth)
    targets = np.full(scores.shape, 1 / (count + 2) / (len(present) - 1))
    targets[np.arange(count), column] = (count + 1) / (count + 2)
    scale, found = _Problem(scores, targets).solve()
    bias[present] = found - found.mean()
    return Calibration(1 / scale, bias)


@dataclass(frozen=True)
class _Problem:
    """Loss, gradient and Hessian in (scale, bias of each class)."""

    scores: NDArray[np.float64]
    targets: NDArray[np.float64]

    def solve(self) -> tuple[float, NDArray[np.float64]]:
        point = np.concatenate([[1.0], np.zeros(self.scores.shape[1])])
        loss = self.loss(point)
        for _ in range(_STEPS):
            step = self.newton_step(point)
            point_before, loss_before = point, loss
            for halvings in range(40):
                point = self.inside(point_before - step * 0.5**halvings)
                loss = self.loss(point)
                if loss <= loss_before:
                    break
            else:  # No step lowers the loss, apart from rounding.
                return float(point_before[0]), point_before[1:]
            if loss_before - loss < _ENOUGH * len(self.scores):
                break
        return float(point[0]), point[1:]

    def inside(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([[np.clip(point[0], *_SCALES)], point[1:]])

    def loss(self, point: NDArray[np.float64]) -> float:
        logs = log_softmax(self.scores * point[0] + point[1:])
        prior = float(np.sum(point[1:] ** 2)) / _BIAS_SPREAD**2 / 2
        value = prior - float((self.targets * logs).sum())
        if not math.isfinite(value):
            raise ModelError(
                f"Logits of {len(self.scores)} validation images cannot be calibrated: the "
                "likelihood is not finite. Check the weights the features came from."
            )
        return value

    def newton_step(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        scores, bias = self.scores, point[1:]
        p = np.exp(log_softmax(scores * point[0] + bias))
        rest = p - self.targets
        gradient = np.concatenate([[(rest * scores).sum()], rest.sum(axis=0)])
        gradient[1:] += bias / _BIAS_SPREAD**2
        mean = (p * scores).sum(axis=1, keepdims=True)
        around = p * (scores - mean)
        hessian = np.empty((len(point), len(point)))
        hessian[0, 0] = (around * scores).sum()
        hessian[0, 1:] = hessian[1:, 0] = around.sum(axis=0)
        hessian[1:, 1:] = np.diag(p.sum(axis=0)) - p.T @ p
        hessian[np.diag_indices_from(hessian)] += [1e-9, *np.full(len(bias), 1 / _BIAS_SPREAD**2)]
        return np.asarray(np.linalg.solve(hessian, gradient))
