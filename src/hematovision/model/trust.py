"""How far an answer can be trusted: calibration, novelty and the decision to ask a person.

This is a first, simple version: one temperature, the distance to the nearest class mean, and two
thresholds, all set on validation images. NumPy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ModelError
from hematovision.model.head import log_softmax

__all__ = [
    "LOW_CONFIDENCE",
    "UNLIKE_TRAINING",
    "Decision",
    "Novelty",
    "Trust",
    "accepts",
    "decide",
    "fit_novelty",
    "fit_temperature",
    "fit_thresholds",
]

LOW_CONFIDENCE = "low confidence"
UNLIKE_TRAINING = "unlike the training images"

_TEMPERATURES = (0.05, 20.0)  # Far outside the 0.5 to 3 that networks are found to need.
_GOLDEN = (math.sqrt(5) - 1) / 2
_MEDIAN_SHARE = 0.1  # Features that hardly ever move must not decide alone what is novel.
_TINIEST_STD = 1e-3
_LEAST_CONFIDENCE = 0.5  # Below it, the answer is more likely wrong than right.
_LEAST_CONFIDENCE_OF_FEW = 0.8
_NOVELTY_QUANTILE = 0.99
_NOVELTY_MARGIN = 1.1


class Novelty(NamedTuple):
    """What the features of the training images look like.

    Parameters
    ----------
    means : array of float32, (C, 1280)
        Mean features of each class.
    inv_std : array of float32, (1280,)
        One over the standard deviation of each feature within the classes.
    """

    means: NDArray[np.float32]
    inv_std: NDArray[np.float32]

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the novelty (N,) of `features` (N, 1280).

        It is the distance to the nearest class mean, as the root mean square over the features of
        (feature - mean) / standard deviation: about 1 for images like those learnt from.
        """
        rows = np.asarray(features, np.float32)
        # Class by class: at no time does an array (N, C, 1280) exist.
        squares = [(((rows - mean) * self.inv_std) ** 2).mean(axis=1) for mean in self.means]
        return np.asarray(np.sqrt(np.min(squares, axis=0)), np.float32)


@dataclass(frozen=True)
class Trust:
    """What turns probabilities and novelty into a decision.

    Parameters
    ----------
    temperature : float
        By what the logits were divided. It is folded into the model's last layer already; it is
        kept to be reported.
    min_confidence : float
        The lowest largest probability that is accepted, from 0 to 1.
    max_novelty : float
        The highest novelty that is accepted.

    Raises
    ------
    ModelError
        If a value is not finite or outside its range.
    """

    temperature: float
    min_confidence: float
    max_novelty: float

    def __post_init__(self) -> None:
        values = (self.temperature, self.min_confidence, self.max_novelty)
        if (
            not all(math.isfinite(value) for value in values)
            or self.temperature <= 0
            or not 0 <= self.min_confidence <= 1
            or self.max_novelty < 0
        ):
            raise ModelError(
                "`Trust` must have temperature > 0, 0 <= min_confidence <= 1 and max_novelty >= 0."
                f" Received: {self}."
            )


class Decision(NamedTuple):
    """Whether an answer stands, and why not."""

    decision: Literal["accepted", "review"]
    reason: str


def decide(confidence: float, novelty: float, trust: Trust) -> Decision:
    """Tell whether an answer is accepted or a person should look.

    Parameters
    ----------
    confidence : float
        The largest probability.
    novelty : float
        As of `Novelty.score`.
    trust : Trust
        The thresholds.

    Returns
    -------
    Decision
        ``("accepted", "")`` or ``("review", reason)``; two reasons are joined by ``"; "``. A value
        that is not a number never passes.
    """
    passes = {
        LOW_CONFIDENCE: confidence >= trust.min_confidence,
        UNLIKE_TRAINING: novelty <= trust.max_novelty,
    }
    reason = "; ".join(text for text, passed in passes.items() if not passed)
    return Decision("review", reason) if reason else Decision("accepted", "")


