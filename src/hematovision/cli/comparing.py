"""``compare``: which of two models is better, and on which images they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hematovision.cli.datasets import DatasetArgument
from hematovision.cli.results import show_comparison, show_notes
from hematovision.cli.screen import drawn_progress, end_with_refusals
from hematovision.cli.terminal import say

__all__ = ["compare"]

_HELP = "A run folder, or a bundled model's name."


def compare(
    first: Annotated[str, typer.Argument(metavar="MODEL", help=_HELP)],
    second: Annotated[str, typer.Argument(metavar="MODEL", help=f"The other. {_HELP}")],
    dataset: DatasetArgument,
    *,
    split: Annotated[
        Literal["train", "valid", "test", "all"], typer.Option(help="Which part.")
    ] = "test",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A new folder for compare.json, differences.csv and compare.html.",
        ),
    ] = None,
) -> None:
    """Tell which of two models is better on labelled images.

    Both answer the same images. The differences have 95 % intervals, and the images on which the
    models differ are listed with --out, as pictures, too.
    """
    from hematovision.jobs.compare import compare as run

    with drawn_progress() as progress:
        result = run(first, second, dataset, split=split, out=out, progress=progress)
    show_comparison(result.comparison, result.verdict)
    show_notes((*result.notes, *result.comparison.warnings))
    if result.report is not None:
        say(f"Report: {result.report}")
    end_with_refusals(result.refused)
