"""What ``compare.json`` says, as values that travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hematovision.evaluation.paired import Difference
from hematovision.evaluation.proportions import McNemar
from hematovision.evaluation.schema import (
    IntervalDetails,
    Metrics,
    plain,
    read_json,
    understood,
    write_json,
)

__all__ = ["Agreement", "Comparison", "SubgroupComparison", "read_comparison", "write_comparison"]


@dataclass(frozen=True)
class Agreement:
    """How many images both models tell rightly, only one of them, or neither."""

    both_right: int
    only_first: int
    only_second: int
    both_wrong: int


@dataclass(frozen=True)
class SubgroupComparison:
    """Both models on the images of one class, or of one lab.

    Parameters
    ----------
    n : int
        Images.
    first, second : float or None
        Each model's accuracy on them (the recall of a class); None without images.
    difference : Difference
        The second's less the first's.
    only_first, only_second : int
        Images that one model alone tells rightly.
    """

    n: int
    first: float | None
    second: float | None
    difference: Difference
    only_first: int
    only_second: int


@dataclass(frozen=True)
class Comparison:
    """Everything in ``compare.json``; fractions in [0, 1], differences in [-1, 1].

    Parameters
    ----------
    n : int
        Images that both models answered.
    classes : tuple of str
        What both models can say; see `CommonClasses`.
    models : tuple of str
        The names of the first and the second model.
    first, second : Metrics
        Each on these images and classes, as in ``metrics.json``.
    differences : dict of str to Difference
        The second model's less the first's: ``accuracy``, ``balanced_accuracy``, ``macro_f1``,
        ``review_rate``, ``accuracy_accepted``. Their intervals are the primary figures: where
        fields or patients are known they are made by group.
    agreement : Agreement
    mcnemar : McNemar
        Takes images for independent; where they come in groups its p is too small.
    differing : int
        Images with two different answers.
    per_class : dict of str to SubgroupComparison
    per_lab : dict of str to SubgroupComparison, or None
        None where no lab is known.
    interval_method : str
        ``"tango"`` or ``"cluster_bootstrap"``; see `interval_details`.
    interval_details : IntervalDetails
    warnings : tuple of str
        What a reader should know before believing a figure.
    schema_version : int
        Grows when a key changes its meaning.
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
    schema_version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return values that JSON can say: lists for tuples, None for what is undefined."""
        return plain(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Comparison:
        """Rebuild a comparison from `to_json`'s output.

        Raises
        ------
        BundleError
            If `value` does not describe a comparison of this version.
        """
        with understood("This is no comparison", "hematovision compare"):
            return cls(**_read_fields(value))


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write a comparison as ``compare.json``: strict JSON in UTF-8, in the order of its fields.

    Raises
    ------
    OutputError
        If the place cannot be written.
    """
    return write_json(path, comparison.to_json())


def read_comparison(path: Path) -> Comparison:
    """Read what `write_comparison` wrote.

    Raises
    ------
    BundleError
        If the file is missing or says something else.
    """
    return Comparison.from_json(read_json(path, "hematovision compare"))


def _read_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    if value["schema_version"] != 1:
        raise ValueError(f"schema_version is {value['schema_version']!r}")
    labs = value["per_lab"]
    return {
        **value,
        "classes": tuple(value["classes"]),
        "models": (value["models"][0], value["models"][1]),
        "first": Metrics.from_json(value["first"]),
        "second": Metrics.from_json(value["second"]),
        "differences": {k: _read_difference(v) for k, v in value["differences"].items()},
        "agreement": Agreement(**value["agreement"]),
        "mcnemar": McNemar(**value["mcnemar"]),
        "per_class": {k: _read_part(v) for k, v in value["per_class"].items()},
        "per_lab": labs and {k: _read_part(v) for k, v in labs.items()},
        "interval_details": IntervalDetails(**value["interval_details"]),
        "warnings": tuple(value["warnings"]),
    }


def _read_part(value: Mapping[str, Any]) -> SubgroupComparison:
    return SubgroupComparison(**{**value, "difference": _read_difference(value["difference"])})


def _read_difference(value: Mapping[str, Any]) -> Difference:
    ends = value["interval"]
    return Difference(value["value"], ends and (ends[0], ends[1]))
