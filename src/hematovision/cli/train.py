"""``demo``, ``train``, ``adapt`` and ``export``."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hematovision.cli.datasets import DatasetArgument, SeedOption, TaxonomyOption
from hematovision.cli.evaluate import (
    BoxesOption,
    FormatOption,
    LabOption,
    ModelArgument,
    NamesOption,
    show_metrics,
    show_notes,
    split_names,
)
from hematovision.cli.names import NameOf
from hematovision.cli.progress_bar import progress_bar
from hematovision.cli.terminal import echo, exit_if_refused, show_next, show_table
from hematovision.model.registry import DEFAULT_BACKBONE
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.reporting.adaptation import PredictionChanges
    from hematovision.training.curve import CurvePoint
    from hematovision.workflows.adapt import AdaptDetectorResult
    from hematovision.workflows.demo import DemoResult

__all__ = ["adapt", "demo", "export", "train"]


def demo(
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Output folder; an earlier demo is replaced."),
    ] = Path("runs/demo"),
) -> None:
    """Run the full pipeline on synthetic cells and a synthetic field.

    Needs no data and takes a minute or two.
    """
    _hush_tensorflow()
    from hematovision.workflows.demo import demo as run

    with progress_bar() as progress:
        result = run(out, progress=progress)
    show_metrics(result.metrics)
    echo(
        "These cells are synthetic: the metrics show that the pipeline works, not how accurate it "
        "is on real blood."
    )
    echo(f"Report: {result.report}")
    _show_field(result)
    show_next("classify", result.example, "--model", result.folder)


def _show_field(result: DemoResult) -> None:
    """Show what was found in the demo's synthetic field."""
    counts = result.analysis.summary.counts
    found = {label: count.n + counts.not_counted[label] for label, count in counts.cells.items()}
    texts = (f"{n} {label} of {result.rendered.get(label, 0)}" for label, n in found.items())
    echo(f"Found in a synthetic field: {', '.join(texts)}. Results: {result.analysis.folder}")


def train(
    dataset: DatasetArgument,
    *,
    out: Annotated[
        Path, typer.Option(metavar="RUN", help="New folder for the model and its report.")
    ],
    taxonomy: TaxonomyOption = None,
    weights: Annotated[
        str, typer.Option(metavar="WEIGHTS", help="hematology, imagenet, or a Keras file.")
    ] = "hematology",
    fine_tune: Annotated[
        bool,
        typer.Option("--fine-tune", help="Also train the upper blocks of the backbone (slow)."),
    ] = False,
    fine_tune_blocks: Annotated[
        str, typer.Option(metavar="N", help="Blocks to fine-tune: 1 to 17, or all.")
    ] = "6",
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of epochs.")] = 15,
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images per training step.")
    ] = 32,
    patience: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Epochs without improvement before training stops."),
    ] = 5,
    seed: SeedOption = 0,
    backbone: Annotated[
        str,
        typer.Option(
            parser=NameOf("hematovision.model.registry:BACKBONES"),
            help="The network to train on.",
        ),
    ] = DEFAULT_BACKBONE,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also plot a learning curve.")
    ] = False,
) -> None:
    """Train a model on a folder of cell images.

    The model is then evaluated on the test split. Ctrl-C stops training early and keeps the best
    model so far.
    """
    blocks = _blocks(fine_tune_blocks)
    _hush_tensorflow()
    from hematovision.workflows.train import TrainOptions
    from hematovision.workflows.train import train as run

    options = TrainOptions(
        taxonomy=taxonomy,
        weights=weights,
        fine_tune=fine_tune,
        fine_tune_blocks=blocks,
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
        learning_curve=learning_curve,
        backbone=backbone,
    )
    with progress_bar() as progress:
        result = run(dataset, out, options, progress=progress)
    show_metrics(result.metrics)
    if result.curve:
        _show_curve(result.curve)
    if result.interrupted:
        echo("Training was stopped by Ctrl-C; the best model so far was saved.")
    echo(f"Model: {result.folder}")
    echo(f"Report: {result.report}")
    show_next("classify", "IMAGES", "--model", result.folder)
    exit_if_refused(result.refused)


