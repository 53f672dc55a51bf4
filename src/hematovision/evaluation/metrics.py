"""Compute a classifier's metrics from its predictions; the content of ``metrics.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.errors import BundleError
from hematovision.evaluation import scores
from hematovision.evaluation.baselines import Baseline, TrainingSplit, baselines
from hematovision.evaluation.calibration import (
    CoveragePoint,
    ReliabilityBin,
    expected_calibration_error,
    log_loss,
    reliability,
    risk_coverage,
)
from hematovision.evaluation.metric import METRICS, Score, added_metrics, measure
from hematovision.evaluation.outcomes import Outcomes
from hematovision.evaluation.uncertainty import Uncertainty
from hematovision.files import write_text
from hematovision.frames import plain_frame
from hematovision.intervals import DRAWS, LEVEL, Interval
from hematovision.paths import valid_value
from hematovision.plurals import counted
from hematovision.validation import explained

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic import TypeAdapter

    from hematovision.frames import DataFrame

__all__ = [
    "STRICT", "ClassScores", "IntervalDetails", "LabScores", "Metrics", "evaluate",
    "most_confident_errors", "plain", "read_json", "read_metrics", "rebuilt", "write_json",
    "write_metrics",
]  # fmt: skip

FEW = 30
"""Classes with fewer images get a warning: one error changes recall by more than 3 points."""

FEW_GROUPS = 10
"""With fewer groups a cluster bootstrap is too narrow (Cameron, Gelbach & Miller 2008, Rev. Econ.
Stat. 90:414-427)."""

METHODS = {
    "wilson": (
        "Images treated as independent: Wilson score intervals; balanced accuracy by MOVER from "
        "those of the classes; macro-F1 the hull of MOVER and a bootstrap over images."
    ),
    "cluster_bootstrap": (
        "Groups resampled with replacement, percentile interval, and never narrower than the score "
        "interval (Wilson, MOVER) of as many independent images."
    ),
}

Intervals = dict[str, Interval | None]
T = TypeVar("T")

_KEYS = {"predicted": "answered"}  # fields with another name in metrics.json, since 0.1

STRICT = MappingProxyType(
    {
        "strict": True,
        "extra": "forbid",
        "allow_inf_nan": False,
        "alias_generator": lambda name: _KEYS.get(name, name),
    }
)
"""How pydantic reads the dataclass of a file; see `rebuilt`."""


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class; None if undefined."""

    # None without predictions, samples, and both, respectively
    precision: float | None
    recall: float | None
    f1: float | None
    support: int  # samples of the class
    predicted: int  # predictions of the class
    errors: int  # samples of the class predicted as another class
    false_positives: int  # samples of other classes predicted as this class
    intervals: Intervals  # 95% intervals of ``precision``, ``recall`` and ``f1``


@dataclass(frozen=True)
class LabScores:
    """The scores on the images of one lab; `intervals` has their intervals by name."""

    n: int
    errors: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    review_rate: float
    accuracy_accepted: float | None
    intervals: Intervals


@dataclass(frozen=True)
class IntervalDetails:
    """How intervals were computed: level, bootstrap samples and seed, groups, a description."""

    level: float
    draws: int
    seed: int
    groups: int | None
    description: str


