"""Correcting a head by labelled images of one more laboratory.

The images lead to a *correction*: a linear function of the features that is added to the old
logits. It is what a multinomial logistic regression finds that takes the old logits as given (its
offset) and pulls the correction towards zero, in other words the maximum a posteriori of a head
whose prior is the old one. The more images there are, the further it goes; without any it is the
old head. How strongly it is pulled is chosen by cross-validation over whole groups, and *not to
correct at all* is one of the choices. The idea is that of L2-SP (Li, Grandvalet and Davoine 2018,
"Explicit inductive bias for transfer learning with convolutional networks", ICML) on logits
instead of weights, which makes it convex: there is one best correction, found in a fraction of a
second.

A class without images keeps its old logits, and takes no part in the choice between the others.

People pick images to label so that each class has some; a smear has a hundred red cells for each
white one. A boundary that a few dozen images place midway lets through so many of the frequent
class that they outnumber the rare one. The old head is calibrated for the proportions of a smear;
so these are taken out of its logits (their logarithm; Menon et al. 2021, "Long-tail learning via
logit adjustment", ICLR) while the correction is fitted to images in which all classes count alike,
and stay in the corrected head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.model.head import Head
from hematovision.training.adapt_folds import group_folds
from hematovision.training.adapt_solver import STRENGTHS, Problem, solutions

__all__ = ["FOLDS", "STRENGTHS", "Correction", "Examples", "Fitted", "corrected", "fit_correction"]

FOLDS = 5
"""Of the inner cross-validation: each image is answered by four fifths of the others."""

_DIMENSIONS = 256  # With 8 views of 100 images, as good as all 800 in a tenth of the time.


@dataclass(frozen=True)
class Examples:
    """Labelled images of one laboratory.

    Parameters
    ----------
    features : ndarray of float32, shape (N, V, 1280)
        Of V views of each image, the image itself first (`images.view`): seen from several sides,
        a few dozen images say more.
    labels : ndarray of int, shape (N,)
        Class indices of the model.
    groups : tuple of str
        N names; images of one name stay on one side of every split.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Examples:
        """Return some of them, by position or mask."""
        positions = np.arange(len(self.labels))[rows]
        groups = tuple(self.groups[i] for i in positions)
        return Examples(self.features[positions], self.labels[positions], groups)


class Correction(NamedTuple):
    """What is added to logits: ``features @ kernel + bias``.

    Parameters
    ----------
    kernel : ndarray of float64, shape (1280, C)
    bias : ndarray of float64, shape (C,)
    """

    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]


class Fitted(NamedTuple):
    """A correction, how it was chosen, and what it says of images it was not fitted to.

    Parameters
    ----------
    correction : Correction
    strength : float or None
        One of `STRENGTHS`; None where none did better than the old head, whose correction is zero.
    unseen_logits : ndarray of float64, shape (N, C)
        Each image's logits by a correction of that strength fitted to the other folds.
    """

    correction: Correction
    strength: float | None
    unseen_logits: NDArray[np.float64]


def fit_correction(
    head: Head,
    spread: NDArray[np.floating],
    examples: Examples,
    proportions: NDArray[np.floating],
    seed: int = 0,
) -> Fitted:
    """Find the correction of a head that answers labelled images best, pulled towards none.

    Every class that is present counts alike, however many images show it.

    Parameters
    ----------
    head : Head
        The old one.
    spread : ndarray of float, shape (1280,)
        Standard deviation of each feature within a class: what is a large change, and what none.
    examples : Examples
        Of at least two classes and two groups.
    proportions : ndarray of float, shape (C,)
        How frequent each class is in use, for which `head` is calibrated; all alike where that is
        not known.
    seed : int
        Decides the folds between equals.

    Raises
    ------
    TrainingError
        If all images are of one group.
    """
    n, views, width = examples.features.shape
    features = examples.features.reshape(n * views, width)
    centre = features.mean(axis=0, dtype=np.float64)
    # A norm of about 1 whatever the number of features, so that strengths mean the same.
    scale = 1 / (spread * np.sqrt(width))
    rows, basis = _compressed((features - centre) * scale)
    lean = np.log(proportions / np.mean(proportions))
    offsets = np.asarray(head.logits(features), np.float64) - lean
    problem = Problem(rows, offsets, np.repeat(examples.labels, views))
    folds = np.repeat(group_folds(examples.labels, examples.groups, FOLDS, seed), views)
    strength, unseen = _chosen(problem, folds)
    if strength is None:
        nothing = Correction(np.zeros((width, head.n_classes)), np.zeros(head.n_classes))
        return Fitted(nothing, None, offsets[::views] + lean)
    weights, bias = solutions(problem, strength)[-1]
    kernel = scale[:, None] * (basis @ weights)
    correction = Correction(kernel, bias - centre @ kernel)
    return Fitted(correction, strength, unseen[::views] + lean)


def corrected(head: Head, correction: Correction) -> Head:
    """Return the head whose logits are those of `head` plus the correction, as ordinary layers.

    What the correction adds goes past the hidden layers through two more units a class: ReLU
    passes no negative number, but ``u = relu(u) - relu(-u)``.
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
            layers.append((_block(old, carried), np.concatenate([old_bias, np.zeros(2 * n)])))
        else:
            layers.append((np.vstack([old, carried[:, :n] - carried[:, n:]]), old_bias))
    return Head(tuple((k.astype(np.float32), b.astype(np.float32)) for k, b in layers))


def _compressed(
    features: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Write features (N, 1280) as rows (N, R) of an orthonormal basis (1280, R).

    The best correction lies in the space that the images span (the representer theorem). Of that,
    the `_DIMENSIONS` in which they differ most are kept: the rest is small, and takes the time.
    """
    left, values, right = np.linalg.svd(features, full_matrices=False)
    kept = values > 1e-7 * max(values[0], 1e-12)
    kept[_DIMENSIONS:] = False
    return (left * values)[:, kept], right[kept].T


def _chosen(problem: Problem, folds: NDArray[np.int64]) -> tuple[float | None, NDArray[np.float64]]:
    """Return the strength with the lowest loss on unseen images, and their logits."""
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


def _block(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Put two matrices on the diagonal of one."""
    whole = np.zeros((one.shape[0] + other.shape[0], one.shape[1] + other.shape[1]))
    whole[: one.shape[0], : one.shape[1]] = one
    whole[one.shape[0] :, one.shape[1] :] = other
    return whole
