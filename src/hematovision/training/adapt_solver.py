"""The best correction of logits for each strength of the pull towards none: a convex problem."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.model.head import log_softmax, softmax

__all__ = ["STRENGTHS", "Problem", "Solution", "solutions"]

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""How strongly a correction may be pulled towards none, where features have a norm of about 1."""

_STEPS = 100  # For each strength.
_TOLERANCE = 1e-5
_FREE_BIAS = 0.1  # The bias is pulled a tenth as strongly: a lab's overall tilt is cheap to mend.

Solution: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weights (R, C) and biases (C,)."""


class Problem(NamedTuple):
    """Rows (N, R), the logits they have already (N, C), and their classes (N,)."""

    rows: NDArray[np.float64]
    offsets: NDArray[np.float64]
    labels: NDArray[np.int64]

    def take(self, mask: NDArray[np.bool_]) -> Problem:
        """Return some of the rows."""
        return Problem(self.rows[mask], self.offsets[mask], self.labels[mask])

    def logits(
        self, weights: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the logits (N, C) with a solution's correction."""
        return self.offsets + self.rows @ weights + bias

    def shares(self) -> NDArray[np.float64]:
        """Return what each image counts: every class alike, all together 1."""
        counts = np.bincount(self.labels)
        return np.asarray(1 / (np.count_nonzero(counts) * counts[self.labels]), np.float64)

    def loss(self, logits: NDArray[np.float64]) -> float:
        """Return the log loss of logits (N, C), every class alike."""
        of_truth = log_softmax(logits)[np.arange(len(logits)), self.labels]
        return -float(self.shares() @ of_truth)


def solutions(problem: Problem, last: float = STRENGTHS[-1]) -> list[Solution]:
    """Solve for every strength down to `last`, each from where the one before it ended.

    Minimises the balanced log loss plus ``strength / 2 * |correction|^2`` by accelerated gradient
    descent that starts anew where it overshoots (O'Donoghue and Candès 2015, "Adaptive restart for
    accelerated gradient schemes", Found. Comput. Math. 15, sec. 3.2).
    """
    present = np.unique(problem.labels)
    rows = np.hstack([problem.rows, np.ones((len(problem.rows), 1))])
    shares = problem.shares()[:, None]
    targets = (problem.labels[:, None] == present).astype(np.float64)
    offsets = problem.offsets[:, present]
    # Softmax' second derivative is at most 1/2 (Böhning 1992, Ann. Inst. Statist. Math. 44).
    steepest = 0.5 * float(np.linalg.norm(rows * np.sqrt(shares), 2)) ** 2

    def gradient(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(rows.T @ (shares * (softmax(offsets + rows @ weights) - targets)))

    weights = np.zeros((rows.shape[1], len(present)))
    found = []
    for strength in STRENGTHS[: STRENGTHS.index(last) + 1]:
        pull = np.full((rows.shape[1], 1), strength)
        pull[-1] *= _FREE_BIAS
        weights = _descend(gradient, weights, pull, 1 / (steepest + strength))
        found.append(_whole(weights, present, problem.offsets.shape[1]))
    return found


def _descend(
    gradient: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    start: NDArray[np.float64],
    pull: NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    weights = ahead = start
    momentum = 1.0
    for _ in range(_STEPS):
        after = ahead - step * (gradient(ahead) + pull * ahead)
        moved = after - weights
        if ((ahead - after) * moved).sum() > 0:
            momentum = 1.0
        grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        weights, ahead = after, after + (momentum - 1) / grown * moved
        momentum = grown
        if np.abs(moved).max() < _TOLERANCE:
            break
    return weights


def _whole(weights: NDArray[np.float64], present: NDArray[np.int64], n_classes: int) -> Solution:
    """Give every class its column.

    Those of classes without images are zero, those of the others add up to zero, so that the
    former stay where they are among the latter.
    """
    whole = np.zeros((len(weights), n_classes))
    whole[:, present] = weights - weights.mean(axis=1, keepdims=True)
    return whole[:-1], whole[-1]