@dataclass(frozen=True)
class Metrics:
    """The contents of ``metrics.json``; fractions in [0, 1], None if undefined.

    Parameters
    ----------
    n, errors : int
        Numbers of images and of wrong predictions, including those sent for review.
    classes : tuple of str
        Class names, in the order of the confusion matrix.
    balanced_accuracy, macro_f1 : float
        Means over the classes present; for F1, present or predicted.
    log_loss : float
        In nats.
    ece : float
        Expected calibration error over the bins of `reliability`.
    review_rate, accuracy_accepted : float
        Fraction of images sent for review, and accuracy on the rest.
    intervals : dict
        95% intervals of the built-in metrics (`METRICS`).
    interval_method : str
        ``"wilson"`` or ``"cluster_bootstrap"``; see `interval_details`.
    averages : dict
        ``macro`` and ``weighted`` precision, recall and f1, as in a classification report.
    confusion_matrix : tuple of tuple of int
        Rows are true classes, columns predicted classes.
    per_lab : dict of str to LabScores, or None
        None if no lab is known.
    warnings : tuple of str
        Caveats.
    schema_version : int
        Increases when the meaning of a key changes.
    added : dict of str to Score
        The added metrics, by name.

    Examples
    --------
    >>> import hematovision
    >>> metrics = hematovision.evaluate("rbc-wbc-platelets", "cells", out="metrics").metrics
    >>> metrics
    Metrics(6 images: accuracy 100.0%, balanced accuracy 100.0%)
    >>> metrics.per_class["WBC"].recall
    1.0
    >>> metrics.to_pandas().loc["RBC", ["precision", "recall", "support"]].tolist()
    [1.0, 1.0, 2.0]
    """

    n: int
    classes: tuple[str, ...]
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    errors: int
    log_loss: float
    ece: float
    review_rate: float
    accuracy_accepted: float | None
    intervals: Intervals
    interval_method: str
    interval_details: IntervalDetails
    per_class: dict[str, ClassScores]
    averages: dict[str, dict[str, float | None]]
    confusion_matrix: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[CoveragePoint, ...]
    baselines: dict[str, Baseline | None]
    per_lab: dict[str, LabScores] | None
    warnings: tuple[str, ...] = ()
    schema_version: Literal[1] = 1
    added: dict[str, Score] = field(default_factory=dict)

    __pydantic_config__ = STRICT

    def __repr__(self) -> str:
        return f"Metrics({self.summary})"

    @property
    def summary(self) -> str:
        """The number of images, the accuracy and the balanced accuracy, in words."""
        scores = f"accuracy {self.accuracy:.1%}, balanced accuracy {self.balanced_accuracy:.1%}"
        return f"{counted(self.n, 'image')}: {scores}"

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row per class: precision, recall, f1, support.

        Undefined scores are NaN.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        names = ("precision", "recall", "f1", "support")
        return plain_frame(
            (
                {"class": label, **{name: getattr(row, name) for name in names}}
                for label, row in self.per_class.items()
            ),
            index="class",
        )

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON: tuples become lists, undefined values None."""
        return plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Metrics:
        """Rebuild metrics from the output of `to_json`.

        Raises
        ------
        BundleError
            If `value` is not metrics of this schema version.
        """
        return rebuilt(cls, value, "These are not metrics", "hematovision evaluate")


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
    """Score predictions, with intervals and baselines.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        True class indices; N is at least 1.
    probabilities : array_like of float, shape (N, C)
        Calibrated probabilities; each row sums to 1. The predicted class is the first with the
        largest probability.
    classes : sequence of str
        The C class names.
    accepted : array_like of bool, shape (N,)
        Predictions that were accepted; the rest are sent for review.
    groups : sequence of str, optional
        Field or patient of each image, for intervals by group. None, or a different group for every
        image, means independent images.
    labs : sequence of (str or None), optional
        The lab of each image; scores per lab are computed if any lab is known.
    boxes : array_like of float, shape (N, 4), optional
        ``(xmin, ymin, xmax, ymax)`` in pixels, NaN if unknown, for the box-size baseline.
    colours : array_like of float, shape (N, 3), optional
        From `mean_colours`, for the mean-colour baseline.
    train : TrainingSplit, optional
        Data for fitting the baselines; without it, the only baseline is the most frequent class.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Metrics

    Raises
    ------
    DatasetError
        If there is nothing to evaluate.
    ValueError
        If shapes or values are inconsistent.
    """
    checked = Outcomes.checked(labels, probabilities, classes, accepted, groups, labs)
    fitted = baselines(
        checked.labels,
        len(checked.classes),
        train=train,
        boxes=checked.rows("boxes", boxes),
        colours=checked.rows("colours", colours),
    )
    doubt = checked.uncertainty(seed)
    added = {name: measure(name, checked, doubt) for name in added_metrics()}
    per_class = _per_class(doubt, checked.classes)
    return Metrics(
        n=len(checked.labels),
        classes=checked.classes,
        **_scored(checked, doubt),
        **_calibration(checked),
        interval_method=doubt.method,
        interval_details=IntervalDetails(LEVEL, DRAWS, seed, doubt.n_groups, METHODS[doubt.method]),
        per_class=per_class,
        averages=_averages(per_class),
        confusion_matrix=tuple(map(tuple, doubt.confusion.tolist())),
        baselines=fitted,
        per_lab=_per_lab(checked, seed),
        warnings=(*_warnings(per_class, doubt), *(s.error for s in added.values() if s.error)),
        added=added,
    )


def most_confident_errors(
    labels: ArrayLike, probabilities: ArrayLike, limit: int = 24
) -> NDArray[np.int64]:
    """Return the positions of at most `limit` wrong predictions, the most confident first.

    `labels` are class indices of shape (N,); `probabilities` has shape (N, C).
    """
    table = np.asarray(probabilities, np.float64)
    wrong = np.flatnonzero(table.argmax(axis=1) != np.asarray(labels))
    return wrong[np.argsort(-table[wrong].max(axis=1), kind="stable")][:limit]


def write_metrics(path: Path, metrics: Metrics) -> Path:
    """Write ``metrics.json``, in the order of the fields; OutputError if it can't be written."""
    return write_json(path, metrics.to_json())


def read_metrics(path: Path) -> Metrics:
    """Read ``metrics.json``; BundleError if it is missing or invalid."""
    command = "hematovision evaluate"
    return rebuilt(Metrics, read_json(path, command), f"{path} has no metrics", command)


