"""From two models' answers to everything that ``compare.json`` says about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.evaluation.comparison import Agreement, Comparison, SubgroupComparison
from hematovision.evaluation.intervals import DRAWS, LEVEL
from hematovision.evaluation.metrics import evaluate
from hematovision.evaluation.paired import Difference, PairedScores
from hematovision.evaluation.predictions import Predictions
from hematovision.evaluation.proportions import mcnemar
from hematovision.evaluation.schema import IntervalDetails

__all__ = ["ModelPredictions", "compare_predictions"]

METHODS = {
    "tango": (
        "Images counted as independent: Tango's score intervals of paired differences; balanced "
        "accuracy by MOVER from those of the classes; macro-F1 and the accuracy of accepted "
        "answers by a bootstrap over images, both models' answers together."
    ),
    "cluster_bootstrap": (
        "Groups drawn with replacement, both models' answers together, percentile interval, and "
        "for proportions never narrower than Tango's score interval of as many independent images."
    ),
}


@dataclass(frozen=True)
class ModelPredictions:
    """One model's answers to the images of a comparison.

    Parameters
    ----------
    name : str
    probabilities : array_like of float, shape (N, C)
    accepted : array_like of bool, shape (N,)
    unlike : array_like of bool, shape (N,), optional
        Which images are unlike the model's training images; by default, none.
    """

    name: str
    probabilities: ArrayLike
    accepted: ArrayLike
    unlike: ArrayLike | None = None


def compare_predictions(
    labels: ArrayLike,
    first: ModelPredictions,
    second: ModelPredictions,
    classes: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    labs: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two models' answers to the same images.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True class indices; N is at least 1.
    first, second : ModelPredictions
        Probabilities of the same classes for the same images.
    classes : sequence of str
        The C class names.
    groups, labs, seed
        As in `evaluate`.

    Raises
    ------
    DatasetError
        If there is nothing to compare.
    ValueError
        If shapes or values do not fit together; a defect of the caller.
    """
    one, two = (
        Predictions.checked(labels, model.probabilities, classes, model.accepted, groups, labs)
        for model in (first, second)
    )
    metrics = [
        evaluate(
            labels,
            model.probabilities,
            classes,
            accepted=model.accepted,
            groups=groups,
            labs=labs,
            seed=seed,
        )
        for model in (first, second)
    ]
    doubt = _paired(one, two, seed)
    agreement = Agreement(*doubt.counts())
    details = IntervalDetails(LEVEL, DRAWS, seed, doubt.n_groups, METHODS[doubt.method])
    return Comparison(
        n=len(one.labels),
        classes=one.classes,
        models=(first.name, second.name),
        first=metrics[0],
        second=metrics[1],
        differences=_differences(doubt),
        agreement=agreement,
        mcnemar=mcnemar(agreement.only_first, agreement.only_second),
        differing=int((one.answers != two.answers).sum()),
        per_class={
            name: _part(doubt, doubt.recall(i), one.labels == i)
            for i, name in enumerate(one.classes)
        },
        per_lab=_per_lab(one, two, seed),
        interval_method=doubt.method,
        interval_details=details,
        warnings=(*metrics[0].warnings, *_independence(doubt)),
    )


def _paired(
    one: Predictions, two: Predictions, seed: int, of: NDArray[np.bool_] | None = None
) -> PairedScores:
    chosen = np.ones(len(one.labels), np.bool_) if of is None else of
    return PairedScores(
        one.labels[chosen],
        np.stack([one.answers, two.answers])[:, chosen],
        np.stack([one.accepted, two.accepted])[:, chosen],
        len(one.classes),
        None if one.groups is None else one.groups[chosen],
        seed,
    )


def _differences(doubt: PairedScores) -> dict[str, Difference]:
    return {
        "accuracy": doubt.accuracy(),
        "balanced_accuracy": doubt.balanced_accuracy(),
        "macro_f1": doubt.macro_f1(),
        "review_rate": doubt.review_rate(),
        "accuracy_accepted": doubt.accuracy_accepted(),
    }


def _part(
    doubt: PairedScores, difference: Difference, of: NDArray[np.bool_] | None = None
) -> SubgroupComparison:
    counts = doubt.counts(of)
    both, first, second, _ = counts
    n = sum(counts)
    return SubgroupComparison(
        n=n,
        first=(both + first) / n if n else None,
        second=(both + second) / n if n else None,
        difference=difference,
        only_first=first,
        only_second=second,
    )


def _per_lab(one: Predictions, two: Predictions, seed: int) -> dict[str, SubgroupComparison] | None:
    if one.labs is None:
        return None
    labs = np.array(one.labs)
    parts = {lab: _paired(one, two, seed, labs == lab) for lab in sorted(set(one.labs))}
    return {lab: _part(doubt, doubt.accuracy()) for lab, doubt in parts.items()}


def _independence(doubt: PairedScores) -> tuple[str, ...]:
    if doubt.n_groups is None:
        return ()
    note = (
        f"The images come from {doubt.n_groups} groups (fields or patients), and those of one "
        "group are alike. McNemar's test takes them for independent, so its p is too small; go "
        "by the interval, which is made by group."
    )
    return (note,)
