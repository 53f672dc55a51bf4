"""How good a model is, as a few lines in a terminal; the report says the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from hematovision.cli.screen import show_table

if TYPE_CHECKING:
    from hematovision.evaluation.schema import Metrics
    from hematovision.training.curve import CurvePoint

__all__ = ["show_curve", "show_metrics"]

_BASELINES = {
    "most_frequent_class": "always the most frequent class",
    "box_size": "size of the box, no pixel",
    "mean_colour": "mean colour",
}


def show_metrics(metrics: Metrics) -> None:
    """Draw the classes, the whole beside its baselines, and what a reader should know."""
    from hematovision.evaluation.wording import interval, percent

    show_table(
        ("class", "images", "errors", "precision", "recall", "95 % interval"),
        (
            (
                label,
                str(scores.support),
                str(scores.errors),
                percent(scores.precision),
                percent(scores.recall),
                interval(scores.intervals.get("recall")),
            )
            for label, scores in metrics.per_class.items()
        ),
    )
    model = ("this model", percent(metrics.balanced_accuracy), percent(metrics.accuracy))
    baselines = (
        (
            _BASELINES.get(name, name.replace("_", " ")),
            percent(baseline.balanced_accuracy),
            percent(baseline.accuracy),
        )
        for name, baseline in metrics.baselines.items()
        if baseline is not None
    )
    show_table(("", "balanced accuracy", "accuracy"), (model, *baselines))
    ends = interval(metrics.intervals.get("balanced_accuracy"))
    typer.echo(
        f"{metrics.n} images, {metrics.errors} wrong; balanced accuracy "
        f"{percent(metrics.balanced_accuracy)} (95 % interval {ends}). "
        f"{percent(metrics.review_rate)} go to a person; of the others "
        f"{percent(metrics.accuracy_accepted)} are right."
    )
    for warning in metrics.warnings:
        typer.echo(f"{typer.style('Note:', fg='yellow')} {warning}")


def show_curve(curve: Iterable[CurvePoint]) -> None:
    """Draw what other numbers of training images would have led to."""
    from hematovision.evaluation.wording import interval, percent

    show_table(
        ("training images", "balanced accuracy", "least to most"),
        (
            (
                str(point.images),
                percent(point.median),
                interval((min(point.balanced_accuracy), max(point.balanced_accuracy))),
            )
            for point in curve
        ),
    )