def plain(value: DataclassInstance) -> dict[str, Any]:
    """Convert a dataclass to values for JSON: tuples become lists, undefined values None."""
    fields = asdict(value, dict_factory=lambda pairs: {_KEYS.get(k, k): v for k, v in pairs})
    found: dict[str, Any] = json.loads(json.dumps(fields, allow_nan=False))
    return found


def rebuilt(kind: type[T], value: Mapping[str, Any], otherwise: str, written_by: str) -> T:
    """Rebuild a dataclass of schema version 1 from the output of `plain`.

    The dataclass has ``__pydantic_config__ = STRICT``. Raises `BundleError` if `value` does not
    match; the message starts with `otherwise` and names the field and the command `written_by`.
    """
    # Imported here: it takes a tenth of a second, and predicting does not need it.
    from pydantic import ValidationError

    try:
        # As JSON: from Python's values, strict tuples can't be lists.
        text = json.dumps(valid_value({"schema_version": None, **value}))
        found: T = _checker(kind).validate_json(text)  # type: ignore[arg-type]  # it has a hash
    except ValidationError as error:
        # Another version explains all other errors.
        first = min(error.errors(), key=lambda one: one["loc"] != ("schema_version",))
        raise BundleError(
            f"{otherwise} of schema version 1: {explained(first)} Write it again with "
            f"`{written_by}`."
        ) from error
    return found


@lru_cache(maxsize=4)  # kinds of files
def _checker(kind: type[Any]) -> TypeAdapter[Any]:
    """Return pydantic's checks of a dataclass, which take 10 ms to prepare."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Write strict, indented JSON in UTF-8; OutputError if it can't be written."""
    text = json.dumps(valid_value(value), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def read_json(path: Path, written_by: str) -> dict[str, Any]:
    """Read a JSON object written by the command `written_by`; BundleError if that fails."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            f"Cannot read metrics from {path}: {error}. Write them with `{written_by}`."
        ) from error
    if not isinstance(value, dict):
        raise BundleError(
            f"{path} must be a JSON object. Received: {type(value).__name__}. Write it again with "
            f"`{written_by}`."
        )
    return value


def _scored(checked: Outcomes, doubt: Uncertainty) -> dict[str, Any]:
    """Return the scores common to `Metrics` and `LabScores`, with their intervals."""
    measured = {name: measure(name, checked, doubt) for name in METRICS.builtin}
    return {
        "errors": int((checked.predicted != checked.labels).sum()),
        **{name: score.value for name, score in measured.items()},
        "intervals": {name: score.interval for name, score in measured.items()},
    }


def _calibration(checked: Outcomes) -> dict[str, Any]:
    confidence, correct = checked.probabilities.max(axis=1), checked.predicted == checked.labels
    bins = reliability(confidence, correct)
    return {
        "log_loss": log_loss(checked.labels, checked.probabilities),
        "ece": expected_calibration_error(bins),
        "reliability": bins,
        "risk_coverage": risk_coverage(confidence, correct),
    }


def _per_class(doubt: Uncertainty, classes: tuple[str, ...]) -> dict[str, ClassScores]:
    counts = doubt.confusion
    support, predicted, correct = counts.sum(axis=1), counts.sum(axis=0), np.diagonal(counts)
    precision, recall, f1 = scores.precision(counts), scores.recall(counts), scores.f1(counts)
    return {
        name: ClassScores(
            precision=_number(precision[i]),
            recall=_number(recall[i]),
            f1=_number(f1[i]),
            support=int(support[i]),
            predicted=int(predicted[i]),
            errors=int(support[i] - correct[i]),
            false_positives=int(predicted[i] - correct[i]),
            intervals={key: getattr(doubt, key)(i) for key in ("precision", "recall", "f1")},
        )
        for i, name in enumerate(classes)
    }


def _averages(per_class: dict[str, ClassScores]) -> dict[str, dict[str, float | None]]:
    """Return plain and support-weighted means, each over the classes with a defined score."""
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


def _per_lab(checked: Outcomes, seed: int) -> dict[str, LabScores] | None:
    if checked.labs is None:
        return None
    subsets = {str(lab): checked.take(checked.labs == lab) for lab in np.unique(checked.labs)}
    return {
        lab: LabScores(n=len(of.labels), **_scored(of, of.uncertainty(seed)))
        for lab, of in subsets.items()
    }


def _warnings(per_class: dict[str, ClassScores], doubt: Uncertainty) -> tuple[str, ...]:
    absent = [name for name, row in per_class.items() if not row.support]
    few = [f"{name} ({row.support})" for name, row in per_class.items() if 0 < row.support < FEW]
    found = []
    if absent:
        found.append(f"No images of: {', '.join(absent)}. Means are over the other classes.")
    if few:
        found.append(f"Fewer than {FEW} images of: {', '.join(few)}. Their scores are imprecise.")
    if doubt.n_groups is not None and doubt.n_groups < FEW_GROUPS:
        found.append(
            f"All images come from {counted(doubt.n_groups, 'group')} (fields or patients): the "
            "intervals may not hold for others."
        )
    return tuple(found)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
