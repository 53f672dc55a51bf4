"""``analyze``: find, classify and count the cells of fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hematovision.cli.datasets import FORMATS
from hematovision.cli.engines import EngineOption, RayAddressOption, refuse_cluster_options
from hematovision.cli.interrupted import explain_resume
from hematovision.cli.names import NameOf
from hematovision.cli.progress_bar import progress_bar
from hematovision.cli.terminal import FINDINGS, Styled, echo, exit_if_refused, show_list, show_table
from hematovision.model.registry import DEFAULT_DETECTOR, DEFAULT_SUBTYPES
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.fields.counts import Differential, PlateletCount
    from hematovision.workflows.analyze import AnalyzeOptions, AnalyzeResult
    from hematovision.workflows.analyze.engine import Engine

__all__ = ["analyze"]


def analyze(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Images, slides, and folders of them.")
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="New folder for tables, report and more.", file_okay=False
        ),
    ],
    detector: Annotated[
        str, typer.Option(metavar="NAME", help="A bundled detector's name, or a run folder.")
    ] = DEFAULT_DETECTOR,
    classifier: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The model that classifies white cells: a name, a run folder, or none.",
        ),
    ] = DEFAULT_SUBTYPES,
    rbc_diameter: Annotated[
        float | None,
        typer.Option(metavar="PX", help="Width of a red cell in pixels. Default: measured."),
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(metavar="X", help="Micrometres per pixel. Default: measured."),
    ] = None,
    edges: Annotated[
        Literal["two", "inside", "all"],
        typer.Option(
            help="Which cells at the border count: top and left (two), none (inside), or all."
        ),
    ] = "two",
    region: Annotated[
        str,
        typer.Option(
            metavar="X,Y,W,H",
            help="Analyse only this part of each image, in pixels. Default: all.",
            show_default=False,
        ),
    ] = "",
    level: Annotated[
        int, typer.Option(help="Level of slides to analyse; 0 is the full resolution.", min=0)
    ] = 0,
    export: Annotated[
        list[str] | None,
        typer.Option(
            parser=NameOf(FORMATS),
            help="Also export the cells for other programs; repeatable.",
            show_default=False,
        ),
    ] = None,
    overlays: Annotated[
        bool, typer.Option("--overlays", help="Also write each image with its cells outlined.")
    ] = False,
    rbc_count: Annotated[
        float | None,
        typer.Option(
            metavar="10^12/L", help="An analyser's red cell count, to estimate the platelet count."
        ),
    ] = None,
    wbc_count: Annotated[
        float | None,
        typer.Option(
            metavar="10^9/L",
            help="An analyser's white cell count, for absolute counts of each kind.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["csv", "parquet", "jsonl"], typer.Option(help="Format of the tables.")
    ] = "csv",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue an interrupted run, or add images or outputs to a finished one.",
        ),
    ] = False,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
) -> None:
    """Find, classify and count the cells of fields.

    Writes one row per cell, one per field, a summary and a report. Images that cannot be read and
    fields with quality problems are listed, the rest are processed normally, and the exit code is
    3. If a run is interrupted, re-run the command with --resume to continue.
    """
    if engine == "local":
        refuse_cluster_options(paths, ray_address)
    if "://" in str(out) or ":/" in str(out)[2:]:
        raise typer.BadParameter("it must be a folder on this machine.", param_hint="--out")
    options = _options(
        detector=detector,
        classifier=None if classifier == "none" else classifier,
        rbc_diameter=rbc_diameter,
        um_per_px=um_per_px,
        edges=edges,
        region=region,
        level=level,
        exports=tuple(dict.fromkeys(export or ())),
        overlays=overlays,
        rbc_count=rbc_count,
        wbc_count=wbc_count,
        format=format,
    )
    from hematovision.workflows.analyze import RESULTS
    from hematovision.workflows.analyze import analyze as run

    with explain_resume(out / RESULTS), progress_bar() as progress:
        result = run(
            paths,
            out,
            options,
            resume=resume,
            engine=_engine(engine, ray_address),
            progress=progress,
        )
    _show(result, resume=resume)


def _options(**values: Any) -> AnalyzeOptions:
    """Check the options; raise `typer.BadParameter` with their names on the command line."""
    from hematovision.workflows.analyze import AnalyzeOptions

    try:
        return AnalyzeOptions(**values)
    except ValueError as error:
        names = re.sub(r"`(\w+)`", lambda found: _option(found[1]), str(error))
        raise typer.BadParameter(names) from error


def _option(name: str) -> str:
    return "--export" if name == "exports" else f"--{name.replace('_', '-')}"


def _engine(name: str, ray_address: str | None) -> Engine:
    if name == "ray":
        from hematovision.scale.analyze import RayEngine
        from hematovision.scale.cluster import Cluster

        return RayEngine(Cluster(ray_address))
    from hematovision.workflows.analyze.engine import LocalEngine

    return LocalEngine()


def _show(result: AnalyzeResult, *, resume: bool) -> None:
    """Print the results; raise `typer.Exit(FINDINGS)` if there is something to check."""
    from hematovision.reporting.fields import REPORT

    if resume:
        echo(_continued(result))
    summary = result.summary
    cells = summary.counts.cells
    counts = ", ".join(f"{count.n:,} {label}" for label, count in cells.items())
    review = sum(count.review for count in cells.values())
    fields = summary.counts.fields
    echo(f"{counted(fields.n, 'field')}: {counts}; {review:,} of these to review")
    _show_differential(summary.counts.differential)
    _show_platelets(summary.counts.platelets)
    for note in summary.notes:
        echo(Styled("Note:", "yellow"), f" {note}")
    if result.overlays:
        echo(f"{counted(result.overlays, 'overlay')} in {result.folder / 'overlays'}")
    echo(f"Report: {result.folder / REPORT}")
    if result.flagged:
        lines = [f"{field.image}: {field.flags}" for field in result.flagged]
        show_list(f"Fields to check ({len(lines)}):", lines)
    exit_if_refused(result.refused)
    if result.flagged:
        raise typer.Exit(FINDINGS)


def _show_differential(found: Differential) -> None:
    """Print the white cells by class, with limits, and nucleated red cells."""
    from hematovision.reporting.wording import interval, number, percent

    if not found.n:
        return
    has_absolute = found.wbc_count is not None
    columns = ("white cells", "cells", "%", "95% limits", *(("10^9/L",) if has_absolute else ()))
    show_table(
        columns,
        (
            (
                name,
                f"{one.n:,}",
                percent(one.fraction),
                interval(one.interval),
                *((number(one.absolute, 2),) if has_absolute else ()),
            )
            for name, one in found.classes.items()
            if one.n
        ),
    )
    nucleated = found.nucleated_red_cells
    if nucleated.n:
        echo(f"Nucleated red cells: {nucleated.n:,}; {number(nucleated.per_100_wbc, 1)} per 100 "
             "white cells")  # fmt: skip


def _show_platelets(found: PlateletCount) -> None:
    """Print platelets per 1,000 red cells, and the estimate, with limits."""
    if found.per_1000_rbc is None or found.interval is None:
        return
    low, high = found.interval
    text = f"Platelets per 1,000 red cells: {found.per_1000_rbc:.1f} ({low:.1f} to {high:.1f})"
    if found.estimate is not None and found.estimate_interval is not None:
        low, high = found.estimate_interval
        text += f"; estimate {found.estimate:.0f} x 10^9/L ({low:.0f} to {high:.0f})"
    echo(text)


def _continued(result: AnalyzeResult) -> str:
    if result.before == result.items:
        return "Everything was analysed before"
    return f"{result.before:,} of {counted(result.items, 'field')} were analysed before"