def adapt(
    model: ModelArgument,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Single-cell images from one lab, in class folders if they are labelled; for a "
            "detector, annotated fields.",
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(metavar="RUN", help="New folder for the model and its report.")
    ],
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Ignore folder names: the images have no labels.")
    ] = False,
    format_: FormatOption = None,
    annotations: BoxesOption = None,
    names: NamesOption = None,
    lab: LabOption = None,
    seed: SeedOption = 0,
) -> None:
    """Adapt a model to another lab.

    Needs a few dozen images from that lab, ideally up to a hundred labelled images of all classes
    from several fields. Classes without images are kept.

    A detector needs 5 to 20 fields with a box around every cell. Its calibration, thresholds and
    scale are fitted, unless that doesn't improve results on held-out fields.
    """
    _hush_tensorflow()
    from hematovision.workflows.adapt import AdaptDetectorResult, FieldSource
    from hematovision.workflows.adapt import adapt as run

    source = FieldSource(format_, annotations, split_names(names), lab)
    fields = None if source == FieldSource() else source
    with progress_bar() as progress:
        result = run(
            model,
            folder,
            out=out,
            unlabelled=unlabelled,
            fields=fields,
            seed=seed,
            progress=progress,
        )
    if isinstance(result, AdaptDetectorResult):
        _show_detector(result)
        return
    if result.metrics is not None:
        show_metrics(result.metrics)
    if result.changes is not None:
        _show_changes(result.changes)
        show_notes(result.notes)
    echo(f"Model: {result.folder}")
    echo(f"Report: {result.report}")
    show_next("classify", "IMAGES", "--model", result.folder)
    exit_if_refused(result.refused)


def export(
    model: ModelArgument,
    *,
    to: Annotated[
        str,
        typer.Option(
            parser=NameOf("hematovision.workflows.exporters:EXPORTERS"), help="File format."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Output file; by default hematovision_model in the current folder."
        ),
    ] = None,
) -> None:
    """Export a model as a single file for other programs."""
    _hush_tensorflow()
    from hematovision.workflows.export import export as run

    echo(f"Written: {run(model, to, out)}")


def _hush_tensorflow() -> None:
    """Hide TensorFlow's messages about the CPU and its speed, unless its log level is set."""
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _blocks(text: str) -> int | None:
    """Parse a number of blocks; "all" becomes None."""
    if text == "all":
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 17:
        return int(text)
    raise typer.BadParameter(
        f"Expected a number from 1 to 17, or all. Received: {text}", param_hint="--fine-tune-blocks"
    )


def _show_detector(result: AdaptDetectorResult) -> None:
    """Show the scores of a detector on held-out fields, before and after."""
    from hematovision.reporting.wording import percent

    changes = result.changes
    echo(f"F1 by centre distance on held-out fields ({counted(changes.n, 'field')}):")
    for name, one in changes.classes.items():
        scores = f"{percent(one.before.f1)} -> {percent(one.after.f1)}"
        echo(f"  {name}: {scores}, threshold {one.after.threshold:.3f}")
    echo(f"Factor of boxes: {changes.box_size.factor:.3f}")
    show_notes(result.notes)
    echo(f"Detector: {result.folder}")
    echo(f"Report: {result.report}")
    show_next("analyze", "FIELDS", "--detector", result.folder)
    exit_if_refused(result.refused)


def _show_changes(changes: PredictionChanges) -> None:
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


def _show_curve(curve: Sequence[CurvePoint]) -> None:
    """Show the learning curve, and whether more images are likely to help."""
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
    """Format the smallest and the largest number of images per class."""
    if not counts:
        return ""
    fewest, most = min(counts), max(counts)
    return str(most) if fewest == most else f"{fewest} to {most}"
