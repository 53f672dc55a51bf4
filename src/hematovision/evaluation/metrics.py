"""From answers to everything that ``metrics.json`` says about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.evaluation import scores
from hematovision.evaluation.baselines import TrainingSplit, baselines
from hematovision.evaluation.calibration import (
    expected_calibration_error,
    log_loss,
    reliability,
    risk_coverage,
)
from hematovision.evaluation.intervals import DRAWS, LEVEL
from hematovision.evaluation.predictions import Predictions
from hematovision.evaluation.schema import ClassScores, IntervalDetails, LabScores, Metrics
from hematovision.evaluation.uncertainty import Uncertainty

__all__ = ["evaluate", "most_confident_errors"]

FEW = 30
"""A class with fewer images than this gets a warning: one error moves its recall by over 3 %."""

FEW_GROUPS = 10
"""With fewer groups a cluster bootstrap is too short (Cameron, Gelbach & Miller 2008, Rev. Econ.
Stat. 90:414-427)."""

METHODS = {
    "wilson": (
        "Images counted as independent: Wilson score intervals; balanced accuracy by MOVER from "
        "those of the classes; macro-F1 the hull of MOVER and a bootstrap over images."
    ),
    "cluster_bootstrap": (
        "Groups drawn with replacement, percentile interval, and never narrower than the score "
        "interval (Wilson, MOVER) of as many independent images."
    ),
}


def evaluate(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    accepted: ArrayLike,
    groups: Sequence[str] | None = None,
    labs: Sequence[str | None] | None = None,
    boxes: ArrayLike | None = None,
    colours: ArrayLike | None = None,
    train: TrainingSplit | None = None,
    seed: int = 0,
) -> Metrics:
    """Score answers beside what trivial classifiers reach, with intervals.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True class indices; N is at least 1.
    probabilities : array_like of float, shape (N, C)
        Calibrated probabilities; each row sums to 1. The answer is the largest, the
        first of equals.
    classes : sequence of str
        The C class names.
    accepted : array_like of bool, shape (N,)
        Which answers were accepted; the others go to review.
    groups : sequence of str, optional
        What each image was seen together with: its field, its patient. Intervals are then made by
        group. None, or a name of its own for every image, means independent images.
    labs : sequence of (str or None), optional
        Where each image comes from; figures per lab are given if one is known.
    boxes : array_like of float, shape (N, 4), optional
        ``(xmin, ymin, xmax, ymax)``, NaN where unknown, for the box-size baseline.
    colours : array_like of float, shape (N, 3), optional
        From `mean_colours`, for the mean-colour baseline.
    train : TrainingSplit, optional
        What the baselines learn from; without it only the most frequent class is one.
    seed : int
        Seed of the bootstrap; the same seed gives the same intervals.

    Returns
    -------
    Metrics

    Raises
    ------
    DatasetError
        If there is nothing to evaluate.
    ValueError
        If shapes or values do not fit together; a defect of the caller.
    """
    part = Predictions.checked(labels, probabilities, classes, accepted, groups, labs)
    trivial = baselines(
        part.labels,
        len(part.classes),
        train=train,
        boxes=part.rows("boxes", boxes),
        colours=part.rows("colours", colours),
    )
    doubt = part.uncertainty(seed)
    per_class = _per_class(doubt, part.classes)
    return Metrics(
        n=len(part.labels),
        classes=part.classes,
        **_scored(doubt),
        **_calibration(part),
        interval_method=doubt.method,
        interval_details=IntervalDetails(LEVEL, DRAWS, seed, doubt.n_groups, METHODS[doubt.method]),
        per_class=per_class,
        averages=_averages(per_class),
        confusion_matrix=tuple(map(tuple, doubt.confusion.tolist())),
        baselines=trivial,
        per_lab=_per_lab(part, seed),
        warnings=_warnings(per_class, doubt),
    )


def most_confident_errors(
    labels: ArrayLike, probabilities: ArrayLike, limit: int = 24
) -> NDArray[np.int64]:
    """Return the positions of the wrong answers, the most confident first.

    These teach the most: a label that is wrong, a cell cut in half, a class the model never learnt.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
    probabilities : array_like of float, shape (N, C)
    limit : int
        At most so many are returned.
    """
    table = np.asarray(probabilities, np.float64)
    wrong = np.flatnonzero(table.argmax(axis=1) != np.asarray(labels))
    return wrong[np.argsort(-table[wrong].max(axis=1), kind="stable")][:limit]


def _scored(doubt: Uncertainty) -> dict[str, Any]:
    """Return the scores that the whole part and each lab have, with their intervals."""
    n, right = int(doubt.confusion.sum()), int(np.trace(doubt.confusion))
    return {
        "errors": n - right,
        "accuracy": right / n,
        "balanced_accuracy": float(scores.balanced_accuracy(doubt.confusion)),
        "macro_f1": float(scores.macro_f1(doubt.confusion)),
        "review_rate": (n - doubt.accepted) / n,
        "accuracy_accepted": doubt.accepted_right / doubt.accepted if doubt.accepted else None,
        "intervals": {
            "accuracy": doubt.accuracy(),
            "balanced_accuracy": doubt.balanced_accuracy(),
            "macro_f1": doubt.macro_f1(),
            "review_rate": doubt.review_rate(),
            "accuracy_accepted": doubt.accuracy_accepted(),
        },
    }


def _calibration(part: Predictions) -> dict[str, Any]:
    confidence, right = part.probabilities.max(axis=1), part.answers == part.labels
    bins = reliability(confidence, right)
    return {
        "log_loss": log_loss(part.labels, part.probabilities),
        "ece": expected_calibration_error(bins),
        "reliability": bins,
        "risk_coverage": risk_coverage(confidence, right),
    }


def _per_class(doubt: Uncertainty, classes: tuple[str, ...]) -> dict[str, ClassScores]:
    counts = doubt.confusion
    support, answered, right = counts.sum(axis=1), counts.sum(axis=0), np.diagonal(counts)
    precision, recall, f1 = scores.precision(counts), scores.recall(counts), scores.f1(counts)
    return {
        name: ClassScores(
            precision=_number(precision[i]),
            recall=_number(recall[i]),
            f1=_number(f1[i]),
            support=int(support[i]),
            answered=int(answered[i]),
            errors=int(support[i] - right[i]),
            false_positives=int(answered[i] - right[i]),
            intervals={
                "precision": doubt.precision(i),
                "recall": doubt.recall(i),
                "f1": doubt.f1(i),
            },
        )
        for i, name in enumerate(classes)
    }


def _averages(per_class: dict[str, ClassScores]) -> dict[str, dict[str, float | None]]:
    """Return plain and support-weighted means over the classes where each score is defined."""
    rows = list(per_class.values())
    table = np.array([(row.precision, row.recall, row.f1) for row in rows], np.float64)
    support = np.array([row.support for row in rows], np.float64)[:, None]
    defined = np.isfinite(table)
    weight = np.where(defined, support, 0.0).sum(axis=0)
    weighted = np.where(defined, table * support, 0.0).sum(axis=0)
    names = ("precision", "recall", "f1")
    return {
        "macro": dict(zip(names, map(_number, scores.mean_defined(table.T)), strict=True)),
        "weighted": {
            name: float(total / of) if of else None
            for name, total, of in zip(names, weighted, weight, strict=True)
        },
    }


def _per_lab(part: Predictions, seed: int) -> dict[str, LabScores] | None:
    if part.labs is None:
        return None
    labs = np.array(part.labs)
    found = {}
    for lab in sorted(set(part.labs)):
        here = labs == lab
        found[lab] = LabScores(n=int(here.sum()), **_scored(part.uncertainty(seed, here)))
    return found


def _warnings(per_class: dict[str, ClassScores], doubt: Uncertainty) -> tuple[str, ...]:
    absent = [name for name, row in per_class.items() if not row.support]
    few = [f"{name} ({row.support})" for name, row in per_class.items() if 0 < row.support < FEW]
    found = []
    if absent:
        found.append(f"No images of: {', '.join(absent)}. The means are over the other classes.")
    if few:
        found.append(f"Fewer than {FEW} images of: {', '.join(few)}. Their scores are rough.")
    if doubt.n_groups is not None and doubt.n_groups < FEW_GROUPS:
        found.append(
            f"All images come from {doubt.n_groups} groups (fields or patients): the intervals "
            "tell little about others."
        )
    return tuple(found)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
