"""Import of annotated fields and class folders to one layout: read, crop or copy, split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hematovision.data.cell_images import (
    LeftOut,
    Written,
    copy_images,
    count,
    crop_fields,
    sort_into_splits,
)
from hematovision.data.cells import CELLS_FILE, write_cells
from hematovision.data.classes import choose_classes
from hematovision.data.destination import appearing, check_free, check_outside, safe_folder
from hematovision.data.folders import read_dataset
from hematovision.data.formats import FORMATS
from hematovision.data.formats.annotations import Annotations
from hematovision.data.formats.layout import without_wrapper
from hematovision.data.formats.reading import detect_format, read_fields
from hematovision.data.groups import read_groups, with_groups
from hematovision.data.samples import Dataset, Sample
from hematovision.data.screening import copy_warnings, unsupported_warnings
from hematovision.data.source_splits import (
    Located,
    SplitChoice,
    SplitLists,
    apply_split,
    find_leaks,
    locate,
    parse_split,
    report_copies,
    report_split,
)
from hematovision.data.splits import complete_splits
from hematovision.errors import DatasetError
from hematovision.files import ensure_folder, write_text
from hematovision.images.boxes import MIN_SIDE
from hematovision.images.crops import BORDER, CONTEXT
from hematovision.paths import valid_text
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress, notify
from hematovision.taxonomy import FOLDERS, Taxonomy

__all__ = ["REPORT_FILE", "ImportReport", "LeftOut", "import_dataset"]

REPORT_FILE = "import.json"

_CROP_RULE = (
    "square around the centre of the box clipped to its field; side = context x longer side of "
    "the box, rounded; outside the field its border pixels are repeated; boxes within `border` "
    "pixel of the field's border are flagged touches_border; degenerate boxes are left out"
)


@dataclass(frozen=True)
class ImportReport:
    """The result of an import.

    Parameters
    ----------
    dest : Path
        The dataset written.
    source : Path
        The imported folder.
    format : str
        A key of `FORMATS`, or ``folders``.
    lab : str
        The lab in ``cells.csv``.
    taxonomy : Taxonomy
        The classes.
    counts : mapping
        Cell images by split (``train``, ``valid``, ``test``, or ``all`` without a split) and class.
    fields : int
        Fields with at least one cell image; 0 if whole images were copied.
    touching : int
        Cell images whose box touches the field's border.
    left_out : tuple of LeftOut
        Boxes without a cell image, with reasons.
    problems : tuple of str
        Other problems, with the file.
    notes : tuple of str
        Possibly unexpected changes: which split was kept or made, boxes scaled or rotated, polygons
        replaced by boxes.
    options : mapping
        The arguments of the import: split, groups, annotations, seed...

    Examples
    --------
    >>> import hematovision
    >>> report = hematovision.import_dataset("annotated", "crops-again", split="none")
    >>> report.fields, report.total == sum(report.by_class.values())
    (2, True)
    """

    dest: Path
    source: Path
    format: str
    lab: str
    taxonomy: Taxonomy
    counts: Mapping[str, Mapping[str, int]]
    fields: int
    touching: int
    left_out: tuple[LeftOut, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    options: Mapping[str, object]

    def __repr__(self) -> str:
        found = ", ".join(f"{n:,} {label}" for label, n in self.by_class.items())
        return f"ImportReport({str(self.dest)!r}, {counted(self.total, 'image')}: {found})"

    @property
    def total(self) -> int:
        """The number of cell images written."""
        return sum(sum(counts.values()) for counts in self.counts.values())

    @property
    def by_class(self) -> dict[str, int]:
        """The number of cell images of each class in all splits."""
        return {
            label: sum(counts[label] for counts in self.counts.values())
            for label in self.taxonomy.classes
        }

    @property
    def ok(self) -> bool:
        """Whether nothing was left out and there were no problems."""
        return not (self.left_out or self.problems)

    def to_json(self) -> str:
        """Return the text of ``import.json``: the report, and the crop rule."""
        value = {
            "format": self.format,
            "source": str(self.source),
            "lab": self.lab,
            "options": dict(self.options),
            "taxonomy": self.taxonomy.to_json(),
            "total": self.total,
            "counts": {split: dict(counts) for split, counts in self.counts.items()},
            "fields": self.fields,
            "touches_border": self.touching,
            "left_out": [asdict(box) for box in self.left_out],
            "problems": list(self.problems),
            "notes": list(self.notes),
        }
        if self.fields:
            sizes = {"context": CONTEXT, "border": BORDER, "min_side": MIN_SIDE}
            value["crop_rule"] = {"rule": _CROP_RULE, **sizes}
        return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    """Convert values that JSON can't represent to text: NaN, infinity, names not in UTF-8."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not -1e308 < value < 1e308:
        return str(value)
    return valid_text(value) if isinstance(value, str) else value


