"""Metrics of a detector on annotated fields; the content of its ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation.detection.counts import CountErrors, count_errors
from hematovision.evaluation.detection.curves import (
    FALSE_RATES,
    Ranking,
    coco_average_precision,
    rank_by_centre,
    rank_by_overlap,
)
from hematovision.evaluation.detection.matching import (
    EvaluatedField,
    match_centres,
    match_counts,
)
from hematovision.evaluation.metrics import STRICT, plain, read_json, rebuilt, write_json
from hematovision.frames import plain_frame
from hematovision.intervals import (
    DRAWS,
    LEVEL,
    Interval,
    f1_interval,
    hull,
    percentile_interval,
    wilson,
)
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.frames import DataFrame

__all__ = [
    "MATCHING", "NONE", "ClassDetection", "DetectionIntervals", "DetectionMetrics",
    "DetectionScores", "FieldBaseline", "Froc", "ScaleErrors", "evaluate_fields", "field_weights",
    "read_detection_metrics", "scale_errors", "score_fields",
    "write_detection_metrics",
]  # fmt: skip

MATCHING = (
    "A found cell is correct if its centre is within half the mean side of an annotated cell of "
    "the same class. Each annotated cell is matched once: the most confident found cell first, to "
    "the nearest annotated cell in reach. Cells at the border count like all others."
)

NONE = "none"
"""The last row and column of the confusion matrix: false and missed cells."""

CURVE_DRAWS = 500
"""Bootstrap samples for average precision and FROC, whose percentiles need whole curves."""

RED = "RBC"
FEW = 30
FEW_GROUPS = 10
SCALE_TOLERANCE = 0.1
_WRITTEN_BY = "hematovision evaluate DETECTOR FIELDS --out FOLDER"

_METHOD = (
    "Fields (with their copies, or by patient) resampled with replacement, percentile interval; "
    "for precision, recall and F1 never narrower than the score interval of as many independent "
    "cells."
)


@dataclass(frozen=True)
class Froc:
    """Sensitivity against false cells per field (free-response ROC)."""

    false_per_field: tuple[float, ...]
    sensitivity: tuple[float, ...]  # by centre distance
    intervals: tuple[Interval | None, ...]  # of each sensitivity
    mean: float  # of the sensitivities
    curve: tuple[tuple[float, float], ...]  # (false per field, sensitivity), up to 200 points


@dataclass(frozen=True)
class ClassDetection:
    """The scores of one class, on the fields of labs that annotate it."""

    annotated: int  # cells
    found: int
    matched: int  # by centre distance
    ap50: float | None  # average precision at an overlap (IoU) of 0.5; None without cells
    ap50_95: float | None  # the mean at 0.5, 0.55, ..., 0.95
    # by centre distance
    precision: float | None
    recall: float | None
    f1: float | None
    counts: CountErrors
    froc: Froc | None
    intervals: dict[str, Interval | None]  # of ap50, ap50_95, precision, recall, f1
    precision_curve: tuple[float, ...]  # at an overlap of 0.5, at recall 0, 0.01, ..., 1


@dataclass(frozen=True)
class DetectionScores:
    """The scores on some fields. Means are over the classes with annotated cells."""

    n: int  # fields
    map50: float | None
    map50_95: float | None
    mean_f1: float | None
    per_class: dict[str, ClassDetection]
    intervals: dict[str, Interval | None]  # of map50, map50_95, mean_f1


@dataclass(frozen=True)
class FieldBaseline:
    """A simple method on the same fields."""

    rule: str
    fitted_on: str
    scores: DetectionScores | None  # None for a method that only counts
    counts: dict[str, CountErrors]


@dataclass(frozen=True)
class ScaleErrors:
    """The red-cell diameter found by the analysis against the annotated one."""

    fields: int  # with at least three annotated red cells inside the field
    none: int  # of these, without a scale
    within_10_percent: float  # share of `fields`
    median_ratio: float | None  # found / annotated


@dataclass(frozen=True)
class DetectionIntervals:
    """How the intervals were computed."""

    level: float
    draws: int
    curve_draws: int  # for average precision and FROC
    seed: int
    groups: int
    description: str = _METHOD


@dataclass(frozen=True)
class DetectionMetrics:
    """The content of a detector's ``metrics.json``.

    `n` to `intervals` are those of `DetectionScores` on all fields.

    Examples
    --------
    >>> import hematovision
    >>> options = hematovision.DetectionOptions(baselines=False)
    >>> result = hematovision.evaluate("blood-fields", "annotated", out="scores", fields=options)
    >>> result.metrics.n, result.metrics.mean_f1 > 0.5
    (2, True)
    """

    n: int
    map50: float | None
    map50_95: float | None
    mean_f1: float | None
    per_class: dict[str, ClassDetection]
    intervals: dict[str, Interval | None]
    classes: tuple[str, ...]  # with annotated cells in at least one lab
    not_annotated: dict[str, tuple[str, ...]]  # classes that a lab does not annotate, by lab
    # rows are annotated classes, columns found ones, matched by centre whatever their class; the
    # last of each is `NONE`
    confusion_matrix: tuple[tuple[int, ...], ...]
    per_lab: dict[str, DetectionScores] | None  # None for a single lab
    scale: ScaleErrors | None
    baselines: dict[str, FieldBaseline]
    interval_details: DetectionIntervals
    warnings: tuple[str, ...] = ()
    matching: str = MATCHING
    task: Literal["detection"] = "detection"
    schema_version: Literal[1] = field(default=1, kw_only=True)

    __pydantic_config__ = STRICT

    def __repr__(self) -> str:
        return f"DetectionMetrics({self.summary})"

    @property
    def summary(self) -> str:
        """The number of fields, the mean average precision and the mean F1, in words."""
        scores = (("mAP at IoU 0.5", self.map50), ("F1", self.mean_f1))
        known = [f"{name} {value:.3f}" for name, value in scores if value is not None]
        return f"{counted(self.n, 'field')}: {', '.join(known) or 'no annotated cells'}"

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row per class: cells, average precision, recall, F1, ...

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        names = ("annotated", "found", "matched", "ap50", "ap50_95", "precision", "recall", "f1")
        return plain_frame(
            (
                {"class": label, **{name: getattr(row, name) for name in names}}
                for label, row in self.per_class.items()
            ),
            index="class",
        )


def evaluate_fields(
    fields: Sequence[EvaluatedField],
    classes: Sequence[str],
    *,
    baselines: Mapping[str, FieldBaseline] | None = None,
    seed: int = 0,
) -> DetectionMetrics:
    """Evaluate the cells found in annotated fields.

    Average precision uses all found cells, everything else those that are `kept`.

    Parameters
    ----------
    fields : sequence of EvaluatedField
    classes : sequence of str
        The classes by index. Classes that no lab annotates are left out.
    baselines : mapping, optional
        Simple methods on the same fields, by name.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        If there are no fields.
    MissingExtraError
        If faster-coco-eval is not installed.
    """
    used = {i: name for i, name in enumerate(classes) if any(i in f.annotated for f in fields)}
    scores = score_fields(fields, used, seed=seed)
    labs = sorted({one.lab for one in fields})
    return DetectionMetrics(
        **vars(scores),
        classes=tuple(used.values()),
        not_annotated=_not_annotated(fields, classes),
        confusion_matrix=_confusion(fields, list(used)),
        per_lab=None
        if len(labs) < 2
        else {lab: _score_lab(fields, used, lab, seed) for lab in labs},
        scale=scale_errors(fields),
        baselines=dict(baselines or {}),
        interval_details=DetectionIntervals(
            LEVEL, DRAWS, CURVE_DRAWS, seed, len({_group(one) for one in fields})
        ),
        warnings=_warnings(fields, scores, used),
    )


def score_fields(
    fields: Sequence[EvaluatedField], classes: Mapping[int, str], *, seed: int = 0
) -> DetectionScores:
    """Score fields; `classes` are names by index. Parameters as in `evaluate_fields`."""
    if not fields:
        raise ValueError("at least one field is needed.")
    weights = field_weights(fields, seed)
    per_class, sampled = dict[str, ClassDetection](), list[dict[str, NDArray[np.float64]]]()
    for index, name in classes.items():
        chosen = [i for i, one in enumerate(fields) if index in one.annotated]
        if chosen:
            per_class[name], draws = _score_class(
                [fields[i] for i in chosen], index, weights[:, chosen]
            )
            sampled.append(draws)
    means = {"map50": "ap50", "map50_95": "ap50_95", "mean_f1": "f1"}
    values = {
        mean: _mean([getattr(c, of) for c in per_class.values()]) for mean, of in means.items()
    }
    return DetectionScores(
        n=len(fields),
        **values,
        per_class=per_class,
        intervals={mean: _mean_interval([s[of] for s in sampled]) for mean, of in means.items()},
    )


def field_weights(fields: Sequence[EvaluatedField], seed: int = 0) -> NDArray[np.float64]:
    """Return how often each of `DRAWS` bootstrap samples contains each field, (DRAWS, F).

    Groups are resampled as a whole. With a single group there are no samples: (0, F).
    """
    _, ids = np.unique([_group(one) for one in fields], return_inverse=True)
    groups = int(ids.max()) + 1
    if groups < 2:
        return np.zeros((0, len(fields)))
    rng = np.random.default_rng(seed)
    sampled = rng.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)
    return np.asarray(sampled[:, ids], np.float64)


def _group(one: EvaluatedField) -> str:
    return one.group or f"{one.lab}/{one.name}"


def _score_lab(
    fields: Sequence[EvaluatedField], classes: Mapping[int, str], lab: str, seed: int
) -> DetectionScores:
    return score_fields([one for one in fields if one.lab == lab], classes, seed=seed)


def _score_class(
    fields: Sequence[EvaluatedField], index: int, weights: NDArray[np.float64]
) -> tuple[ClassDetection, dict[str, NDArray[np.float64]]]:
    """Return the scores of one class, and their bootstrap samples."""
    counts = np.array([match_counts(one, index) for one in fields])
    matched, found, annotated = (int(n) for n in counts.sum(axis=0))
    wrong = found + annotated - 2 * matched
    overlap = rank_by_overlap(fields, index)
    precisions = coco_average_precision(fields, index)
    sampled = _sampled_ratios(weights @ counts)
    curves = overlap.average_precision(weights[:CURVE_DRAWS])
    sampled |= {"ap50": curves[:, 0], "ap50_95": curves.mean(axis=1)}
    score = {
        "precision": wilson(matched, found),
        "recall": wilson(matched, annotated),
        "f1": f1_interval(matched, wrong),
    }
    if precisions is not None and precisions[0] == 1:  # in every bootstrap sample, too
        score["ap50"] = wilson(annotated, annotated)
    scores = ClassDetection(
        annotated=annotated,
        found=found,
        matched=matched,
        ap50=None if precisions is None else float(precisions[0]),
        ap50_95=None if precisions is None else float(precisions.mean()),
        precision=matched / found if found else None,
        recall=matched / annotated if annotated else None,
        f1=2 * matched / (found + annotated) if found + annotated else None,
        counts=count_errors(counts[:, 1], counts[:, 2], weights),
        froc=_froc(rank_by_centre(fields, index), weights) if annotated else None,
        intervals={
            name: hull(score.get(name), percentile_interval(values))
            for name, values in sampled.items()
        },
        precision_curve=tuple(overlap.precision_curve().round(4).tolist()),
    )
    return scores, sampled


def _sampled_ratios(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    matched, found, annotated = sums.T
    return {
        "precision": _ratio(matched, found),
        "recall": _ratio(matched, annotated),
        "f1": _ratio(2 * matched, found + annotated),
    }


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _froc(ranking: Ranking, weights: NDArray[np.float64]) -> Froc:
    sensitivity = ranking.sensitivity()[0]
    sampled = ranking.sensitivity(weights[:CURVE_DRAWS])
    false, reached = ranking.froc_curve()
    some = np.unique(np.linspace(0, len(false) - 1, min(200, len(false))).astype(int))
    return Froc(
        FALSE_RATES,
        tuple(sensitivity.tolist()),
        tuple(percentile_interval(column) for column in sampled.T),
        float(sensitivity.mean()),
        tuple(zip(false[some].round(4).tolist(), reached[some].round(4).tolist(), strict=True)),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _mean_interval(columns: Sequence[NDArray[np.float64]]) -> Interval | None:
    shortest = min(map(len, columns), default=0)
    if not shortest:
        return None
    table = np.stack([column[:shortest] for column in columns])
    return percentile_interval(table.mean(axis=0))  # samples that lack a class are skipped


def _confusion(
    fields: Sequence[EvaluatedField], indices: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    place = {index: i for i, index in enumerate(indices)}
    none = len(indices)
    table = np.zeros((none + 1, none + 1), np.int64)
    for one in fields:
        found = one.found.only_kept()
        known = [i for i, label in enumerate(found.labels) if int(label) in one.annotated]
        matches = match_centres(found.boxes[known], found.confidence[known], one.boxes)
        labels = [place[int(found.labels[i])] for i in known]
        for label, match in zip(labels, matches, strict=True):
            table[none if match < 0 else place[int(one.labels[match])], label] += 1
        for missed in set(range(len(one.labels))) - set(matches.tolist()):
            table[place[int(one.labels[missed])], none] += 1
    return tuple(map(tuple, table.tolist()))


def scale_errors(fields: Sequence[EvaluatedField]) -> ScaleErrors | None:
    """Compare the scale found in each field with the annotated one; None if none is known."""
    known = [(one.diameter, one.annotated_diameter) for one in fields if one.annotated_diameter]
    ratios = np.array([found / true for found, true in known if found])
    if not len(ratios):
        return None
    return ScaleErrors(
        fields=len(known),
        none=len(known) - len(ratios),
        within_10_percent=float((np.abs(ratios - 1) <= SCALE_TOLERANCE).sum() / len(known)),
        median_ratio=float(np.median(ratios)),
    )


def _not_annotated(
    fields: Sequence[EvaluatedField], classes: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    of_lab: dict[str, set[int]] = {}
    for one in fields:
        of_lab.setdefault(one.lab, set()).update(one.annotated)
    return {
        lab: missing
        for lab, known in sorted(of_lab.items())
        if (missing := tuple(name for i, name in enumerate(classes) if i not in known))
    }


def _warnings(
    fields: Sequence[EvaluatedField], scores: DetectionScores, classes: Mapping[int, str]
) -> tuple[str, ...]:
    rows = scores.per_class.items()
    few = [f"{name} ({row.annotated})" for name, row in rows if row.annotated < FEW]
    red = next((index for index, name in classes.items() if name == RED), -1)
    bare = sum(1 for one in fields if red in one.annotated and red not in one.labels)
    found = []
    if few:
        found.append(
            f"Fewer than {FEW} annotated cells of: {', '.join(few)}. Their scores are imprecise."
        )
    if bare:
        found.append(
            f"{bare} of {len(fields)} fields have no annotated red cell. If boxes are missing, "
            "precision and average precision are too low, and count errors too high."
        )
    groups = len({_group(one) for one in fields})
    if groups < FEW_GROUPS:
        found.append(
            f"All fields come from {counted(groups, 'group')} (fields or patients): the intervals "
            "may not hold for others."
        )
    return tuple(found)


def write_detection_metrics(path: Path, metrics: DetectionMetrics) -> Path:
    """Write ``metrics.json``; raise `OutputError` if it can't be written."""
    return write_json(path, plain(metrics))


def read_detection_metrics(path: Path) -> DetectionMetrics:
    """Read a detector's ``metrics.json``; raise `BundleError` if that fails."""
    value = read_json(path, _WRITTEN_BY)
    return rebuilt(DetectionMetrics, value, f"{path} has no metrics of a detector", _WRITTEN_BY)
