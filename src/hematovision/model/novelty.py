"""Novelty scores: the distance of an image's features from those of the training images.

A classifier predicts a class for any image, even of text or tables. Its probabilities only compare
the classes, so they do not reveal such an image. The feature directions in which cells vary least
do (Kamoi & Kobayashi 2020, "Why is the Mahalanobis Distance Effective for Anomaly Detection?",
arXiv:2003.00402), and so does the direction from cells to decoys, images without a cell. Both are
fitted in closed form, in about a second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ModelError
from hematovision.model.checks import checked

__all__ = ["Novelty", "fit_novelty"]

_MEDIAN_SHARE = 0.1  # stops almost constant features from dominating the score
_TINIEST_STD = 1e-3
# Chosen on images without a cell that are not used in docs/results.md.
_NARROW_SHARE = 0.4  # Of all directions: 512.
_DECOY_WEIGHT = 0.3
_RIDGE = 1.0  # The mean variance of a feature in standard deviations.


class Novelty(NamedTuple):
    """The distribution of the training images' features."""

    means: NDArray[np.float32]  # shape (C, D): mean features of each class
    # shape (D,): inverse standard deviation of each feature within the classes
    inv_std: NDArray[np.float32]
    # shape (D, K): the directions in which cells vary least, each divided by its standard deviation
    # and the square root of K. Half precision halves the model and changes scores by under 0.01.
    basis: NDArray[np.float16] | None = None
    direction: NDArray[np.float32] | None = None  # shape (D,): the direction from cells to decoys

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the novelty (N,) of `features` (N, D): about 1 for typical cells.

        With ``x = (features - mean) * inv_std`` for the nearest class, it is the square root of
        ``|x @ basis|^2 + max(0, x @ direction)^2``: the distance along the directions in which
        cells vary least, and towards decoys. Without a basis (models of version 0.1) the first
        term is the mean of ``x^2``; without a direction there is no second term.
        """
        rows = np.asarray(features, np.float32)
        # Class by class, to avoid an array (N, C, D).
        squares = [self._squares((rows - mean) * self.inv_std) for mean in self.means]
        return np.asarray(np.sqrt(np.min(squares, axis=0)), np.float32)

    def scaled_to(self, features: NDArray[np.float32]) -> Novelty:
        """Rescale the score so that the median of `features` (N, D) is 1.

        Use images that were not part of the fit: scores of fitted images are too low.
        """
        unit = float(np.median(self.score(features))) if len(features) else 0.0
        if unit <= 0 or self.basis is None:
            return self
        # Almost constant features have a tiny median: the basis must stay in half precision.
        unit = max(unit, float(np.abs(self.basis).max()) / float(np.finfo(np.float16).max))
        return self._replace(
            basis=np.asarray(self.basis.astype(np.float32) / unit, np.float16),
            direction=None if self.direction is None else self.direction / np.float32(unit),
        )

    def _squares(self, apart: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.basis is None:
            squares = (apart**2).mean(axis=1)
        else:
            squares = ((apart @ self.basis.astype(np.float32)) ** 2).sum(axis=1)
        if self.direction is not None:
            squares = squares + np.maximum(apart @ self.direction, 0) ** 2
        return np.asarray(squares, np.float32)


def fit_novelty(
    features: NDArray[np.float32],
    labels: NDArray[np.integer],
    n_classes: int,
    decoys: NDArray[np.float32] | None = None,
) -> Novelty:
    """Fit class means and the spread within the classes.

    Variances and covariances are means over the classes with at least two images, so large classes
    do not dominate. Standard deviations are at least a tenth of their median. The covariance is
    shrunk towards a multiple of the identity (Chen, Wiesel, Eldar & Hero 2010, "Shrinkage
    algorithms for MMSE covariance estimation", IEEE Trans. Signal Process. 58, eq. 23). A class
    without images gets the mean of another, which does not change the minimum over the classes.

    `features` (N, D) and `labels` (N,), from 0, belong to training images; `decoys` (M, D) are
    features of images without a cell. Raises `ModelError` if there are no images, the shapes do not
    match, or features are not finite.
    """
    rows, truth = checked(features, labels)
    if not len(truth):
        raise ModelError("Novelty needs the features of at least one image. Received: none.")
    groups = {label: rows[truth == label] for label in range(n_classes) if (truth == label).any()}
    spare = next(iter(groups.values())).mean(axis=0)
    means = np.array([groups[k].mean(axis=0) if k in groups else spare for k in range(n_classes)])
    several = [group for group in groups.values() if len(group) > 1]
    std = _spread(several, rows.shape[1])
    plain = Novelty(np.asarray(means, np.float32), np.asarray(1 / std, np.float32))
    if not several:
        return plain
    within = np.mean([_covariance(group / std) for group in several], axis=0)
    within = _shrunk(within, sum(map(len, several)) - len(several))
    basis = _narrow_directions(within)
    if decoys is None or not len(decoys):
        return plain._replace(basis=basis)
    unlike, _ = checked(decoys, np.zeros(len(decoys), np.int64))
    apart = _from_nearest(unlike / std, means / std)
    return plain._replace(basis=basis, direction=_towards(apart, within))


def _spread(groups: list[NDArray[np.float64]], size: int) -> NDArray[np.float64]:
    """Return the standard deviation of each feature within the classes."""
    if not groups:
        return np.ones(size)
    std = np.sqrt(np.mean([group.var(axis=0, ddof=1) for group in groups], axis=0))
    lowest = max(_MEDIAN_SHARE * float(np.median(std)), _TINIEST_STD)
    return np.asarray(np.maximum(std, lowest))


def _covariance(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    # Single precision is twice as fast and precise enough.
    centred = (rows - rows.mean(axis=0)).astype(np.float32)
    return np.asarray(centred.T @ centred, np.float64) / (len(rows) - 1)


def _shrunk(covariance: NDArray[np.float64], degrees: int) -> NDArray[np.float64]:
    """Shrink a covariance towards a multiple of the identity (Chen et al., eq. 23)."""
    size, total = len(covariance), float(np.trace(covariance))
    squares = float((covariance**2).sum())
    excess = (degrees + 1 - 2 / size) * (squares - total**2 / size)
    share = min(1.0, ((1 - 2 / size) * squares + total**2) / excess) if excess > 0 else 1.0
    shrunk = (1 - share) * covariance
    shrunk[np.diag_indices(size)] += max(share * total / size, _TINIEST_STD**2)
    return shrunk


def _narrow_directions(within: NDArray[np.float64]) -> NDArray[np.float16]:
    """Return the directions of smallest variance, divided by their standard deviations."""
    variances, directions = np.linalg.eigh(within)  # smallest first
    count = max(1, round(_NARROW_SHARE * len(variances)))
    return np.asarray(directions[:, :count] / np.sqrt(variances[:count] * count), np.float16)


def _from_nearest(rows: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the difference of each row (M, D) from the nearest of the means (C, D)."""
    distances = [((rows - mean) ** 2).sum(axis=1) for mean in means]
    return np.asarray(rows - means[np.argmin(distances, axis=0)])


def _towards(decoys: NDArray[np.float64], within: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the direction from cells to decoys by ridge regression, scaled by the cells' spread.

    With cells centred at zero and equal weight for both groups, least squares with targets -1 and
    +1 yields ``(within + second moments of decoys + 2 ridge)^-1 @ mean of decoys``, up to a factor.
    """
    moments = within + decoys.T @ decoys / len(decoys)
    moments[np.diag_indices(len(moments))] += 2 * _RIDGE
    direction = np.linalg.solve(moments, decoys.mean(axis=0))
    variance = float(direction @ within @ direction)
    scale = np.sqrt(_DECOY_WEIGHT / variance) if variance > 0 else 0.0
    return np.asarray(direction * scale, np.float32)