def import_dataset(
    source: str | Path,
    dest: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # the word of the command line
    annotations: str | Path | None = None,
    names: Sequence[str] | None = None,
    split: str | None = None,
    groups: str | None = None,
    lab: str | None = None,
    taxonomy: Taxonomy | str | None = None,
    subtypes: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> ImportReport:
    """Make a dataset of cell images from annotated fields, or from class folders.

    Writes ``dest/{Train,Valid,Test}/<class>/`` (``dest/<class>/`` without a split), ``cells.csv``
    and ``import.json``. `dest` appears only when it is complete.

    Parameters
    ----------
    source : str or Path
        The folder to import; `hematovision.data.formats` describes the layouts.
    dest : str or Path
        A folder that does not exist, or is empty.
    format : str, optional
        Format of `source`, one of `hematovision.data.formats.FORMATS`, or ``folders``; detected by
        default.
    annotations : str or Path, optional
        Folder or file (csv, coco, labelstudio: one file) with the boxes, if outside `source`.
    names : sequence of str, optional
        The names of classes 0, 1, 2, ... (yolo).
    split : str, optional
        ``70/15/15`` (train/valid/test, or ``85/15``: train/valid), ``none``, or a folder with the
        lists ``train.txt``, ``valid.txt`` or ``val.txt``, ``test.txt``. By default the split of
        `source`, or 70/15/15 if it has none. Fields in none of the splits are left out and
        reported. Augmented copies of one image in several splits are reported.
    groups : str, optional
        ``FILE:COLUMN``: column of a CSV file, such as the patient, whose images must stay in one
        split; by default the field with its augmented copies (``NAME.rf.HASH``).
    lab : str, optional
        Name of the lab that the images come from; by default the name of `source`.
    taxonomy : Taxonomy or str, optional
        The classes; see `choose_classes`.
    subtypes : bool
        Whether classes are the subtypes of boxes, such as ``neutrophil``, instead of their labels,
        such as ``WBC``. Boxes without a subtype are not imported; a note has their number.
    seed : int
        Seed of a split by fractions.
    progress : Progress
        Receives the choice of classes, then the number of fields done.

    Raises
    ------
    DatasetError
        If `source` can't be imported, `dest` is not empty, or there are no cell images. Its
        subclasses `AnnotationError`, `TaxonomyError` and `SplitError` name the file and line, the
        class, or the field.
    OutputError
        If `dest` can't be written.

    Examples
    --------
    >>> import hematovision
    >>> report = hematovision.import_dataset("annotated", "crops", lab="mine")
    >>> report.fields, report.format, report.lab
    (2, 'csv', 'mine')
    >>> hematovision.read_dataset("crops").taxonomy.classes
    ('RBC', 'WBC', 'Platelets')
    """
    source, dest = Path(source), Path(dest)
    annotations = None if annotations is None else Path(annotations)
    _check(source, dest, annotations)
    form = format or detect_format(source)
    _check_format(form, annotations, names)
    lists = None if form == "folders" else FORMATS[form].split_lists
    task = _Task(
        source=source.resolve(),
        format=form,
        annotations=annotations,
        names=names,
        lab=valid_text(lab or source.resolve().name),
        taxonomy=taxonomy,
        subtypes=subtypes,
        split=split,
        choice=parse_split(split, without_wrapper(source) / lists if lists else None),
        groups=groups,
        seed=seed,
        progress=progress,
    )
    with appearing(dest) as folder:
        used, written = (_import_folders if form == "folders" else _import_fields)(task, folder)
        report = _report(task, used, written, source=source, dest=dest)
        write_cells(folder / CELLS_FILE, written.cells)
        write_text(folder / REPORT_FILE, report.to_json())
    return report


@dataclass(frozen=True)
class _Task:
    """The checked arguments of an import."""

    source: Path
    format: str
    annotations: Path | None
    names: Sequence[str] | None
    lab: str
    taxonomy: Taxonomy | str | None
    subtypes: bool
    split: str | None
    choice: SplitChoice | None
    groups: str | None
    seed: int
    progress: Progress

    def options(self) -> dict[str, object]:
        """Return the arguments for the report."""
        lists = self.choice if isinstance(self.choice, SplitLists) else None
        return {
            "annotations": None if self.annotations is None else str(self.annotations),
            "names": None if self.names is None else list(self.names),
            "subtypes": self.subtypes,
            "split": str(lists.folder) if lists else self.split,
            "groups": self.groups,
            "seed": self.seed,
        }


def _check(source: Path, dest: Path, annotations: Path | None) -> None:
    if not source.is_dir():
        raise DatasetError(f"The source {source} is not a folder. Pass the folder to import.")
    check_free(dest)
    check_outside(dest, source)
    if annotations is not None and not annotations.exists():
        raise DatasetError(
            f"{annotations} does not exist. Pass an existing folder or file with --annotations."
        )


def _check_format(name: str, annotations: Path | None, names: Sequence[str] | None) -> None:
    known = (*FORMATS, "folders")
    if name not in known:
        raise DatasetError(f"`format` must be one of {', '.join(known)}. Received: {name!r}")
    format_ = FORMATS.get(name)
    if annotations is not None and format_ is None:
        raise DatasetError("Class folders have no box files; omit --annotations.")
    if annotations is not None and annotations.is_file() and format_ and not format_.one_file:
        raise DatasetError(
            f"--annotations must be a folder of box files for --format {name}. Received the "
            f"file {annotations}"
        )
    if names is not None and not (format_ and format_.numbers_classes):
        numbered = " or ".join(n for n, f in FORMATS.items() if f.numbers_classes)
        raise DatasetError(f"--names is only for --format {numbered}. Received it with {name}.")


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


def _import_fields(task: _Task, folder: Path) -> tuple[Taxonomy, Written]:
    """Crop the cells of annotated fields; return the classes and the result."""
    found = read_fields(task.source, task.format, task.annotations, task.names)
    if task.subtypes:
        found = _with_subtypes(found)
    taxonomy = _box_taxonomy(task, found)
    located = locate(found.fields, task.source, task.lab, task.groups, task.choice)
    write = _copy_whole if found.whole else _crop
    written = write(task, located, folder, taxonomy)
    return taxonomy, replace(
        written,
        problems=(*found.problems, *located.problems, *written.problems),
        notes=(*found.notes, *located.notes, *written.notes),
    )


def _with_subtypes(found: Annotations) -> Annotations:
    """Replace the labels of boxes by their subtypes; leave out boxes without one."""
    fields = tuple(
        replace(
            field,
            boxes=tuple(replace(box, label=box.subtype) for box in field.boxes if box.subtype),
        )
        for field in found.fields
    )
    before, after = (sum(len(one.boxes) for one in many) for many in (found.fields, fields))
    note = f"The subtypes of boxes are the classes: {after} of {counted(before, 'box', 'boxes')}."
    return replace(found, fields=fields, classes=(), notes=(*found.notes, note))


def _crop(task: _Task, located: Located, folder: Path, taxonomy: Taxonomy) -> Written:
    loose = ensure_folder(folder / ".cells")
    written = crop_fields(located.fields, located.places, loose, taxonomy, task.progress)
    written = sort_into_splits(written, loose, folder, taxonomy, located.split, task.seed)
    loose.rmdir()
    return written


def _copy_whole(task: _Task, located: Located, folder: Path, taxonomy: Taxonomy) -> Written:
    """Copy images that are single cells, each with its label from a table."""
    samples = [
        Sample(field.image, taxonomy.resolve(box.label), place.split, place.group)
        for field in located.fields
        for box in field.boxes
        if (place := located.places[field.name])
    ]
    dataset = Dataset(task.source, taxonomy, tuple(samples))
    dataset = apply_split(dataset, located.split, task.seed)
    written = copy_images(dataset, task.source, folder, task.lab, task.progress)
    return replace(written, notes=("The table has no boxes: whole images were copied.",))


def _box_taxonomy(task: _Task, found: Annotations) -> Taxonomy:
    spellings = found.spellings()
    if not spellings:
        raise DatasetError(" ".join([f"No usable boxes in {task.source}.", *found.problems[:3]]))
    if task.taxonomy is None or task.taxonomy == FOLDERS:
        # The names become folders.
        usable = Counter[str]()
        for name, n in spellings.items():
            usable[safe_folder(name)] += n
        spellings = usable
    what = "labels in the table" if found.whole else "names of the boxes"
    choice = choose_classes(spellings, task.taxonomy, where=str(task.source), what=what)
    notify(task.progress, choice.sentence)
    return choice.taxonomy


def _import_folders(task: _Task, folder: Path) -> tuple[Taxonomy, Written]:
    """Copy the images of class folders, whose splits are kept and completed by default."""
    dataset = read_dataset(task.source, task.taxonomy, progress=task.progress)
    problems = [*unsupported_warnings(dataset), *copy_warnings(dataset)]
    if task.groups is not None:
        dataset = with_groups(dataset, read_groups(task.groups))
    notes = report_copies(dataset.relative(sample) for sample in dataset)
    if isinstance(task.choice, SplitLists):
        splits, unassigned = task.choice.assign(dataset.relative(sample) for sample in dataset)
        problems += unassigned
        kept = ((sample, splits.get(dataset.relative(sample))) for sample in dataset)
        dataset = dataset.with_samples(replace(s, split=split) for s, split in kept if split)
    if task.choice is None or isinstance(task.choice, SplitLists):
        problems += find_leaks((sample.group, sample.split) for sample in dataset)
    if task.choice is not None:
        dataset = apply_split(dataset, task.choice, task.seed)
        notes += report_split(task.choice)
    else:
        own, dataset = dataset, complete_splits(dataset, task.seed)
        notes += _report_completed(own, dataset)
    written = copy_images(dataset, task.source, folder, task.lab, task.progress)
    return dataset.taxonomy, replace(written, problems=tuple(problems), notes=tuple(notes))


def _report_completed(own: Dataset, complete: Dataset) -> list[str]:
    """Report which splits a dataset had, and which were made."""
    if not own.splits:
        return report_split(None)
    made = [split for split in complete.splits if split not in own.splits]
    added = f" Made from train, keeping groups together: {', '.join(made)}." if made else ""
    return [f"The split of the dataset was kept: {', '.join(own.splits)}.{added}"]
