"""``classify`` and ``models``: predictions for images, and the bundled models."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hematovision.cli.engines import (
    EngineOption,
    RayAddressOption,
    classify_on_ray,
    refuse_cluster_options,
)
from hematovision.cli.interrupted import explain_resume
from hematovision.cli.log import notice
from hematovision.cli.progress_bar import progress_bar
from hematovision.cli.terminal import Styled, echo, exit_if_refused, show_table
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.model.classifier import Classifier
    from hematovision.rows import Value
    from hematovision.tables.sinks import Table
    from hematovision.workflows.classify import ClassifySummary

__all__ = ["classify", "models"]


def classify(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Images, and folders of images.")
    ],
    *,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="A bundled model's name, or a run folder.")
    ] = DEFAULT_MODEL,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Table to write: FILE.csv, .jsonl or .parquet; with --engine ray, a folder.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue an interrupted run, or add new and changed images.",
        ),
    ] = False,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write Grad-CAM overlays into a new folder, outside the image folders.",
            file_okay=False,
        ),
    ] = None,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
) -> None:
    """Classify cell images.

    Without --out, predictions are printed, one per line; in a pipe, as CSV. Images and folders that
    cannot be read are listed, the rest are processed normally, and the exit code is 3. If a run
    with --out is interrupted, re-run the command with --resume to continue. With --engine ray,
    images may also be URLs such as s3://bucket/folder.
    """
    if resume and (out is None or explain is not None):
        raise typer.BadParameter(
            "it needs --out and cannot be combined with --explain.",
            param_hint="--resume",
        )
    if engine == "ray":
        if explain is not None:
            raise typer.BadParameter("this option needs --engine local.", param_hint="--explain")
        summary = classify_on_ray(
            paths, model=model, out=out, resume=resume, ray_address=ray_address
        )
    else:
        refuse_cluster_options(paths, ray_address)
        table = None if out is None else Path(out)
        summary = _classify_here(
            list(map(Path, paths)), model=model, out=table, resume=resume, explain=explain
        )
    _show_summary(summary, out, explain, resume=resume)
    exit_if_refused(summary.refused)


def _classify_here(
    paths: list[Path], *, model: str, out: Path | None, resume: bool, explain: Path | None
) -> ClassifySummary:
    from hematovision.tables import sinks as tables

    if out is not None and out.suffix.lower() not in tables.SUFFIXES:
        raise typer.BadParameter(
            f"{out} must end in one of {', '.join(tables.SUFFIXES)}.", param_hint="--out"
        )
    from hematovision.workflows.classify import classify as run

    with explain_resume(None if explain else out), progress_bar(hidden=out is None) as progress:
        return run(
            paths,
            model=model,
            out=out,
            resume=resume,
            also=None if out else _screen,
            explain=explain,
            progress=progress,
        )


def _show_summary(
    summary: ClassifySummary, out: str | None, explain: Path | None, *, resume: bool
) -> None:
    if resume:
        echo(_continued(summary))
    if out is not None:
        echo(f"{_counted(summary)}. Table: {out}")
    elif summary.n > 1:
        notice(_counted(summary))
    if explain is not None:
        echo(f"{counted(summary.explained, 'overlay')} in {explain}", err=out is None)


def models() -> None:
    """List the bundled models with their key metrics and model cards."""
    from hematovision.reporting.wording import interval, percent
    from hematovision.workflows.models import list_detectors, list_models

    found, detectors = list_models(), list_detectors()
    if not found and not detectors:
        echo("This installation has no bundled models. Train one: hematovision train --help")
        return
    show_table(
        ("model", "images", "balanced accuracy", "95% interval", "review"),
        (
            (
                entry.name,
                str(entry.n),
                percent(entry.balanced_accuracy),
                interval(entry.interval),
                percent(entry.review_rate),
            )
            for entry in found
        ),
    )
    for entry in found:
        echo(f"{entry.name}: {', '.join(entry.classes)}")
        echo(f"  card: {entry.card}")
    for detector in detectors:
        echo(f"{detector.name} finds cells in fields: {', '.join(detector.classes)}")
        echo(f"  card: {detector.card}")


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _screen(classifier: Classifier) -> Table:
    if _is_terminal():
        return _Lines(classifier.classes)
    from hematovision.tables.sinks import csv_table

    return csv_table(sys.stdout.buffer, classifier.schema)


class _Lines:
    """One line per image: class, confidence, decision and file."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        from hematovision.model.prediction import NOT_RECOGNISED

        self._width = max(map(len, (*classes, NOT_RECOGNISED)))

    def write(self, values: Mapping[str, Value], /) -> None:
        from hematovision.model.prediction import headline

        if not values["label"]:
            label, sure, verdict, colour = "refused", "", "", "red"
        else:
            label = headline(str(values["label"]), str(values["reason"]))
            # The confidence is meaningless for an out-of-distribution image.
            sure = f"{values['confidence']:.1%}" if label == values["label"] else ""
            accepted = values["decision"] == "accepted"
            verdict = ": ".join(filter(None, (str(values["decision"]), str(values["reason"]))))
            colour = "green" if accepted else "yellow"
        start = f"{label:<{self._width}}  {sure:>6}  "
        echo(start, Styled(f"{verdict:<35}", colour), f"  {values['path']}")

    def finish(self) -> None:
        """Do nothing: lines are not buffered."""


def _continued(summary: ClassifySummary) -> str:
    if summary.before == summary.n:
        return "Nothing to do: all images were classified before"
    return f"{summary.before} of {summary.n} images were classified before"


def _counted(summary: ClassifySummary) -> str:
    counts = ", ".join(f"{count} {label}" for label, count in summary.counts.items() if count)
    return (
        f"{counted(summary.n, 'image')}: {counts or 'no predictions'}; {summary.review} to review, "
        f"{len(summary.refused)} refused"
    )
