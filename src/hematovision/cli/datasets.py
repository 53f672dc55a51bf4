"""``data``: import, convert, check, synthesize and download datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hematovision.cli.command import Command
from hematovision.cli.log import notice
from hematovision.cli.names import NameOf
from hematovision.cli.progress_bar import progress_bar
from hematovision.cli.terminal import FINDINGS, Styled, echo, show_list, show_next, show_table
from hematovision.errors import DatasetError
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.data.check import Finding
    from hematovision.data.samples import Dataset
    from hematovision.progress import Progress

__all__ = [
    "FORMATS", "DatasetArgument", "SeedOption", "TaxonomyOption", "check", "convert", "download",
    "group", "import_", "phantom", "synthesize",
]  # fmt: skip

FORMATS = "hematovision.data.formats:FORMATS"
"""The registry of annotation formats, for `NameOf`."""

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Import, convert, check, synthesize and download datasets.",
)

DatasetArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET", help="Dataset folder: one folder per class, or Train, Valid and Test."
    ),
]
TaxonomyOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The classes: folders (keep the names), rbc-wbc-platelets, pbc8, white-cells or "
        "five-kinds. Default: "
        "folders, or rbc-wbc-platelets if all names are spellings of its classes or those of pbc8.",
    ),
]
_EXAMPLES = 5
"""Number of findings listed per kind."""

SeedOption = Annotated[
    int,
    typer.Option(
        min=0, max=2**32 - 1, metavar="S", help="Random seed; the same seed gives the same result."
    ),
]


@group.command("import", cls=Command)
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder to import.")],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="The new dataset.")],
    *,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            parser=NameOf(FORMATS, "folders"),
            help="Format of SOURCE: boxes (Pascal VOC, YOLO, CSV, COCO, GeoJSON of QuPath, Label "
            "Studio) or class folders. Detected by default.",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder or file with the boxes, if outside SOURCE."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="70/15/15, none, or a folder with lists (train.txt, test.txt). Default: the "
            "splits of SOURCE, or 70/15/15 if it has none.",
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:COLUMN",
            help="CSV column, such as the patient; images with the same value stay in one split.",
        ),
    ] = None,
    names: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Names of classes 0, 1, 2, ... (YOLO).")
    ] = None,
    lab: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the lab that made the images.")
    ] = None,
    taxonomy: TaxonomyOption = None,
    subtypes: Annotated[
        bool,
        typer.Option(
            "--subtypes",
            help="Use subtypes of boxes (neutrophil) as classes instead of labels (WBC).",
        ),
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Create a dataset of cell images.

    Cells are cropped from fields, or copied from class folders. Anything that could not be used is
    listed, and the exit code is 3.
    """
    from hematovision.data.importing import import_dataset

    with progress_bar() as progress:
        report = import_dataset(
            source,
            dest,
            format=format_,
            annotations=annotations,
            names=[name.strip() for name in names.split(",")] if names else None,
            split=split,
            groups=groups,
            lab=lab,
            taxonomy=taxonomy,
            subtypes=subtypes,
            seed=seed,
            progress=progress,
        )
    _show_counts(report.counts)
    echo(f"{report.total} cell images in {report.dest}")
    for note in report.notes:
        echo(f"  {note}")
    if report.left_out:
        show_list(
            f"Omitted boxes ({len(report.left_out)}):",
            (f"{box.where}: {box.label} in {box.field}: {box.reason}" for box in report.left_out),
        )
    if report.problems:
        show_list(f"Problems ({len(report.problems)}):", report.problems)
    if not report.ok:
        echo(f"Full list: {report.dest / 'import.json'}", err=True)
        raise typer.Exit(FINDINGS)
    show_next("train", report.dest, "--out", "RUN")


@group.command("convert", cls=Command)
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder to convert.")],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="The new folder.")],
    *,
    to: Annotated[str, typer.Option("--to", parser=NameOf(FORMATS), help="The format to write.")],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", parser=NameOf(FORMATS), help="The format of SOURCE; detected by default."
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder or file with the boxes, if outside SOURCE."),
    ] = None,
    names: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Names of classes 0, 1, 2, ... (YOLO).")
    ] = None,
) -> None:
    """Convert annotated fields to another format.

    Images, class names and splits stay the same. Anything that could not be converted is listed,
    and the exit code is 3.
    """
    from hematovision.data.converting import convert_dataset

    with progress_bar() as progress:
        report = convert_dataset(
            source,
            dest,
            to=to,
            format=from_,
            annotations=annotations,
            names=[name.strip() for name in names.split(",")] if names else None,
            progress=progress,
        )
    boxes = counted(report.boxes, "box", "boxes")
    echo(f"{counted(report.fields, 'field')} with {boxes} in {report.dest}")
    for note in report.notes:
        echo(f"  {note}")
    if report.problems:
        show_list(f"Problems ({len(report.problems)}):", report.problems)
        raise typer.Exit(FINDINGS)


