"""``compare``: two models on the same labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hematovision.cli.datasets import DatasetArgument
from hematovision.cli.progress_bar import progress_bar
from hematovision.cli.results import show_comparison, show_notes
from hematovision.cli.terminal import echo, exit_if_refused

__all__ = ["compare"]

_HELP = "A run folder, or a bundled model's name."


def compare(
    first: Annotated[str, typer.Argument(metavar="MODEL", help=_HELP)],
    second: Annotated[str, typer.Argument(metavar="MODEL", help=f"The other model. {_HELP}")],
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

    Both classify the same images. Differences come with 95% confidence intervals; with --out, the
    images on which the models disagree are listed and shown.
    """
    from hematovision.workflows.compare import compare as run

    with progress_bar() as progress:
        result = run(first, second, dataset, split=split, out=out, progress=progress)
    show_comparison(result.comparison, result.verdict)
    show_notes((*result.notes, *result.comparison.warnings))
    if result.report is not None:
        echo(f"Report: {result.report}")
    exit_if_refused(result.refused)
