"""The metrics of a classifier by name, with their intervals and the differences of two models."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import PluginError
from hematovision.evaluation import scores
from hematovision.evaluation.outcomes import Outcomes
from hematovision.evaluation.uncertainty import (
    Difference,
    PairedScores,
    Uncertainty,
    bootstrap_interval,
    known_groups,
)
from hematovision.intervals import DRAWS, Interval
from hematovision.plugins import Registry

__all__ = [
    "ACCURACY", "ACCURACY_ACCEPTED", "BALANCED_ACCURACY", "MACRO_F1", "METRICS", "REVIEW_RATE",
    "Metric", "Score", "added_metrics", "difference", "measure", "metric_title",
]  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A score of a classifier's predictions.

    Parameters
    ----------
    score : callable
        Takes `Outcomes`. Returns one number, or None where the metric is undefined, as for
        images that lack a class.
    title : str
        The name in tables; by default the name in the registry.
    higher_is_better : bool
        Which of two models is better.
    percent : bool
        Whether it is a fraction, shown as a percentage.
    interval, difference : callable, optional
        An interval that is better than the bootstrap, and the difference of two models with such
        an interval.
    """

    score: Callable[[Outcomes], float | None]
    title: str = ""
    higher_is_better: bool = True
    percent: bool = False
    interval: Callable[[Uncertainty], Interval | None] | None = None
    difference: Callable[[PairedScores], Difference] | None = None


@dataclass(frozen=True)
class Score:
    """The value of a metric, its 95% interval, and why there is no value, if there is none."""

    value: float | None
    interval: Interval | None = None
    title: str = ""
    higher_is_better: bool = True
    percent: bool = False
    error: str = ""


def _accepted(thing: object) -> Metric:
    metric = Metric(thing) if callable(thing) else thing
    if isinstance(metric, Metric) and callable(metric.score) and isinstance(metric.title, str):
        return metric
    raise TypeError(f"it must be a function of Outcomes, or a Metric with one. Received: {thing!r}")


_HERE = "hematovision.evaluation.metric"

METRICS: Registry[Metric] = Registry(
    "metric",
    "hematovision.metrics",
    {
        "accuracy": f"{_HERE}:ACCURACY",
        "balanced_accuracy": f"{_HERE}:BALANCED_ACCURACY",
        "macro_f1": f"{_HERE}:MACRO_F1",
        "review_rate": f"{_HERE}:REVIEW_RATE",
        "accuracy_accepted": f"{_HERE}:ACCURACY_ACCEPTED",
    },
    _accepted,
)
"""The metrics of ``hematovision evaluate``: a `Metric` by name."""


def added_metrics() -> tuple[str, ...]:
    """Return the names of the metrics from outside."""
    return tuple(name for name in METRICS if name not in METRICS.builtin)


def metric_title(name: str) -> str:
    """Return the name of a metric in tables."""
    return METRICS[name].title or name


def measure(name: str, of: Outcomes, doubt: Uncertainty) -> Score:
    """Return a metric of predictions, with its interval.

    Without `Metric.interval` that is a percentile bootstrap of `DRAWS` samples of the images, or of
    whole groups if these are known; None if all samples are equal, or most are undefined. What a
    metric from outside does wrong is `Score.error`, so that the other results are kept.
    """
    try:
        metric = METRICS[name]
        value = _number(name, metric, of)
        if metric.interval is not None:
            interval = metric.interval(doubt)
        else:
            samples = [_number(name, metric, of.take(chosen)) for chosen in _samples(of, doubt)]
            interval = _interval(samples)
    except PluginError as error:
        return Score(None, title=name, error=str(error))
    return Score(value, interval, metric.title or name, metric.higher_is_better, metric.percent)


def difference(name: str, one: Outcomes, two: Outcomes, doubt: PairedScores) -> Difference:
    """Return the metric of the second model minus that of the first, with its interval.

    Without `Metric.difference` the interval is a bootstrap of the images, or groups, of both
    models together. Of a metric from outside that does something wrong both are None; `measure`
    has the error.
    """
    try:
        metric = METRICS[name]
        if metric.difference is not None:
            return metric.difference(doubt)
        pairs = [
            (_number(name, metric, one.take(chosen)), _number(name, metric, two.take(chosen)))
            for chosen in (np.arange(len(one.labels)), *_samples(one, doubt))
        ]
    except PluginError:
        return Difference(None, None)
    value, *samples = (None if a is None or b is None else b - a for a, b in pairs)
    return Difference(value, _interval(samples))


def _number(name: str, metric: Metric, of: Outcomes) -> float | None:
    """Return a metric of predictions; PluginError if it is not one finite number."""
    with METRICS.calling(name):
        value: Any = metric.score(of)
    if value is None:
        return None
    if (number := _finite(value)) is not None:
        return number
    shape = getattr(value, "shape", ())
    found = f"an array of shape {shape}" if shape else reprlib.repr(value)
    raise METRICS.broken(
        name,
        f"must return one finite number, or None where it is undefined. Received: {found}.",
    )


def _finite(value: Any) -> float | None:
    """Return a finite number as float, None for anything else."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    is_number = array.ndim == 0 and np.issubdtype(array.dtype, np.number) and np.isrealobj(array)
    return float(array) if is_number and np.isfinite(array) else None


def _samples(of: Outcomes, doubt: Uncertainty | PairedScores) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of the images in each bootstrap sample."""
    n, rng = len(of.labels), np.random.default_rng(doubt.seed)
    ids = known_groups(of.groups, n)
    members = None if ids is None else [np.flatnonzero(ids == i) for i in range(int(ids.max()) + 1)]
    for _ in range(DRAWS):
        if members is None:
            yield rng.integers(n, size=n)
        else:
            chosen = rng.integers(len(members), size=len(members))
            yield np.concatenate([members[i] for i in chosen])


def _interval(samples: list[float | None]) -> Interval | None:
    """Return the percentile interval; None if most samples are undefined or all are equal."""
    values = [value for value in samples if value is not None]
    return bootstrap_interval(np.array(values)) if 2 * len(values) > len(samples) else None


def _accuracy_accepted(of: Outcomes) -> float | None:
    accepted = int(of.accepted.sum())
    correct = int((of.accepted & (of.predicted == of.labels)).sum())
    return correct / accepted if accepted else None


ACCURACY = Metric(
    lambda of: float(scores.accuracy(of.confusion)),
    "Accuracy",
    percent=True,
    interval=Uncertainty.accuracy,
    difference=PairedScores.accuracy,
)
BALANCED_ACCURACY = Metric(
    lambda of: float(scores.balanced_accuracy(of.confusion)),
    "Balanced accuracy",
    percent=True,
    interval=Uncertainty.balanced_accuracy,
    difference=PairedScores.balanced_accuracy,
)
MACRO_F1 = Metric(
    lambda of: float(scores.macro_f1(of.confusion)),
    "Macro-F1",
    percent=True,
    interval=Uncertainty.macro_f1,
    difference=PairedScores.macro_f1,
)
REVIEW_RATE = Metric(
    lambda of: int((~of.accepted).sum()) / len(of.labels),
    "Sent for review",
    higher_is_better=False,
    percent=True,
    interval=Uncertainty.review_rate,
    difference=PairedScores.review_rate,
)
ACCURACY_ACCEPTED = Metric(
    _accuracy_accepted,
    "Accuracy on the rest",
    percent=True,
    interval=Uncertainty.accuracy_accepted,
    difference=PairedScores.accuracy_accepted,
)
