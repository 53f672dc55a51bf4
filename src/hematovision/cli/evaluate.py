"""``evaluate`` and ``compare``, and metrics in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hematovision.cli.datasets import FORMATS, DatasetArgument
from hematovision.cli.names import NameOf
from hematovision.cli.progress_bar import progress_bar
from hematovision.cli.terminal import FINDINGS, Styled, echo, exit_if_refused, show_table
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.evaluation.comparison import Comparison, SubgroupComparison
    from hematovision.evaluation.detection import DetectionMetrics
    from hematovision.evaluation.metrics import Metrics

__all__ = [
    "BoxesOption", "FormatOption", "LabOption", "ModelArgument", "NamesOption", "compare",
    "evaluate", "show_metrics", "show_notes", "split_names",
]  # fmt: skip

_BASELINES = {
    "most_frequent_class": "always the most frequent class",
    "box_size": "box size, without pixels",
    "mean_colour": "mean colour",
}


_MODEL = "A run folder, or a bundled model's name."

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]


FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        parser=NameOf(FORMATS),
        help="Fields: format of the boxes; detected by default.",
    ),
]
BoxesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Fields: folder or file with the boxes, if outside DATASET."
    ),
]
NamesOption = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="Fields: names of classes 0, 1, 2, ... (YOLO)."),
]
LabOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Fields: the lab that made the images.")
]


def split_names(names: str | None) -> tuple[str, ...] | None:
    """Return the names of `NamesOption`."""
    return tuple(name.strip() for name in names.split(",")) if names else None


def evaluate(
    model: ModelArgument,
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="For a classifier, one folder per class, or Train, Valid and Test; for a "
            "detector, fields with boxes.",
        ),
    ],
    *,
    split: Annotated[
        Literal["train", "valid", "test", "all"], typer.Option(help="The split to evaluate.")
    ] = "test",
    taxonomy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Classes for the evaluation: rbc-wbc-platelets, pbc8, white-cells, five-kinds, "
            "or folders (the folder "
            "names). Default: the classes of the model, or the folder names if they are coarser.",
        ),
    ] = None,
    format_: FormatOption = None,
    annotations: BoxesOption = None,
    names: NamesOption = None,
    lab: LabOption = None,
    known_scale: Annotated[
        bool,
        typer.Option("--known-scale", help="Fields: use the scale of the annotated red cells."),
    ] = False,
    detector_only: Annotated[
        bool,
        typer.Option(
            "--detector-only", help="Fields: leave out the classifier that checks doubtful cells."
        ),
    ] = False,
    baselines: Annotated[bool, typer.Option(help="Fields: also evaluate two baselines.")] = True,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="New folder for the metrics and the report.")
    ],
) -> None:
    """Evaluate a classifier on images, or a detector on fields.

    Writes metrics with confidence intervals, simple baselines for comparison, and a report.
    """
    from hematovision.workflows.detection import DetectionOptions, DetectionResult
    from hematovision.workflows.evaluate import evaluate as run

    options = DetectionOptions(
        format=format_,
        annotations=annotations,
        names=split_names(names),
        lab=lab,
        known_scale=known_scale,
        detector_only=detector_only,
        baselines=baselines,
    )
    fields = None if options == DetectionOptions() else options
    with progress_bar() as progress:
        result = run(
            model, dataset, split=split, taxonomy=taxonomy, fields=fields, out=out,
            progress=progress,
        )  # fmt: skip
    if isinstance(result, DetectionResult):
        _show_detection(result.metrics)
    else:
        show_metrics(result.metrics)
    echo(f"Report: {result.report}")
    exit_if_refused(result.refused)
    if not isinstance(result, DetectionResult):
        _exit_if_broken(result.metrics)


def compare(
    first: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    second: Annotated[str, typer.Argument(metavar="MODEL", help=f"The second model. {_MODEL}")],
    dataset: DatasetArgument,
    *,
    split: Annotated[
        Literal["train", "valid", "test", "all"], typer.Option(help="The split to compare on.")
    ] = "test",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="New folder for compare.json, differences.csv and compare.html.",
        ),
    ] = None,
) -> None:
    """Compare two models on labelled images.

    Both classify the same images. Differences have 95% confidence intervals. With --out, the report
    shows the images on which the models disagree.
    """
    from hematovision.workflows.compare import compare as run

    with progress_bar() as progress:
        result = run(first, second, dataset, split=split, out=out, progress=progress)
    _show_comparison(result.comparison, result.verdict)
    show_notes((*result.notes, *result.comparison.warnings))
    if result.report is not None:
        echo(f"Report: {result.report}")
    exit_if_refused(result.refused)
    _exit_if_broken(result.comparison.first)


def _exit_if_broken(metrics: Metrics) -> None:
    """Raise `typer.Exit(FINDINGS)` if a metric from outside failed; its error is a caveat."""
    if any(score.error for score in metrics.added.values()):
        raise typer.Exit(FINDINGS)


def show_metrics(metrics: Metrics) -> None:
    """Show the classes, the overall scores with their baselines, and caveats."""
    from hematovision.reporting.wording import interval, percent, score, score_interval

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
        f"{counted(metrics.n, 'image')}, {metrics.errors} wrong; balanced accuracy "
        f"{percent(metrics.balanced_accuracy)} (95% interval {ends}). "
        f"{percent(metrics.review_rate)} sent for review{rest}."
    )
    for added in metrics.added.values():
        if not added.error:
            ends = score_interval(added.interval, fraction=added.percent)
            value = score(added.value, fraction=added.percent)
            echo(f"{added.title}: {value} (95% interval {ends}).")
    show_notes(metrics.warnings)


def _show_detection(metrics: DetectionMetrics) -> None:
    """Show the scores of a detector by class, those of the baselines, and caveats."""
    from hematovision.reporting.detection.page import BASELINES
    from hematovision.reporting.wording import interval, number, percent

    show_table(
        ("class", "annotated", "found", "precision", "recall", "F1", "95% interval",
         "AP, IoU 0.5", "count off by", "bias"),
        (
            (
                label,
                str(row.annotated),
                str(row.found),
                *map(percent, (row.precision, row.recall, row.f1)),
                interval(row.intervals.get("f1")),
                percent(row.ap50),
                number(row.counts.mean_absolute_error, 2),
                f"{row.counts.bias:+.2f}",
            )
            for label, row in metrics.per_class.items()
        ),
    )  # fmt: skip
    for key, baseline in metrics.baselines.items():
        known = {} if baseline.scores is None else baseline.scores.per_class
        parts = (
            f"{label} {f'F1 {percent(known[label].f1)}, ' if label in known else ''}"
            f"count off by {number(errors.mean_absolute_error, 2)}"
            for label, errors in baseline.counts.items()
        )
        echo(f"Baseline {BASELINES.get(key, key).lower()}: {'; '.join(parts)}.")
    ends = interval(metrics.intervals.get("map50"))
    echo(
        f"{metrics.n} fields; mAP at IoU 0.5 {percent(metrics.map50)} (95% interval {ends}), at "
        f"0.5:0.95 {percent(metrics.map50_95)}. F1 is by centre distance; counts are per field."
    )
    if metrics.scale is not None:
        within, n = metrics.scale.within_10_percent, metrics.scale.fields
        echo(f"Scale found within 10%: {percent(within)} of {n} fields.")
    show_notes(metrics.warnings)


def _show_comparison(comparison: Comparison, verdict: str) -> None:
    """Show the verdict, then both models side by side."""
    from hematovision.reporting.comparison import score_rows
    from hematovision.reporting.wording import difference, difference_interval, p_value, score

    names = comparison.models
    echo(Styled(verdict, bold=True))
    show_table(
        ("", f"first: {names[0]}", f"second: {names[1]}", "difference", "95% interval"),
        (
            (
                title,
                score(first.value, fraction=first.percent),
                score(second.value, fraction=second.percent),
                difference(between.value, fraction=first.percent),
                difference_interval(between.interval, fraction=first.percent),
            )
            for title, first, second, between in score_rows(comparison)
        ),
    )
    _show_subgroups("class", comparison.per_class)
    if comparison.per_lab and len(comparison.per_lab) > 1:
        _show_subgroups("lab", comparison.per_lab)
    counts, test = comparison.agreement, comparison.mcnemar
    echo(
        f"{counted(comparison.n, 'image')}: both right {counts.both_right}, only the first "
        f"{counts.only_first}, only the second {counts.only_second}, both wrong "
        f"{counts.both_wrong}. McNemar's test ({test.method}, two-sided): {p_value(test.p)}."
    )


def _show_subgroups(what: str, rows: Mapping[str, SubgroupComparison]) -> None:
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


def show_notes(notes: Iterable[str]) -> None:
    """Show caveats."""
    for note in notes:
        echo(Styled("Note:", "yellow"), f" {note}")
