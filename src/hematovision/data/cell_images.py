"""Writing cell images: cropped from annotated fields, or copied from class folders."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hematovision import images
from hematovision.data.cells import CELLS_FILE, Cell, read_cells
from hematovision.data.destination import safe_name, unique_names
from hematovision.data.formats.annotations import AnnotatedField, some, then
from hematovision.data.frames import find_frame
from hematovision.data.samples import SPLIT_FOLDERS, SPLITS, Dataset, Sample, Split
from hematovision.data.source_splits import FieldPlace, NoSplit, SplitChoice, apply_split
from hematovision.errors import AnnotationError, DatasetError, ImageError
from hematovision.files import copy_file, ensure_folder, writing
from hematovision.images.boxes import Box, clip_box, round_box
from hematovision.images.crops import crop
from hematovision.paths import escape_name
from hematovision.plurals import counted
from hematovision.progress import Progress
from hematovision.taxonomy import Taxonomy

__all__ = [
    "LeftOut", "Written", "copy_images", "count", "crop_fields", "join_notes", "map_in_threads",
    "sort_into_splits",
]  # fmt: skip

T = TypeVar("T")

_NO_SPLIT = "all"
_WHAT = "cropping cells"
_MOST_THREADS = 4  # more would only keep more fields in memory


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A box that did not become a cell image."""

    field: str  # the field's name
    label: str  # as spelled in the box file
    box: Box | None  # in pixels of the field
    where: str  # file and line of the box
    reason: str  # what is wrong with it


@dataclass(frozen=True)
class Written:
    """The cells written to a folder, with the boxes left out, problems and notes."""

    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def crop_fields(
    fields: Sequence[AnnotatedField],
    places: Mapping[str, FieldPlace],
    folder: Path,
    taxonomy: Taxonomy,
    progress: Progress,
) -> Written:
    """Write one PNG per box to `folder`, called ``<field>_<number of the box>.png``.

    Unreadable fields, and fields whose size contradicts the box file, are problems in the result.

    Raises `DatasetError` if there is no usable box.
    """
    cells: list[Cell] = []
    left_out: list[LeftOut] = []
    problems: list[str] = []
    notes: defaultdict[str, list[str]] = defaultdict(list)
    stems = unique_names([safe_name(field.name.rpartition("/")[2]) for field in fields])

    def work(field: AnnotatedField, stem: str) -> Written:
        return _crop_field(field, folder / stem, places[field.name], taxonomy)

    with closing(map_in_threads(work, fields, stems)) as results:
        for done, (field, written) in enumerate(zip(fields, results, strict=True)):
            progress(done, len(fields), _WHAT, "fields")
            cells += written.cells
            left_out += written.left_out
            problems += written.problems
            for note in written.notes:
                notes[note].append(field.name)
    progress(len(fields), len(fields), _WHAT, "fields")
    if not cells:
        raise DatasetError(
            f"No cell images could be made from {counted(len(fields), 'field')}. "
            + " ".join([*problems[:3], *(f"{b.where}: {b.reason}." for b in left_out[:3])])
        )
    return Written(tuple(cells), tuple(left_out), tuple(problems), tuple(join_notes(notes)))


def map_in_threads(
    work: Callable[[AnnotatedField, str], T], fields: Sequence[AnnotatedField], stems: Sequence[str]
) -> Generator[T]:
    """Process fields in threads, in order; most of the work releases the interpreter's lock.

    Close the iterator on an error or Ctrl-C to skip the remaining fields.
    """
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        try:
            yield from pool.map(work, fields, stems)
        finally:
            pool.shutdown(cancel_futures=True)


