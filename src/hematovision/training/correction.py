"""Correct a head with labelled images of another lab.

A *correction* is a linear function of the features that is added to the old logits. It is fitted by
multinomial logistic regression with the old logits as offset and an L2 penalty: the maximum a
posteriori estimate with the old head as prior. Cross-validation over whole groups chooses the
strength of the penalty, or no correction. The idea is that of L2-SP (Li, Grandvalet and Davoine
2018, "Explicit inductive bias for transfer learning with convolutional networks", ICML), applied to
logits instead of weights. This makes it convex, with a unique optimum found in a fraction of a
second. A class without images keeps its old logits and does not affect the other classes.

The labelled images usually have similar numbers of each class, whereas the old head is calibrated
for smears, with a hundred red cells per white cell. During the fit all classes therefore have the
same weight, and the log class proportions are subtracted from the old logits (logit adjustment;
Menon et al. 2021, ICLR, arXiv:2007.07314). The corrected head keeps the proportions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import TrainingError
from hematovision.model.head import Head, log_softmax, softmax

__all__ = [
    "FOLDS", "STRENGTHS", "Correction", "Examples", "Fitted", "Problem", "corrected",
    "fit_correction", "group_folds", "solutions",
]  # fmt: skip

FOLDS = 5
"""Folds of the cross-validation."""

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Penalties to choose from, for features with a norm of about 1."""

_DIMENSIONS = 256  # with 8 views of 100 images, as good as all 800 in a tenth of the time
_STEPS = 100  # per strength
_TOLERANCE = 1e-5
_BIAS_PENALTY = 0.1  # relative to the kernel's: a shift of all logits should be easy to correct

_Solution: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]  # (R, C) and (C,)


@dataclass(frozen=True)
class Examples:
    """Labelled images of one lab."""

    # shape (N, V, 1280): V views of each image (`images.view`), the unchanged image first
    features: NDArray[np.float32]
    labels: NDArray[np.int64]  # shape (N,): class indices of the model
    groups: tuple[str, ...]  # N names; images of one group stay on one side of every split

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Examples:
        """Select examples by position or mask."""
        positions = np.arange(len(self.labels))[rows]
        groups = tuple(self.groups[i] for i in positions)
        return Examples(self.features[positions], self.labels[positions], groups)


class Correction(NamedTuple):
    """A term added to logits: ``features @ kernel + bias``."""

    kernel: NDArray[np.float64]  # shape (1280, C)
    bias: NDArray[np.float64]  # shape (C,)


class Fitted(NamedTuple):
    """A correction with its out-of-fold logits."""

    correction: Correction
    # one of `STRENGTHS`; None, with a zero correction, if none improves on the old head
    strength: float | None
    # shape (N, C): each image's logits with a correction of this strength, fitted to other folds
    unseen_logits: NDArray[np.float64]


def fit_correction(
    head: Head,
    spread: NDArray[np.floating],
    examples: Examples,
    proportions: NDArray[np.floating],
    seed: int = 0,
) -> Fitted:
    """Fit a head's correction to labelled images with equal weight for each class.

    `head` is the old one, calibrated for the class frequencies `proportions` (C,), uniform if
    unknown. `spread` (1280,) is the standard deviation of each feature within a class: the unit of
    its changes. `examples` are of at least two classes and two groups; `seed` breaks ties between
    folds. Raises `TrainingError` if all images are in one group.
    """
    n, views, width = examples.features.shape
    features = examples.features.reshape(n * views, width)
    centre = features.mean(axis=0, dtype=np.float64)
    # Norms of about 1 make strengths independent of the number of features.
    scale = 1 / (spread * np.sqrt(width))
    rows, basis = _compressed((features - centre) * scale)
    prior = np.log(proportions / np.mean(proportions))
    offsets = np.asarray(head.logits(features), np.float64) - prior
    problem = Problem(rows, offsets, np.repeat(examples.labels, views))
    folds = np.repeat(group_folds(examples.labels, examples.groups, FOLDS, seed), views)
    strength, unseen = _choose_strength(problem, folds)
    if strength is None:
        zero = Correction(np.zeros((width, head.n_classes)), np.zeros(head.n_classes))
        return Fitted(zero, None, offsets[::views] + prior)
    weights, bias = solutions(problem, strength)[-1]
    kernel = scale[:, None] * (basis @ weights)
    correction = Correction(kernel, bias - centre @ kernel)
    return Fitted(correction, strength, unseen[::views] + prior)


def corrected(head: Head, correction: Correction) -> Head:
    """Return a head of dense layers whose logits are those of `head` plus the correction.

    The correction bypasses the hidden layers through two more units per class:
    ``u = relu(u) - relu(-u)``.
    """
    kernel, bias = correction
    n, depth = len(bias), len(head.layers)
    carried = np.eye(2 * n)
    layers: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = []
    for number, (old, old_bias) in enumerate(head.layers, start=1):
        if depth == 1:
            layers.append((old + kernel, old_bias + bias))
        elif number == 1:
            wider = np.hstack([old, kernel, -kernel])
            layers.append((wider, np.concatenate([old_bias, bias, -bias])))
        elif number < depth:
            right, lower = np.zeros((len(old), 2 * n)), np.zeros((2 * n, old.shape[1]))
            block = np.block([[old, right], [lower, carried]])
            layers.append((block, np.concatenate([old_bias, np.zeros(2 * n)])))
        else:
            layers.append((np.vstack([old, carried[:, :n] - carried[:, n:]]), old_bias))
    return Head(tuple((k.astype(np.float32), b.astype(np.float32)) for k, b in layers))


