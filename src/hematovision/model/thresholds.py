"""Decide whether a prediction is accepted or sent for review.

Thresholds for the confidence, the novelty score and the field score are fitted to validation
images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ModelError
from hematovision.model.checks import checked

__all__ = [
    "LOW_CONFIDENCE", "SEVERAL_CELLS", "UNLIKE_TRAINING", "Decision", "Thresholds", "accepts",
    "decide", "fit_max_field", "fit_thresholds", "is_out_of_distribution",
]  # fmt: skip

LOW_CONFIDENCE = "low confidence"
UNLIKE_TRAINING = "unlike the training images"
SEVERAL_CELLS = "several cells: use analyze"

_LEAST_CONFIDENCE = 0.8  # below it, more than one calibrated prediction in five is wrong
_NOVELTY_QUANTILE = 0.98
_FEW = 100  # up to this many images, the 98th percentile is unreliable
_NOVELTY_MARGIN_OF_FEW = 1.1
_LEAST_FIELD = 0.5
_FIELD_QUANTILE = 0.99


@dataclass(frozen=True)
class Thresholds:
    """Limits that decide whether a prediction is accepted.

    Raises `ModelError` if a value is outside its range.
    """

    min_confidence: float  # least probability of the predicted class, 0 to 1
    # largest accepted novelty score, at least 0 (`novelty.Novelty`); infinite for no limit
    max_novelty: float
    # largest accepted field score, at least 0 (`field_score.FieldScore`); infinite for no limit
    max_field: float = math.inf

    def __post_init__(self) -> None:
        if not (0 <= self.min_confidence <= 1 and self.max_novelty >= 0 and self.max_field >= 0):
            raise ModelError(
                "`Thresholds` must have 0 <= min_confidence <= 1, max_novelty >= 0 and "
                f"max_field >= 0. Received: {self}."
            )


class Decision(NamedTuple):
    """Whether a prediction is accepted, and if not, why."""

    decision: Literal["accepted", "review"]
    reason: str


def decide(
    confidence: float,
    novelty: float | None,
    thresholds: Thresholds,
    field: float | None = None,
    *,
    several: bool = False,
) -> Decision:
    """Decide whether a prediction is accepted or needs review.

    `confidence` is the largest probability; `novelty` and `field` are None without a novelty score
    or a field score; `several` states that the image shows several cells. Returns
    ``("accepted", "")`` or ``("review", reason)``; several reasons are joined by ``"; "``. NaN is
    never accepted.
    """
    passes = {
        LOW_CONFIDENCE: confidence >= thresholds.min_confidence,
        UNLIKE_TRAINING: novelty is None or novelty <= thresholds.max_novelty,
        SEVERAL_CELLS: not several and (field is None or field <= thresholds.max_field),
    }
    reason = "; ".join(text for text, passed in passes.items() if not passed)
    return Decision("review", reason) if reason else Decision("accepted", "")


def is_out_of_distribution(reason: str) -> bool:
    """Return whether a `Decision.reason` flags an image as unlike the training images.

    Examples
    --------
    >>> is_out_of_distribution("low confidence; unlike the training images")
    True
    """
    return UNLIKE_TRAINING in reason.split("; ")


def accepts(
    probabilities: NDArray[np.floating],
    novelty: NDArray[np.floating],
    thresholds: Thresholds,
    field: NDArray[np.floating] | None = None,
) -> NDArray[np.bool_]:
    """Return whether `decide` accepts each of N predictions.

    `probabilities` have shape (N, C), `novelty`, `field` and the result (N,).
    """
    confidence = np.asarray(probabilities).max(axis=1)
    accepted = confidence >= thresholds.min_confidence
    accepted &= np.asarray(novelty) <= thresholds.max_novelty
    return np.asarray(accepted if field is None else accepted & (field <= thresholds.max_field))


def fit_thresholds(
    probabilities: NDArray[np.floating],
    novelty: NDArray[np.floating],
    labels: NDArray[np.integer],
    field: NDArray[np.floating] | None = None,
    *,
    max_error: float = 0.005,
    max_review: float = 0.2,
) -> Thresholds:
    """Fit the thresholds to validation images.

    `min_confidence` is the lowest for which at most `max_error` of the accepted predictions are
    wrong, but never so high that more than `max_review` of the images would be reviewed, and
    never below 0.8. `max_novelty` is the 98th percentile; of 100 images and fewer, their
    largest novelty times 1.1. `max_field` is from `fit_max_field`, or infinite without
    field scores.

    `probabilities` (N, C) are calibrated; the others have shape (N,). `max_error` and
    `max_review` are rates from 0 to 1. Raises `ModelError` if there are no images, the shapes do
    not fit, or values are not finite.
    """
    scores, truth = checked(probabilities, labels)
    distances, _ = checked(np.asarray(novelty).reshape(-1, 1), labels)
    if not len(truth):
        raise ModelError("Thresholds need at least one validation image. Received: none.")
    confidence = scores.max(axis=1)
    wrong = scores.argmax(axis=1) != truth
    lowest = _lowest_confidence(confidence, wrong, max_error, max_review)
    if len(truth) <= _FEW:
        high = _NOVELTY_MARGIN_OF_FEW * float(distances.max())
    else:
        high = float(np.quantile(distances, _NOVELTY_QUANTILE, method="higher"))
    return Thresholds(
        max(lowest, _LEAST_CONFIDENCE), high, math.inf if field is None else fit_max_field(field)
    )


def fit_max_field(field: NDArray[np.floating]) -> float:
    """Return the largest accepted field score for a dataset of single-cell images.

    It is 0.5, or the 99th percentile of the scores `field` (N,) if that is higher: some labs'
    single-cell images show so many neighbours that they look like fields. Of 100 images and fewer
    that is their largest score.
    """
    return max(_LEAST_FIELD, float(np.quantile(field, _FIELD_QUANTILE, method="higher")))


def _lowest_confidence(
    confidence: NDArray[np.float64], wrong: NDArray[np.bool_], max_error: float, max_review: float
) -> float:
    """Return a threshold midway between the last accepted confidence and the next lower one."""
    order = np.argsort(-confidence, kind="stable")
    ranked, count = confidence[order], len(confidence)
    accepted = np.arange(1, count + 1)
    is_cut = np.append(ranked[:-1] > ranked[1:], True)
    is_enough = accepted >= math.ceil((1 - max_review) * count)
    is_right = np.cumsum(wrong[order]) <= max_error * accepted
    good = np.flatnonzero(is_cut & is_enough & is_right)
    # The last valid cut accepts most predictions; without one, use the strictest allowed.
    last = good[-1] if len(good) else np.flatnonzero(is_cut & is_enough)[0]
    return float((ranked[last] + ranked[last + 1]) / 2) if last + 1 < count else 0.0
