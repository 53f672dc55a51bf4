"""The import itself: read, crop or copy, sort into parts, and only then appear under its name."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hematovision.data.cells import CELLS_FILE, write_cells
from hematovision.data.classes import choose_classes
from hematovision.data.groups import groups_of, read_groups
from hematovision.data.importing import boxes_csv, folders, voc, yolo
from hematovision.data.importing.annotations import AnnotatedField, Annotations
from hematovision.data.importing.crops import (
    FieldPlace,
    Written,
    count,
    crop_fields,
    sort_into_parts,
)
from hematovision.data.importing.names import safe_folder
from hematovision.data.importing.parts import Parts, SplitLists, parse_parts
from hematovision.data.importing.report import REPORT_FILE, ImportReport
from hematovision.errors import DatasetError
from hematovision.files import ensure_folder, write_text, writing
from hematovision.progress import Progress, no_progress, tell
from hematovision.taxonomy import FOLDERS, Taxonomy

__all__ = ["FORMATS", "Format", "import_dataset"]

Format: TypeAlias = Literal["voc", "yolo", "csv", "folders"]
FORMATS: tuple[Format, ...] = get_args(Format)


def import_dataset(
    source: Path,
    dest: Path,
    *,
    format: Format,  # noqa: A002  # the word of the command line
    annotations: Path | None = None,
    names: Sequence[str] | None = None,
    split: str | None = None,
    groups: str | None = None,
    lab: str | None = None,
    taxonomy: Taxonomy | str | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> ImportReport:
    """Make a dataset of cell images from annotated fields, or from class folders.

    The result is ``dest/{Train,Valid,Test}/<class>/`` (``dest/<class>/`` without parts) with
    ``cells.csv`` and ``import.json``. It is written beside `dest` under a hidden name and takes its
    name at the end, so that `dest` never is half a dataset.

    Parameters
    ----------
    source : Path
        The folder to import; the modules of this package say how each format lies on disk.
    dest : Path
        A folder that does not exist, or is empty.
    format : {"voc", "yolo", "csv", "folders"}
        What `source` is.
    annotations : Path, optional
        Boxes elsewhere than the format keeps them: a folder (voc, yolo) or a file (csv).
    names : sequence of str, optional
        The names of the class ids 0, 1, 2, ... (yolo).
    split : str, optional
        ``70/15/15`` (train/valid/test, or ``85/15``: train/valid), ``none``, or a folder of the
        official lists ``train.txt``, ``valid.txt`` or ``val.txt``, ``test.txt``. By default the
        official lists of ``ImageSets/Main`` (voc), the parts that are there (folders), else
        70/15/15. Fields that no list names are left out and reported.
    groups : str, optional
        ``FILE:COLUMN``: what stays on one side of the split, by image; by default the field.
    lab : str, optional
        Where the images come from, for the figures per lab; by default the name of `source`.
    taxonomy : Taxonomy or str, optional
        The classes: a taxonomy, the name of one, or ``"folders"`` for the names as found. By
        default the names as found, unless they are all spellings of RBC, WBC and Platelets or are
        the eight of PBC; see `choose_classes`.
    seed : int
        Seed of a split by fractions.
    progress : Progress
        Told which classes the names stand for, then about each field.

    Returns
    -------
    ImportReport
        What was written, what was left out and why.

    Raises
    ------
    DatasetError
        If `source` is not such a folder, `dest` is not empty, or not one image came out; its kinds
        `AnnotationError`, `TaxonomyError` and `SplitError` name the file and line, the class, or
        the field.
    OutputError
        If `dest` cannot be written.
    """
    source, dest = Path(source), Path(dest)
    _check(source, dest, format, annotations, names)
    task = _Task(
        source=source.resolve(),
        format=format,
        annotations=annotations,
        names=names,
        lab=lab or source.resolve().name,
        taxonomy=taxonomy,
        split=split,
        parts=parse_parts(split, source / voc.SPLIT_LISTS if format == "voc" else None),
        groups=groups,
        seed=seed,
        progress=progress,
    )
    with _appearing(dest) as folder:
        used, written = _import(task, folder)
        report = _report(task, used, written, source=source, dest=dest)
        write_cells(folder / CELLS_FILE, written.cells)
        write_text(folder / REPORT_FILE, report.to_json())
    return report


@dataclass(frozen=True)
class _Task:
    """What an import was asked for, understood."""

    source: Path
    format: Format
    annotations: Path | None
    names: Sequence[str] | None
    lab: str
    taxonomy: Taxonomy | str | None
    split: str | None
    parts: Parts | None
    groups: str | None
    seed: int
    progress: Progress

    def options(self) -> dict[str, object]:
        """Return what was asked for, for the report."""
        lists = self.parts if isinstance(self.parts, SplitLists) else None
        return {
            "annotations": None if self.annotations is None else str(self.annotations),
            "names": None if self.names is None else list(self.names),
            "split": str(lists.folder) if lists else self.split,
            "groups": self.groups,
            "seed": self.seed,
        }


def _check(
    source: Path,
    dest: Path,
    format_: str,
    annotations: Path | None,
    names: Sequence[str] | None,
) -> None:
    if format_ not in FORMATS:
        raise DatasetError(f"`format` must be one of {', '.join(FORMATS)}. Received: {format_!r}")
    if not source.is_dir():
        raise DatasetError(f"The source {source} is not a folder. Give the folder to import.")
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise DatasetError(
            f"The destination {dest} is there already and not empty. Choose a new folder, or "
            "remove it first."
        )
    if annotations is not None and format_ == "folders":
        raise DatasetError("Class folders have no box files; leave out --annotations.")
    if annotations is not None and not annotations.exists():
        raise DatasetError(f"There is no {annotations}. Give --annotations a folder or file.")
    if names is not None and format_ != "yolo":
        raise DatasetError(f"--names is for --format yolo only. Received it with {format_}.")


def _report(
    task: _Task, taxonomy: Taxonomy, written: Written, *, source: Path, dest: Path
) -> ImportReport:
    return ImportReport(
        dest=dest,
        source=source,
        format=task.format,
        lab=task.lab,
        taxonomy=taxonomy,
        counts=count(written.cells, taxonomy),
        fields=len({cell.field for cell in written.cells} - {""}),
        touching=sum(cell.touches_border for cell in written.cells),
        left_out=written.left_out,
        problems=written.problems,
        options=task.options(),
    )


def _import(task: _Task, folder: Path) -> tuple[Taxonomy, Written]:
    """Fill `folder`; return the classes in use and what was written."""
    match task.format:
        case "folders":
            return _import_folders(task, folder)
        case "voc":
            found = voc.read(task.source, task.annotations)
        case "yolo":
            found = yolo.read(task.source, task.annotations, task.names)
        case "csv":
            found = boxes_csv.read(task.source, task.annotations)
    return _import_boxes(task, found, folder)


def _import_boxes(task: _Task, found: Annotations, folder: Path) -> tuple[Taxonomy, Written]:
    taxonomy = _box_taxonomy(task, found)
    fields, places, problems = _locate(task, found.fields)
    loose = ensure_folder(folder / ".cells")
    written = crop_fields(fields, places, loose, taxonomy, task.progress)
    written = sort_into_parts(written, loose, folder, taxonomy, task.parts, task.seed)
    loose.rmdir()
    problems = [*found.problems, *problems, *written.problems]
    return taxonomy, replace(written, problems=tuple(problems))


def _box_taxonomy(task: _Task, found: Annotations) -> Taxonomy:
    spellings = found.spellings()
    if not spellings:
        raise DatasetError(
            f"No boxes in {task.source}: {len(found.fields)} fields were found. "
            f"{'; '.join(found.problems[:3])}"
        )
    if task.taxonomy is None or task.taxonomy == FOLDERS:
        # The names become folders, and so must be fit for that.
        usable = Counter[str]()
        for name, n in spellings.items():
            usable[safe_folder(name)] += n
        spellings = usable
    choice = choose_classes(
        spellings, task.taxonomy, where=str(task.source), what="names of the boxes"
    )
    tell(task.progress, choice.sentence)
    return choice.taxonomy


def _locate(
    task: _Task, fields: Sequence[AnnotatedField]
) -> tuple[list[AnnotatedField], Mapping[str, FieldPlace], list[str]]:
    """Find each field's group and, where there are official lists, its part."""
    sources = [field.image.relative_to(task.source).as_posix() for field in fields]
    if task.groups is None:
        groups = [f"{task.lab}/{field.name}" for field in fields]
    else:
        groups = groups_of(sources, read_groups(task.groups))
    places = {
        field.name: FieldPlace(source, task.lab, group)
        for field, source, group in zip(fields, sources, groups, strict=True)
    }
    if not isinstance(task.parts, SplitLists):
        return list(fields), places, []
    parts, problems = task.parts.assign(field.name for field in fields)
    places = {name: replace(places[name], split=part) for name, part in parts.items()}
    return [field for field in fields if field.name in parts], places, problems


def _import_folders(task: _Task, folder: Path) -> tuple[Taxonomy, Written]:
    dataset, problems = folders.read(
        task.source, task.taxonomy, task.parts, task.groups, task.seed, task.progress
    )
    written = folders.copy_images(dataset, task.source, folder, task.lab, task.progress)
    return dataset.taxonomy, replace(written, problems=tuple(problems))


@contextmanager
def _appearing(dest: Path) -> Iterator[Path]:
    """Give a hidden folder beside `dest` to fill, which becomes `dest` if all goes well.

    A process that is killed leaves the hidden folder, ``.<dest>.importing-...``, never `dest`.
    """
    folder = dest.absolute().with_name(f".{dest.absolute().name}.importing-{secrets.token_hex(4)}")
    ensure_folder(folder)
    try:
        yield folder
        with writing(dest):
            if dest.exists():
                dest.rmdir()  # renaming onto an empty folder fails on Windows
            folder.rename(dest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
