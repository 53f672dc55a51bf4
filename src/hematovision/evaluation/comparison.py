"""Compare two models on the same labelled images; the content of ``compare.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.errors import TaxonomyError
from hematovision.evaluation.metric import METRICS, difference
from hematovision.evaluation.metrics import (
    STRICT,
    IntervalDetails,
    Metrics,
    evaluate,
    plain,
    read_json,
    rebuilt,
    write_json,
)
from hematovision.evaluation.outcomes import Outcomes
from hematovision.evaluation.uncertainty import Difference, PairedScores
from hematovision.intervals import DRAWS, LEVEL, McNemar, mcnemar
from hematovision.plurals import counted
from hematovision.taxonomy import Taxonomy

__all__ = [
    "OTHER", "Agreement", "CommonClasses", "Comparison", "ModelPredictions", "SubgroupComparison",
    "compare_predictions", "read_comparison", "write_comparison",
]  # fmt: skip

OTHER = "another class"
"""The class of predictions that only one of the models can make; never correct."""

METHODS = {
    "tango": (
        "Images treated as independent: Tango's score intervals of paired differences; balanced "
        "accuracy by MOVER from those of the classes; macro-F1 and the accuracy of accepted "
        "predictions by a bootstrap over images, both models together."
    ),
    "cluster_bootstrap": (
        "Groups resampled with replacement, both models together, percentile interval, and for "
        "proportions never narrower than Tango's score interval of as many independent images."
    ),
}


@dataclass(frozen=True)
class ModelPredictions:
    """A model's predictions on the images of a comparison."""

    name: str
    probabilities: ArrayLike  # shape (N, C)
    accepted: ArrayLike  # shape (N,)
    # shape (N,): images unlike the model's training images; by default, none
    out_of_distribution: ArrayLike | None = None


@dataclass(frozen=True)
class Agreement:
    """How many images both models classify correctly, only one of them, or neither."""

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int


@dataclass(frozen=True)
class SubgroupComparison:
    """Both models on the images of one class or one lab."""

    n: int  # number of images
    # each model's accuracy (for a class, the recall); None without images
    first: float | None
    second: float | None
    difference: Difference  # the second minus the first
    # images that only one model classifies correctly
    only_first: int
    only_second: int


