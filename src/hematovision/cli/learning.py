"""``demo``, ``train``, ``evaluate``, ``adapt`` and ``export``: making models and judging them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from hematovision.cli.datasets import DatasetArgument, SeedOption, TaxonomyOption
from hematovision.cli.results import show_changes, show_curve, show_metrics, show_notes
from hematovision.cli.screen import drawn_progress, end_with_refusals, show_next
from hematovision.cli.terminal import say

__all__ = ["adapt", "demo", "evaluate", "export", "train"]

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run folder, or a bundled model's name.")
]


def demo(
    *,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to work; it is made anew each time.")
    ] = Path("runs/demo"),
) -> None:
    """Do the whole job on drawn cells.

    It needs no data and takes a minute or two.
    """
    _hush_tensorflow()
    from hematovision.jobs.demo import demo as run

    with drawn_progress() as progress:
        result = run(out, progress=progress)
    show_metrics(result.metrics)
    say("These are drawn cells: the figures show that it works, not how well on blood.")
    say(f"Report: {result.report}")
    show_next("classify", result.example, "--model", result.folder)


def train(
    dataset: DatasetArgument,
    *,
    out: Annotated[
        Path, typer.Option(metavar="RUN", help="A new folder for the model and its report.")
    ],
    taxonomy: TaxonomyOption = None,
    weights: Annotated[
        str, typer.Option(metavar="WEIGHTS", help="hematology, imagenet, or a Keras file.")
    ] = "hematology",
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Let the backbone's upper blocks learn, too: slow.")
    ] = False,
    fine_tune_blocks: Annotated[
        str, typer.Option(metavar="N", help="How many of its 17 blocks, or all.")
    ] = "6",
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 15,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Images a step.")] = 32,
    patience: Annotated[
        int, typer.Option(min=1, metavar="N", help="Epochs without progress before it stops.")
    ] = 5,
    seed: SeedOption = 0,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also tell what more images would bring.")
    ] = False,
) -> None:
    """Train a model on a folder of cell images.

    It is then evaluated on the part that was kept for testing.

    Ctrl-C ends the training early and keeps the best model so far.
    """
    blocks = _blocks(fine_tune_blocks)
    _hush_tensorflow()
    from hematovision.jobs.train import TrainOptions
    from hematovision.jobs.train import train as run

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
    )
    with drawn_progress() as progress:
        result = run(dataset, out, options, progress=progress)
    show_metrics(result.metrics)
    if result.curve:
        show_curve(result.curve)
    if result.interrupted:
        say("Training was stopped by Ctrl-C; this is the best model until then.")
    say(f"Model: {result.folder}")
    say(f"Report: {result.report}")
    show_next("classify", "IMAGES", "--model", result.folder)
    end_with_refusals(result.refused)


def evaluate(
    model: ModelArgument,
    dataset: DatasetArgument,
    *,
    split: Annotated[
        Literal["train", "valid", "test", "all"], typer.Option(help="Which part.")
    ] = "test",
    taxonomy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The classes to evaluate in: rbc-wbc-platelets, pbc8, or folders (the names of "
            "the folders). By default the model's; where the folders are coarser, theirs.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="A new folder for metrics.json and report.html.")
    ],
) -> None:
    """Evaluate a model on labelled images.

    The result is metrics with intervals, beside trivial baselines, and a report to look at.
    """
    from hematovision.jobs.evaluate import evaluate as run

    with drawn_progress() as progress:
        result = run(model, dataset, split=split, taxonomy=taxonomy, out=out, progress=progress)
    show_metrics(result.metrics)
    say(f"Report: {result.report}")
    end_with_refusals(result.refused)


def adapt(
    model: ModelArgument,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Images of single cells of one laboratory; in class folders if they have labels.",
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(metavar="RUN", help="A new folder for the model and its report.")
    ],
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Take no folder's name for a label.")
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Make a model for one more laboratory.

    It takes a few dozen of its images, or, better, up to a hundred with labels: some of each class,
    from several fields. Classes without images stay known.
    """
    _hush_tensorflow()
    from hematovision.jobs.adapt import adapt as run

    with drawn_progress() as progress:
        result = run(model, folder, out=out, unlabelled=unlabelled, seed=seed, progress=progress)
    if result.metrics is not None:
        show_metrics(result.metrics)
    if result.changes is not None:
        show_changes(result.changes)
        show_notes(result.notes)
    say(f"Model: {result.folder}")
    say(f"Report: {result.report}")
    show_next("classify", "IMAGES", "--model", result.folder)
    end_with_refusals(result.refused)


def export(
    model: ModelArgument,
    *,
    to: Annotated[Literal["h5", "keras", "onnx", "litert"], typer.Option(help="The kind of file.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where; by default here, by its name.")
    ] = None,
) -> None:
    """Write a model as a file for other programs."""
    _hush_tensorflow()
    from hematovision.jobs.export import export as run

    say(f"Written: {run(model, to, out)}")


def _hush_tensorflow() -> None:
    """Keep TensorFlow from writing on the screen about the processor, unless somebody asked."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _blocks(text: str) -> int | None:
    """Read a number of blocks, or "all", which is None."""
    if text == "all":
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 17:
        return int(text)
    raise typer.BadParameter(
        f"Expected a number from 1 to 17, or all. Received: {text}", param_hint="--fine-tune-blocks"
    )
