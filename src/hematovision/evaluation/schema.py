"""What ``metrics.json`` says, as values that travel: written by `evaluate`, read by every door."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hematovision.errors import BundleError
from hematovision.evaluation.baselines import Baseline
from hematovision.evaluation.calibration import CoveragePoint, ReliabilityBin
from hematovision.evaluation.intervals import Interval
from hematovision.files import write_text
from hematovision.paths import valid_value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "ClassScores",
    "IntervalDetails",
    "LabScores",
    "Metrics",
    "plain",
    "read_json",
    "read_metrics",
    "understood",
    "write_json",
    "write_metrics",
]

Intervals = dict[str, Interval | None]


@dataclass(frozen=True)
class ClassScores:
    """How well one class is told; what is undefined is None.

    Parameters
    ----------
    precision, recall, f1 : float or None
        None without answers, without samples, and without either.
    support : int
        Samples of the class.
    answered : int
        How often the class was the answer.
    errors : int
        Samples of the class that got another answer.
    false_positives : int
        Samples of other classes that got this answer.
    intervals : dict
        95 % intervals of ``precision``, ``recall`` and ``f1``.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    answered: int
    errors: int
    false_positives: int
    intervals: Intervals


@dataclass(frozen=True)
class LabScores:
    """How well the images of one lab are told; `intervals` holds those of the same names."""

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
    """How the intervals were made: level, bootstrap draws and seed, groups, and in words."""

    level: float
    draws: int
    seed: int
    groups: int | None
    description: str


@dataclass(frozen=True)
class Metrics:
    """Everything in ``metrics.json``; fractions in [0, 1], None where something is undefined.

    Parameters
    ----------
    n : int
        Images evaluated.
    classes : tuple of str
        Class names; their order is that of the rows and columns of the confusion matrix.
    accuracy, balanced_accuracy, macro_f1 : float
        Means over the classes present, and for F1 also over those answered.
    errors : int
        Wrong answers, reviewed or not.
    log_loss : float
        In nats.
    ece : float
        Expected calibration error over `reliability`'s bins.
    review_rate : float
        Fraction of images sent to a person.
    accuracy_accepted : float or None
        Accuracy over the others.
    intervals : dict
        95 % intervals of the scores above that have one.
    interval_method : str
        ``"wilson"`` or ``"cluster_bootstrap"``; see `interval_details`.
    interval_details : IntervalDetails
    per_class : dict of str to ClassScores
    averages : dict
        ``macro`` and ``weighted`` precision, recall and f1, as in a classification report.
    confusion_matrix : tuple of tuple of int
        Rows are true classes, columns answers.
    reliability : tuple of ReliabilityBin
    risk_coverage : tuple of CoveragePoint
    baselines : dict of str to Baseline or None
    per_lab : dict of str to LabScores, or None
        None where no lab is known.
    warnings : tuple of str
        What a reader should know before believing a figure.
    schema_version : int
        Grows when a key changes its meaning.
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
    schema_version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return values that JSON can say: lists for tuples, None for what is undefined."""
        return plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Metrics:
        """Rebuild metrics from `to_json`'s output.

        Raises
        ------
        BundleError
            If `value` does not describe metrics of this version.
        """
        with understood("These are no metrics", "hematovision evaluate"):
            return cls(**_read_fields(value))


def write_metrics(path: Path, metrics: Metrics) -> Path:
    """Write metrics as ``metrics.json``: strict JSON in UTF-8, the order of `Metrics`' fields.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    return write_json(path, metrics.to_json())


def read_metrics(path: Path) -> Metrics:
    """Read what `write_metrics` wrote.

    Raises
    ------
    BundleError
        If the file is missing or says something else.
    """
    return Metrics.from_json(read_json(path, "hematovision evaluate"))


def plain(value: DataclassInstance) -> dict[str, Any]:
    """Return what a dataclass says in values of JSON: lists for tuples, None for the undefined."""
    said: dict[str, Any] = json.loads(json.dumps(asdict(value), allow_nan=False))
    return said


@contextmanager
def understood(otherwise: str, written_by: str) -> Iterator[None]:
    """Turn what goes wrong while a value is rebuilt inside the block into a message.

    Parameters
    ----------
    otherwise : str
        The beginning of the message, for instance ``"These are no metrics"``.
    written_by : str
        The command that writes such a file.

    Raises
    ------
    BundleError
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{otherwise} of schema version 1 ({type(error).__name__}: {error}). Write it again "
            f"with `{written_by}`."
        ) from error


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Write `value` as strict JSON in UTF-8, for people to read, too.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    text = json.dumps(valid_value(value), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def read_json(path: Path, written_by: str) -> Any:
    """Read a JSON file; `written_by` is the command that makes one, for the message.

    Raises
    ------
    BundleError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"Cannot read figures from {path}: {error}. Write them with `{written_by}`."
        ) from error


def _read_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    if value["schema_version"] != 1:
        raise ValueError(f"schema_version is {value['schema_version']!r}")
    labs = value["per_lab"]
    return {
        **value,
        "classes": tuple(value["classes"]),
        "intervals": _read_intervals(value["intervals"]),
        "interval_details": IntervalDetails(**value["interval_details"]),
        "per_class": {k: ClassScores(**_read_scores(v)) for k, v in value["per_class"].items()},
        "confusion_matrix": tuple(map(tuple, value["confusion_matrix"])),
        "reliability": tuple(ReliabilityBin(**v) for v in value["reliability"]),
        "risk_coverage": tuple(CoveragePoint(**v) for v in value["risk_coverage"]),
        "baselines": {k: v and Baseline(**v) for k, v in value["baselines"].items()},
        "per_lab": labs and {k: LabScores(**_read_scores(v)) for k, v in labs.items()},
        "warnings": tuple(value["warnings"]),
    }


def _read_scores(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**value, "intervals": _read_intervals(value["intervals"])}


def _read_intervals(value: Mapping[str, Any]) -> Intervals:
    return {name: ends and (ends[0], ends[1]) for name, ends in value.items()}