def join_notes(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Append to each note the fields that it applies to."""
    return [f"{note} ({counted(len(n), 'field')}: {some(n)})" for note, n in notes.items()]


def _crop_field(
    field: AnnotatedField, stem: Path, place: FieldPlace, taxonomy: Taxonomy
) -> Written:
    lost = f"Left out: {counted(len(field.boxes), 'box', 'boxes')}."
    try:
        pixels = images.read(field.image)
        height, width = pixels.shape[:2]
        frame = find_frame(field.image, (width, height), field.size)
    except ImageError as error:
        return Written((), (), (then(error, lost),))
    except AnnotationError as error:
        return Written((), (), (then(f"{field.where}: {field.name}: {error}", lost),))
    cells: list[Cell] = []
    left_out: list[LeftOut] = []
    for number, named in enumerate(field.boxes, start=1):
        box = round_box(frame.upright(field.box_in_pixels(named.box, width, height)), 3)
        try:
            image, touches = crop(pixels, box)
        except AnnotationError as error:
            left_out.append(LeftOut(field.name, named.label, box, named.where, str(error)))
            continue
        path = images.write(stem.with_name(f"{stem.name}_{number:03d}.png"), image)
        cells.append(
            Cell(
                file=path.name,
                source=place.source,
                field=escape_name(field.name),
                lab=place.lab,
                box=clip_box(box, width, height),
                label=taxonomy.resolve(named.label),
                split=place.split,
                touches_border=touches,
                group=place.group,
            )
        )
    return Written(tuple(cells), tuple(left_out), notes=(frame.note,) if frame.note else ())


def sort_into_splits(
    written: Written,
    loose: Path,
    folder: Path,
    taxonomy: Taxonomy,
    choice: SplitChoice | None,
    seed: int,
) -> Written:
    """Move the cell images of `loose` into ``folder/<split>/<class>/``.

    This is done after cropping, when the usable boxes are known.
    """
    samples = tuple(
        Sample(loose / cell.file, cell.label, cell.split, cell.group) for cell in written.cells
    )
    dataset = apply_split(Dataset(loose, taxonomy, samples), choice, seed)
    cells = []
    for cell, sample in zip(written.cells, dataset, strict=True):
        split = None if isinstance(choice, NoSplit) else sample.split
        file = _relative_path(cell.file, cell.label, split)
        ensure_folder((folder / file).parent)
        with writing(folder / file):
            sample.path.rename(folder / file)
        cells.append(replace(cell, file=file, split=split))
    return replace(written, cells=tuple(sorted(cells, key=lambda cell: cell.file)))


def copy_images(
    dataset: Dataset, source: Path, folder: Path, lab: str, progress: Progress
) -> Written:
    """Copy the images of a dataset into ``folder/<split>/<class>/``; unique names are kept.

    Raises `OutputError` if an image can't be copied.
    """
    path = dataset.root / CELLS_FILE
    known = {cell.file: cell for cell in read_cells(path)} if path.is_file() else {}
    cells = []
    for done, (sample, file) in enumerate(_targets(dataset)):
        progress(done, len(dataset), "copying images", "images")
        copy_file(sample.path, folder / file)
        origin = escape_name(sample.path.relative_to(source).as_posix())
        cell = known.get(dataset.relative(sample)) or Cell("", origin, "", lab, None, "")
        cells.append(
            replace(cell, file=file, label=sample.label, split=sample.split, group=sample.group)
        )
    progress(len(dataset), len(dataset), "copying images", "images")
    return Written(tuple(sorted(cells, key=lambda cell: cell.file)))


def _targets(dataset: Dataset) -> Iterable[tuple[Sample, str]]:
    folders: defaultdict[tuple[Split | None, str], list[Sample]] = defaultdict(list)
    for sample in dataset:
        folders[sample.split, sample.label].append(sample)
    for (split, label), samples in folders.items():
        stems = unique_names([_stem(sample.path) for sample in samples])
        for sample, stem in zip(samples, stems, strict=True):
            yield sample, _relative_path(stem + sample.path.suffix, label, split)


def _stem(path: Path) -> str:
    """Return a file's name without suffix, made safe if tables would need to escape it."""
    return path.stem if escape_name(path.stem) == path.stem else safe_name(path.stem)


def _relative_path(name: str, label: str, split: Split | None) -> str:
    return f"{label}/{name}" if split is None else f"{SPLIT_FOLDERS[split]}/{label}/{name}"


def count(cells: Sequence[Cell], taxonomy: Taxonomy) -> dict[str, dict[str, int]]:
    """Count cell images by split and class; those without a split are counted as ``all``."""
    found = Counter((cell.split or _NO_SPLIT, cell.label) for cell in cells)
    present = {cell.split or _NO_SPLIT for cell in cells}
    return {
        split: {label: found[split, label] for label in taxonomy.classes}
        for split in (*SPLITS, _NO_SPLIT)
        if split in present
    }
