"""How good a model is, as a few lines in a terminal; the report has the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hematovision.cli.terminal import Styled, echo, show_table

if TYPE_CHECKING:
    from hematovision.evaluation.comparison import Comparison, SubgroupComparison
    from hematovision.evaluation.metrics import Metrics
    from hematovision.reporting.adaptation import PredictionChanges
    from hematovision.training.curve import CurvePoint

__all__ = ["show_changes", "show_comparison", "show_curve", "show_metrics", "show_notes"]

_BASELINES = {
    "most_frequent_class": "always the most frequent class",
    "box_size": "size of the box, no pixel",
    "mean_colour": "mean colour",
}

_SCORES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "review_rate": "sent to review",
    "accuracy_accepted": "accuracy of the accepted",
}


def show_metrics(metrics: Metrics) -> None:
    """Show the classes, the overall scores with their baselines, and caveats."""
    from hematovision.reporting.wording import interval, percent

    show_table(
        ("class", "images", "errors", "precision", "recall", "95% interval"),
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
    accepted = metrics.accuracy_accepted
    rest = "" if accepted is None else f"; accuracy on the rest {percent(accepted)}"
    echo(
        f"{metrics.n} images, {metrics.errors} wrong; balanced accuracy "
        f"{percent(metrics.balanced_accuracy)} (95% interval {ends}). "
        f"{percent(metrics.review_rate)} sent for review{rest}."
    )
    show_notes(metrics.warnings)


def show_comparison(comparison: Comparison, verdict: str) -> None:
    """Show which model is better, then both side by side."""
    from hematovision.reporting.wording import p_value, percent, points, points_interval

    first, second = comparison.models
    echo(Styled(verdict, bold=True))
    show_table(
        ("", f"first: {first}", f"second: {second}", "difference, points", "95% interval"),
        (
            (
                name,
                percent(getattr(comparison.first, key)),
                percent(getattr(comparison.second, key)),
                points(comparison.differences[key].value),
                points_interval(comparison.differences[key].interval),
            )
            for key, name in _SCORES.items()
        ),
    )
    _show_parts("class", comparison.per_class)
    if comparison.per_lab and len(comparison.per_lab) > 1:
        _show_parts("lab", comparison.per_lab)
    counts, test = comparison.agreement, comparison.mcnemar
    echo(
        f"{comparison.n} images: both right {counts.both_right}, only the first "
        f"{counts.only_first}, only the second {counts.only_second}, both wrong "
        f"{counts.both_wrong}. McNemar's test ({test.method}, two-sided): {p_value(test.p)}."
    )


def _show_parts(what: str, rows: Mapping[str, SubgroupComparison]) -> None:
    from hematovision.reporting.wording import points, points_interval

    table = (
        (
            name,
            str(row.n),
            str(row.only_first),
            str(row.only_second),
            points(row.difference.value),
            points_interval(row.difference.interval),
        )
        for name, row in rows.items()
    )
    heads = ("images", "only the first right", "only the second right", "difference, points")
    show_table((what, *heads, "95% interval"), table)


def show_changes(changes: PredictionChanges) -> None:
    """Show what adapting without labels changed."""
    from hematovision.reporting.wording import percent

    show_table(
        ("class", "before", "after"),
        ((label, str(changes.before[label]), str(n)) for label, n in changes.after.items()),
    )
    echo(
        f"{changes.changed} of {changes.n} predictions changed. Sent for review: "
        f"{percent(changes.review_before / changes.n)} before, "
        f"{percent(changes.review_after / changes.n)} now."
    )


def show_notes(notes: Iterable[str]) -> None:
    """Show caveats."""
    for note in notes:
        echo(Styled("Note:", "yellow"), f" {note}")


def show_curve(curve: Sequence[CurvePoint]) -> None:
    """Show the learning curve, and whether more images would help."""
    from hematovision.reporting.learning_curve import curve_rows, curve_sentence
    from hematovision.reporting.wording import interval, percent, points, points_interval

    show_table(
        ("training images", "of each class", "balanced accuracy", "95% interval", "gained", ""),
        (
            (
                str(row.images),
                _range(row.per_class),
                percent(row.mean),
                interval(row.interval),
                points(row.gain),
                points_interval(row.gain_interval),
            )
            for row in curve_rows(curve)
        ),
    )
    echo(curve_sentence(curve))


def _range(counts: Sequence[int]) -> str:
    """Write the fewest and the most images of a class."""
    if not counts:
        return ""
    fewest, most = min(counts), max(counts)
    return str(most) if fewest == most else f"{fewest} to {most}"