@group.command("check", cls=Command)
def check(
    dataset: DatasetArgument,
    *,
    taxonomy: TaxonomyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Check a dataset for problems.

    Looks for unreadable files, duplicates, leaks between splits, label conflicts and imbalance.
    Findings are listed by kind, and the exit code is 3. The dataset is not changed.
    """
    from hematovision.data.check import check_dataset

    with progress_bar() as progress:
        data, unlistable = _read_listable(dataset, taxonomy, progress)
        report = check_dataset(data, progress, unlistable=unlistable)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        _show_counts(report.counts)
        _show_findings(report.findings)
    if not report.ok:
        raise typer.Exit(FINDINGS)
    if not as_json:
        images = counted(report.files, "image")
        echo(f"{images} checked. No problems that affect training were found.")


def _read_listable(
    folder: Path, taxonomy: str | None, progress: Progress
) -> tuple[Dataset, list[tuple[Path, str]]]:
    """Return a dataset, and the folders that can't be listed."""
    from hematovision.data.folders import read_dataset

    unlistable: list[tuple[Path, str]] = []

    def collect(place: Path, reason: str) -> None:
        unlistable.append((place, reason))

    try:
        data = read_dataset(folder, taxonomy, progress=progress, on_unlistable=collect)
    except DatasetError as error:
        if not unlistable:
            raise
        listed = ", ".join(f"{place} ({reason})" for place, reason in unlistable)
        raise DatasetError(f"{error} These folders cannot be listed: {listed}.") from error
    return data, unlistable


def _show_findings(findings: Sequence[Finding]) -> None:
    """List findings by kind: a single finding in full, otherwise the first few and the number."""
    from hematovision.data.check import ADVICE

    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    for (severity, kind), found in groups.items():
        colour = {"error": "red", "warning": "yellow"}.get(severity)
        if len(found) == 1:
            echo(Styled(severity, colour), f" {kind}: {found[0].message}")
            continue
        echo(Styled(severity, colour), f" {kind}, {len(found)} times. {ADVICE[kind]}")
        for finding in found[:_EXAMPLES]:
            echo(f"    {finding.detail}")
        if len(found) > _EXAMPLES:
            echo(f"    and {len(found) - _EXAMPLES} more; --json lists all")


_ImagesOption = Annotated[int, typer.Option(min=1, metavar="N", help="Number of cell images.")]
_SyntheticOption = Annotated[
    Literal["rbc-wbc-platelets", "pbc8"], typer.Option(help="Which classes to render.")
]
_FieldsOption = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Also write fields with their boxes into a new folder."),
]


@group.command("synthesize", cls=Command)
def synthesize(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder.")],
    *,
    images: _ImagesOption = 600,
    seed: SeedOption = 0,
    taxonomy: _SyntheticOption = "rbc-wbc-platelets",
    fields: _FieldsOption = None,
) -> None:
    """Create a dataset of synthetic cell images.

    The images are rendered. Use them to try things out.
    """
    from hematovision.data.synthesize import write_synthetic_cells

    with progress_bar() as progress:
        dataset = write_synthetic_cells(
            dest, images, seed, taxonomy=taxonomy, fields=fields, progress=progress
        )
    _show_counts({split: dataset.subset(split).counts() for split in dataset.splits})
    echo(f"{len(dataset)} synthetic cell images in {dest}")
    show_next("train", dest, "--out", "RUN")


@group.command("phantom", cls=Command, hidden=True)
def phantom(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder.")],
    *,
    images: _ImagesOption = 600,
    seed: SeedOption = 0,
    taxonomy: _SyntheticOption = "rbc-wbc-platelets",
    fields: _FieldsOption = None,
) -> None:
    """Create a dataset of synthetic cell images; the old name of ``synthesize``."""
    notice("data phantom is now data synthesize; the old name will be removed in 0.4")
    synthesize(dest, images=images, seed=seed, taxonomy=taxonomy, fields=fields)


@group.command("download", cls=Command)
def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A public dataset, such as bccd.")],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder.")],
) -> None:
    """Download a public dataset by name.

    Its licence and citation are shown, and its hash is checked.
    """
    from hematovision.data.download import download as fetch
    from hematovision.data.public_sets import get_set

    for line in get_set(name).notice().splitlines():
        echo(line)
    with progress_bar() as progress:
        done = fetch(name, dest, progress=progress)
    echo(f"The images are in {done.folder}")
    if done.verified_against == "nothing":
        echo("No hash is published for this dataset; the hash of this download was recorded.")
    echo(f"Next: {done.next_command}")


def _show_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Print the images per class (rows) and split (columns)."""
    classes = list(dict.fromkeys(label for row in counts.values() for label in row))
    show_table(
        ("class", *("no split" if split == "no part" else split for split in counts)),
        [(label, *(str(row.get(label, 0)) for row in counts.values())) for label in classes],
    )