def _compressed(
    features: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coordinates (N, R) of features (N, 1280) in an orthonormal basis (1280, R).

    The best correction lies in the span of the images (representer theorem); the `_DIMENSIONS`
    directions of largest variance are kept.
    """
    left, values, right = np.linalg.svd(features, full_matrices=False)
    kept = values > 1e-7 * max(values[0], 1e-12)
    kept[_DIMENSIONS:] = False
    return (left * values)[:, kept], right[kept].T


def _choose_strength(
    problem: Problem, folds: NDArray[np.int64]
) -> tuple[float | None, NDArray[np.float64]]:
    """Return the strength with the lowest out-of-fold loss, and its out-of-fold logits."""
    unseen = {strength: problem.offsets.copy() for strength in STRENGTHS}
    for fold in np.unique(folds):
        inside, outside = problem.take(folds != fold), problem.take(folds == fold)
        for strength, solution in zip(STRENGTHS, solutions(inside), strict=True):
            unseen[strength][folds == fold] = outside.logits(*solution)
    losses = {strength: problem.loss(logits) for strength, logits in unseen.items()}
    best = min(STRENGTHS, key=losses.__getitem__)
    if losses[best] >= problem.loss(problem.offsets):
        return None, problem.offsets
    return best, unseen[best]


class Problem(NamedTuple):
    """Rows (N, R), their offsets (N, C) in logits, and their classes (N,)."""

    rows: NDArray[np.float64]
    offsets: NDArray[np.float64]
    labels: NDArray[np.int64]

    def take(self, mask: NDArray[np.bool_]) -> Problem:
        """Select rows."""
        return Problem(self.rows[mask], self.offsets[mask], self.labels[mask])

    def logits(
        self, weights: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the corrected logits (N, C)."""
        return self.offsets + self.rows @ weights + bias

    def shares(self) -> NDArray[np.float64]:
        """Return the weight of each row: equal for every class, 1 in total."""
        counts = np.bincount(self.labels)
        return np.asarray(1 / (np.count_nonzero(counts) * counts[self.labels]), np.float64)

    def loss(self, logits: NDArray[np.float64]) -> float:
        """Return the class-balanced log loss of logits (N, C)."""
        of_truth = log_softmax(logits)[np.arange(len(logits)), self.labels]
        return -float(self.shares() @ of_truth)


def solutions(problem: Problem, last: float = STRENGTHS[-1]) -> list[_Solution]:
    """Solve for every strength down to `last`, each starting from the previous solution.

    Minimises the balanced log loss plus ``strength / 2 * |correction|^2`` by accelerated gradient
    descent with restarts (O'Donoghue and Candès 2015, "Adaptive restart for accelerated gradient
    schemes", Found. Comput. Math. 15, sec. 3.2).
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
        penalty = np.full((rows.shape[1], 1), strength)
        penalty[-1] *= _BIAS_PENALTY
        weights = _descend(gradient, weights, penalty, 1 / (steepest + strength))
        # Columns of classes without images stay zero; the others are centred.
        full = np.zeros((len(weights), problem.offsets.shape[1]))
        full[:, present] = weights - weights.mean(axis=1, keepdims=True)
        found.append((full[:-1], full[-1]))
    return found


def _descend(
    gradient: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    start: NDArray[np.float64],
    penalty: NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    weights = ahead = start
    momentum = 1.0
    for _ in range(_STEPS):
        after = ahead - step * (gradient(ahead) + penalty * ahead)
        moved = after - weights
        if ((ahead - after) * moved).sum() > 0:
            momentum = 1.0
        grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        weights, ahead = after, after + (momentum - 1) / grown * moved
        momentum = grown
        if np.abs(moved).max() < _TOLERANCE:
            break
    return weights


def group_folds(
    labels: NDArray[np.integer], groups: Sequence[str], n_folds: int, seed: int = 0
) -> NDArray[np.int64]:
    """Assign whole groups to folds, spreading every class over the folds as evenly as possible.

    `labels` (N,) are class indices and `groups` N names. There are fewer folds than `n_folds` if
    there are fewer groups. `seed` breaks ties; the order of the images does not matter. Returns the
    fold of each image, int (N,), from 0. Raises `TrainingError` if all images are in one group.
    """
    names, owner = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    if len(names) < 2:
        raise TrainingError(
            f"All {len(labels)} images are in one group ({names[0] if len(names) else 'none'}), "
            "so none can be held out for evaluation. Add images from another field or patient."
        )
    counts = np.zeros((len(names), int(np.max(labels)) + 1))
    np.add.at(counts, (owner, labels), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    # Largest share of a class first: that of rare classes and of large groups.
    ties = np.random.default_rng(seed).permutation(len(names))
    order = np.lexsort((ties, -shares.max(axis=1)))
    loads = np.zeros((min(n_folds, len(names)), counts.shape[1]))
    fold = np.zeros(len(names), np.int64)
    for group in order:
        fold[group] = np.argmin(loads @ shares[group] + 1e-6 * loads.sum(axis=1))
        loads[fold[group]] += shares[group]
    return fold[owner]