@dataclass(frozen=True)
class Comparison:
    """The contents of ``compare.json``; fractions in [0, 1], differences in [-1, 1].

    >>> import hematovision
    >>> comparison = hematovision.compare("rbc-wbc-platelets", "pbc8", "cells").comparison
    >>> comparison.classes, comparison.first.n
    (('RBC', 'WBC', 'Platelets'), 6)

    Parameters
    ----------
    n : int
        Number of images.
    classes : tuple of str
        The common classes; see `CommonClasses`.
    models : tuple of str
        The names of the first and the second model.
    first, second : Metrics
        Each on these images and classes, as in ``metrics.json``.
    differences : dict of str to Difference
        The second model minus the first, for all `METRICS`. Their intervals are the primary result;
        they are computed by group if fields or patients are known.
    mcnemar : McNemar
        Treats images as independent; p is too small for grouped images.
    differing : int
        Number of images with different predictions.
    per_lab : dict of str to SubgroupComparison, or None
        None if no lab is known.
    interval_method : str
        ``"tango"`` or ``"cluster_bootstrap"``; see `interval_details`.
    warnings : tuple of str
        Caveats.
    schema_version : int
        Increases when the meaning of a key changes.
    """

    n: int
    classes: tuple[str, ...]
    models: tuple[str, str]
    first: Metrics
    second: Metrics
    differences: dict[str, Difference]
    agreement: Agreement
    mcnemar: McNemar
    differing: int
    per_class: dict[str, SubgroupComparison]
    per_lab: dict[str, SubgroupComparison] | None
    interval_method: str
    interval_details: IntervalDetails
    warnings: tuple[str, ...] = ()
    schema_version: Literal[1] = 1

    __pydantic_config__ = STRICT

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON: tuples become lists, undefined values None."""
        return plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Comparison:
        """Rebuild a comparison from the output of `to_json`.

        Raises
        ------
        BundleError
            If `value` is not a comparison of this schema version.
        """
        return rebuilt(cls, value, "This is not a comparison", "hematovision compare")


@dataclass(frozen=True)
class CommonClasses:
    """The classes for comparing two models; create with `of`."""

    # The coarser taxonomy, which matches most classes of the other by name or alias. Datasets are
    # read with it.
    taxonomy: Taxonomy
    # its classes that both models can predict, and `OTHER` if either can predict more
    classes: tuple[str, ...]
    # for each class of the first and the second model, its position in `classes`
    columns: tuple[tuple[int, ...], tuple[int, ...]]
    # the same by name, for classes whose name changes
    names: tuple[Mapping[str, str], Mapping[str, str]]

    @classmethod
    def of(cls, first: Taxonomy, second: Taxonomy) -> CommonClasses:
        """Return the classes common to two taxonomies.

        Classes match by name or alias: ``neutrophil`` is an alias of ``WBC``, so a model of eight
        classes is compared with a model of three classes on those three.

        Raises `TaxonomyError` if they share fewer than two classes.
        """
        known = [
            sum(one.find(name) is not None for name in other.classes)
            for one, other in ((first, second), (second, first))
        ]
        base, other = (second, first) if known[1] > known[0] else (first, second)
        meant = [
            [_common_name(name, base, other) for name in taxonomy.classes]
            for taxonomy in (first, second)
        ]
        shared = tuple(name for name in base.classes if all(name in row for row in meant))
        if len(shared) < 2:
            both = f"both have only {shared[0]}" if shared else "they have none in common"
            raise TaxonomyError(
                f"The models cannot be compared: the first has {', '.join(first.classes)}; the "
                f"second has {', '.join(second.classes)}; {both}. At least two classes must be the "
                "same, by name or alias. Compare models with common classes, or train one with "
                "--taxonomy."
            )
        further = any(name not in shared for row in meant for name in row)
        classes = (*shared, OTHER) if further else shared
        ends = [[name if name in shared else OTHER for name in row] for row in meant]
        columns = [tuple(classes.index(name) for name in row) for row in ends]
        names = [
            {name: end for name, end in zip(taxonomy.classes, row, strict=True) if name != end}
            for taxonomy, row in zip((first, second), ends, strict=True)
        ]
        return cls(base, classes, (columns[0], columns[1]), (names[0], names[1]))

    def fold(self, probabilities: NDArray[np.floating], model: int) -> NDArray[np.float64]:
        """Sum the probabilities of classes that map to the same common class.

        `model` is 0 for the first, 1 for the second. Probabilities (N, C of the model) become
        float64 (N, C of `classes`).
        """
        membership = np.eye(len(self.classes))[list(self.columns[model])]
        return np.asarray(probabilities, np.float64) @ membership


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
    """Compare two models' predictions on the same images.

    `labels` (N,) are true class indices; both models predict the C `classes` for the same N images.
    `groups`, `labs` and `seed` as in `evaluate`. Raises `DatasetError` if there is nothing to
    compare. Raises `ValueError` if shapes or values do not fit together.
    """
    one, two = (
        Outcomes.checked(labels, model.probabilities, classes, model.accepted, groups, labs)
        for model in (first, second)
    )
    score = partial(evaluate, labels, classes=classes, groups=groups, labs=labs, seed=seed)
    metrics = [
        score(probabilities=model.probabilities, accepted=model.accepted)
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
        differences={name: difference(name, one, two, doubt) for name in METRICS},
        agreement=agreement,
        mcnemar=mcnemar(agreement.only_first, agreement.only_second),
        differing=int((one.predicted != two.predicted).sum()),
        per_class={
            name: _subgroup(doubt, doubt.recall(i), one.labels == i)
            for i, name in enumerate(one.classes)
        },
        per_lab=_per_lab(one, two, seed),
        interval_method=doubt.method,
        interval_details=details,
        warnings=(*metrics[0].warnings, *_independence(doubt)),
    )


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write ``compare.json``, in the order of the fields; OutputError if it can't be written."""
    return write_json(path, comparison.to_json())


def read_comparison(path: Path) -> Comparison:
    """Read ``compare.json``; BundleError if it is missing or invalid."""
    command = "hematovision compare"
    return rebuilt(Comparison, read_json(path, command), f"{path} has no comparison", command)


def _common_name(name: str, base: Taxonomy, other: Taxonomy) -> str | None:
    """Return the class of `base` that matches a name of `other`, if it is unambiguous."""
    found = base.find(name)
    if found is not None:
        return found
    meaning = [label for label in base.classes if other.find(label) == name]
    return meaning[0] if len(meaning) == 1 else None


def _paired(one: Outcomes, two: Outcomes, seed: int) -> PairedScores:
    return PairedScores(
        one.labels,
        np.stack([one.predicted, two.predicted]),
        np.stack([one.accepted, two.accepted]),
        len(one.classes),
        one.groups,
        seed,
    )


def _subgroup(
    doubt: PairedScores, difference: Difference, of: NDArray[np.bool_] | None = None
) -> SubgroupComparison:
    both, first, second, neither = doubt.counts(of)
    n = both + first + second + neither
    return SubgroupComparison(
        n=n,
        first=(both + first) / n if n else None,
        second=(both + second) / n if n else None,
        difference=difference,
        only_first=first,
        only_second=second,
    )


def _per_lab(one: Outcomes, two: Outcomes, seed: int) -> dict[str, SubgroupComparison] | None:
    if one.labs is None:
        return None
    masks = {str(lab): one.labs == lab for lab in np.unique(one.labs)}
    subsets = {lab: _paired(one.take(of), two.take(of), seed) for lab, of in masks.items()}
    return {lab: _subgroup(doubt, doubt.accuracy()) for lab, doubt in subsets.items()}


def _independence(doubt: PairedScores) -> tuple[str, ...]:
    if doubt.n_groups is None:
        return ()
    note = (
        f"The images come from {counted(doubt.n_groups, 'group')} (fields or patients), and images "
        "of one group are alike. McNemar's test treats them as independent, so its p is too "
        "small: use the interval, which is computed by group."
    )
    return (note,)