def accepts(
    probabilities: NDArray[np.floating], novelty: NDArray[np.floating], trust: Trust
) -> NDArray[np.bool_]:
    """Tell for each of N answers whether `decide` accepts it.

    Parameters
    ----------
    probabilities : array (N, C)
    novelty : array (N,)
    trust : Trust

    Returns
    -------
    array of bool, (N,)
    """
    confidence = np.asarray(probabilities).max(axis=1)
    return np.asarray(
        (confidence >= trust.min_confidence) & (np.asarray(novelty) <= trust.max_novelty)
    )


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Find the temperature that calibrates logits (Guo et al. 2017, arXiv:1706.04599, sec. 4.2).

    The mean negative log-likelihood of ``softmax(logits / temperature)`` is minimised by a
    golden-section search over the logarithm of the temperature, between 0.05 and 20. Targets are
    (N + 1) / (N + 2) instead of 1, the rest shared by the other classes (Platt 1999,
    "Probabilistic outputs for support vector machines", sec. 2.2): N images without an error do
    not prove that there are none, and without this the search would run into its lower bound.

    Parameters
    ----------
    logits : array (N, C)
        Of validation images.
    labels : array of int, (N,)
        Their classes, from 0.

    Returns
    -------
    float
        Above 1 if the model was too sure of itself; 1 for N = 0.

    Raises
    ------
    ModelError
        If the shapes do not fit or logits are not finite.
    """
    scores, truth = _checked(logits, labels)
    if not len(truth):
        return 1.0
    count, classes = scores.shape
    targets = np.full(scores.shape, 1 / (count + 2) / (classes - 1))
    targets[np.arange(count), truth] = (count + 1) / (count + 2)

    def loss(log_temperature: float) -> float:
        return -float((targets * log_softmax(scores / math.exp(log_temperature))).sum())

    # The loss is convex in 1 / temperature, hence has one valley in its logarithm.
    low, high = (math.log(bound) for bound in _TEMPERATURES)
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return math.exp((low + high) / 2)


def fit_novelty(
    features: NDArray[np.float32], labels: NDArray[np.integer], n_classes: int
) -> Novelty:
    """Describe what was learnt by its class means and the spread within the classes.

    The variance of a feature is the mean of its variances in the classes of two images and more,
    so that a class does not rule by its number. Standard deviations are at least a tenth of
    their median. A class without images takes the mean of another, which leaves the minimum over
    the classes what it is.

    Parameters
    ----------
    features : array (N, 1280)
        Of training images.
    labels : array of int, (N,)
        Their classes, from 0.
    n_classes : int
        How many classes there are.

    Raises
    ------
    ModelError
        If there are no images, the shapes do not fit, or features are not finite.
    """
    rows, truth = _checked(features, labels)
    if not len(truth):
        raise ModelError("Novelty needs the features of at least one image. Received: none.")
    groups = {label: rows[truth == label] for label in range(n_classes) if (truth == label).any()}
    spare = next(iter(groups.values())).mean(axis=0)
    means = [groups[label].mean(axis=0) if label in groups else spare for label in range(n_classes)]
    variances = [group.var(axis=0, ddof=1) for group in groups.values() if len(group) > 1]
    std = np.sqrt(np.mean(variances, axis=0)) if variances else np.ones(rows.shape[1])
    std = np.maximum(std, max(_MEDIAN_SHARE * float(np.median(std)), _TINIEST_STD))
    return Novelty(np.array(means, np.float32), np.asarray(1 / std, np.float32))


def fit_thresholds(
    probabilities: NDArray[np.floating],
    novelty: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    temperature: float = 1.0,
    max_error: float = 0.005,
    max_review: float = 0.2,
) -> Trust:
    """Set the thresholds on validation images.

    `min_confidence` is the lowest for which at most `max_error` of the accepted answers are
    wrong, but never so high that more than `max_review` of the images would be reviewed, and
    never below 0.5, or 0.8 where there are too few images (fewer than 1 / `max_error`) to show
    such a rate. `max_novelty` is the 99th percentile times 1.1, since validation images come from
    the same fields of view, days and labs and show too little of what is normal.

    Parameters
    ----------
    probabilities : array (N, C)
        Calibrated.
    novelty : array (N,)
    labels : array of int, (N,)
    temperature : float
        Kept in the result.
    max_error, max_review : float
        Rates from 0 to 1.

    Raises
    ------
    ModelError
        If there are no images, the shapes do not fit, or values are not finite.
    """
    scores, truth = _checked(probabilities, labels)
    distances, _ = _checked(np.asarray(novelty).reshape(-1, 1), labels)
    if not len(truth):
        raise ModelError("Thresholds need at least one validation image. Received: none.")
    least = _LEAST_CONFIDENCE if len(truth) * max_error >= 1 else _LEAST_CONFIDENCE_OF_FEW
    confidence = scores.max(axis=1)
    wrong = scores.argmax(axis=1) != truth
    lowest = _lowest_confidence(confidence, wrong, max_error, max_review)
    high = float(np.quantile(distances, _NOVELTY_QUANTILE, method="higher"))
    return Trust(temperature, max(lowest, least), high * _NOVELTY_MARGIN)


def _lowest_confidence(
    confidence: NDArray[np.float64], wrong: NDArray[np.bool_], max_error: float, max_review: float
) -> float:
    """Return a threshold midway between the last accepted confidence and the next below it."""
    order = np.argsort(-confidence, kind="stable")
    ranked, count = confidence[order], len(confidence)
    accepted = np.arange(1, count + 1)
    # A cut between equal confidences is none.
    is_cut = np.append(ranked[:-1] > ranked[1:], True)
    is_enough = accepted >= math.ceil((1 - max_review) * count)
    is_right = np.cumsum(wrong[order]) <= max_error * accepted
    good = np.flatnonzero(is_cut & is_enough & is_right)
    # The last good cut accepts most; where none is good, the strictest one allowed.
    last = good[-1] if len(good) else np.flatnonzero(is_cut & is_enough)[0]
    return float((ranked[last] + ranked[last + 1]) / 2) if last + 1 < count else 0.0


def _checked(
    values: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rows, truth = np.asarray(values, np.float64), np.asarray(labels, np.int64)
    if rows.ndim != 2 or truth.shape != rows.shape[:1]:
        raise ModelError(
            "Values must have shape (N, ...) in two dimensions and labels (N,). Received: "
            f"{rows.shape} and {truth.shape}."
        )
    if not np.isfinite(rows).all():
        raise ModelError(
            f"{int((~np.isfinite(rows)).any(axis=1).sum())} of {len(rows)} rows hold values that "
            "are not finite. Check the weights the features came from."
        )
    return rows, truth
