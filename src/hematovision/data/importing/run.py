"""The import itself: read, crop or copy, sort into parts, and only then appear under its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision.data.appearing import appearing, check_free, check_outside
from hematovision.data.cells import CELLS_FILE, write_cells
from hematovision.data.classes import choose_classes
from hematovision.data.importing import folders, voc
from hematovision.data.importing.annotations import Annotations
from hematovision.data.importing.crops import Written, count, crop_fields, sort_into_parts
from hematovision.data.importing.locating import Located, locate
from hematovision.data.importing.names import safe_folder
from hematovision.data.importing.parts import Parts, SplitLists, apply_parts, parse_parts
from hematovision.data.importing.places import without_wrapper
from hematovision.data.importing.reading import FORMATS, Format, detect_format, read_fields
from hematovision.data.importing.report import REPORT_FILE, ImportReport
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import DatasetError
from hematovision.files import ensure_folder, write_text
from hematovision.paths import valid_text
from hematovision.progress import Progress, no_progress, notify
from hematovision.taxonomy import FOLDERS, Taxonomy

__all__ = ["import_dataset"]


def import_dataset(
    source: Path,
    dest: Path,
    *,
    format: Format | None = None,  # noqa: A002  # the word of the command line
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
    format : {"voc", "yolo", "csv", "coco", "folders"}, optional
        What `source` is; by default what `detect_format` finds.
    annotations : Path, optional
        Boxes elsewhere than the format keeps them: a folder (voc, yolo, coco) or a file (csv,
        coco).
    names : sequence of str, optional
        The names of the class ids 0, 1, 2, ... (yolo).
    split : str, optional
        ``70/15/15`` (train/valid/test, or ``85/15``: train/valid), ``none``, or a folder of the
        official lists ``train.txt``, ``valid.txt`` or ``val.txt``, ``test.txt``. By default the
        official lists of ``ImageSets/Main`` (voc), the split of the folders, of the COCO files or
        of ``data.yaml``, else 70/15/15. Fields that are in none of the splits are left out and
        reported; so are augmented copies of one image in several splits.
    groups : str, optional
        ``FILE:COLUMN``: what stays on one side of the split, by image; by default the field with
        its augmented copies (``NAME.rf.HASH``).
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
    _check(source, dest, annotations)
    form = format or detect_format(source)
    _check_format(form, annotations, names)
    lists = without_wrapper(source) / voc.SPLIT_LISTS if form == "voc" else None
    task = _Task(
        source=source.resolve(),
        format=form,
        annotations=annotations,
        names=names,
        lab=valid_text(lab or source.resolve().name),
        taxonomy=taxonomy,
        split=split,
        parts=parse_parts(split, lists),
        groups=groups,
        seed=seed,
        progress=progress,
    )
    with appearing(dest) as folder:
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


def _check(source: Path, dest: Path, annotations: Path | None) -> None:
    if not source.is_dir():
        raise DatasetError(f"The source {source} is not a folder. Give the folder to import.")
    check_free(dest)
    check_outside(dest, source)
    if annotations is not None and not annotations.exists():
        raise DatasetError(f"There is no {annotations}. Give --annotations a folder or file.")


def _check_format(format_: str, annotations: Path | None, names: Sequence[str] | None) -> None:
    if format_ not in FORMATS:
        raise DatasetError(f"`format` must be one of {', '.join(FORMATS)}. Received: {format_!r}")
    if annotations is not None and format_ == "folders":
        raise DatasetError("Class folders have no box files; leave out --annotations.")
    if annotations is not None and annotations.is_file() and format_ in ("voc", "yolo"):
        raise DatasetError(
            f"--annotations must be a folder of box files for --format {format_}. Received the "
            f"file {annotations}"
        )
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
        notes=written.notes,
        options=task.options(),
    )


def _import(task: _Task, folder: Path) -> tuple[Taxonomy, Written]:
    """Fill `folder`; return the classes in use and what was written."""
    if task.format == "folders":
        return _import_folders(task, folder)
    found = read_fields(task.source, task.format, task.annotations, task.names)
    taxonomy = _box_taxonomy(task, found)
    located = locate(found.fields, task.source, task.lab, task.groups, task.parts)
    write = _copy_whole if found.whole else _crop
    written = write(task, located, folder, taxonomy)
    return taxonomy, replace(
        written,
        problems=(*found.problems, *located.problems, *written.problems),
        notes=(*found.notes, *located.notes, *written.notes),
    )


def _crop(task: _Task, located: Located, folder: Path, taxonomy: Taxonomy) -> Written:
    loose = ensure_folder(folder / ".cells")
    written = crop_fields(located.fields, located.places, loose, taxonomy, task.progress)
    written = sort_into_parts(written, loose, folder, taxonomy, located.parts, task.seed)
    loose.rmdir()
    return written


def _copy_whole(task: _Task, located: Located, folder: Path, taxonomy: Taxonomy) -> Written:
    """Copy images that are cells already, each with its label from a table."""
    samples = [
        Sample(field.image, taxonomy.resolve(box.label), place.split, place.group)
        for field in located.fields
        for box in field.boxes
        if (place := located.places[field.name])
    ]
    dataset = Dataset(task.source, taxonomy, tuple(samples))
    dataset = apply_parts(dataset, located.parts, task.seed)
    written = folders.copy_images(dataset, task.source, folder, task.lab, task.progress)
    return replace(written, notes=("The table has no boxes: whole images were copied.",))


def _box_taxonomy(task: _Task, found: Annotations) -> Taxonomy:
    spellings = found.spellings()
    if not spellings:
        raise DatasetError(" ".join([f"No usable boxes in {task.source}.", *found.problems[:3]]))
    if task.taxonomy is None or task.taxonomy == FOLDERS:
        # The names become folders, and so must be fit for that.
        usable = Counter[str]()
        for name, n in spellings.items():
            usable[safe_folder(name)] += n
        spellings = usable
    what = "labels in the table" if found.whole else "names of the boxes"
    choice = choose_classes(spellings, task.taxonomy, where=str(task.source), what=what)
    notify(task.progress, choice.sentence)
    return choice.taxonomy


def _import_folders(task: _Task, folder: Path) -> tuple[Taxonomy, Written]:
    dataset, problems, notes = folders.read(
        task.source, task.taxonomy, task.parts, task.groups, task.seed, task.progress
    )
    written = folders.copy_images(dataset, task.source, folder, task.lab, task.progress)
    return dataset.taxonomy, replace(written, problems=tuple(problems), notes=tuple(notes))
