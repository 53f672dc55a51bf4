"""From annotated fields to cell images in a folder."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from hematovision import images
from hematovision.data.cells import Cell
from hematovision.data.importing.annotations import AnnotatedField, counted, some, then
from hematovision.data.importing.frames import find_frame
from hematovision.data.importing.names import safe_name, unique_names
from hematovision.data.importing.parts import NoParts, Parts, apply_parts
from hematovision.data.importing.report import LeftOut
from hematovision.data.samples import SPLIT_FOLDERS, SPLITS, Dataset, Sample, Split
from hematovision.errors import AnnotationError, DatasetError, ImageError
from hematovision.files import ensure_folder, writing
from hematovision.images.boxes import clip_box, round_box
from hematovision.images.crops import crop
from hematovision.paths import escape_name
from hematovision.progress import Progress
from hematovision.taxonomy import Taxonomy

__all__ = ["FieldPlace", "Written", "count", "crop_fields", "place", "sort_into_parts"]

_NO_PART = "all"
_WHAT = "cropping cells"
_MOST_THREADS = 4  # more would only keep more fields in memory


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """What is known of a field beyond its boxes: where its cells belong."""

    source: str
    lab: str
    group: str
    split: Split | None = None


@dataclass(frozen=True)
class Written:
    """What was written into a folder."""

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
    """Write one PNG a box into `folder`; a field that cannot be read is a problem, not the end.

    So is one whose size contradicts its box file.

    Files are called ``<field>_<number of the box>.png``, so that a cell is found again in its box
    file; `Cell.file` is that name.

    Raises
    ------
    DatasetError
        If not one cell image came out.
    OutputError
        If `folder` cannot be written.
    """
    cells: list[Cell] = []
    left_out: list[LeftOut] = []
    problems: list[str] = []
    said: defaultdict[str, list[str]] = defaultdict(list)
    stems = unique_names([safe_name(field.name.rpartition("/")[2]) for field in fields])

    def work(field: AnnotatedField, stem: str) -> Written:
        return _crop_field(field, folder / stem, places[field.name], taxonomy)

    for done, (field, part) in enumerate(zip(fields, _map(work, fields, stems), strict=True)):
        progress(done, len(fields), _WHAT)
        cells += part.cells
        left_out += part.left_out
        problems += part.problems
        for note in part.notes:
            said[note].append(field.name)
    progress(len(fields), len(fields), _WHAT)
    if not cells:
        raise DatasetError(
            f"No cell images could be made from {counted(len(fields), 'field')}. "
            + " ".join([*problems[:3], *(f"{b.where}: {b.reason}." for b in left_out[:3])])
        )
    notes = (
        f"{note} ({counted(len(names), 'field')}: {some(names)})" for note, names in said.items()
    )
    return Written(tuple(cells), tuple(left_out), tuple(problems), tuple(notes))


def _map(
    work: Callable[[AnnotatedField, str], Written],
    fields: Sequence[AnnotatedField],
    stems: Sequence[str],
) -> Iterator[Written]:
    """Crop fields in threads, in order; PNG compression, most of the work, is not Python."""
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        try:
            yield from pool.map(work, fields, stems)
        finally:
            # On an error or Ctrl-C, do not crop the rest before saying so.
            pool.shutdown(cancel_futures=True)


def _crop_field(
    field: AnnotatedField, stem: Path, known: FieldPlace, taxonomy: Taxonomy
) -> Written:
    try:
        pixels = images.read(field.image)
        height, width = pixels.shape[:2]
        frame = find_frame(field.image, (width, height), field.size)
    except ImageError as error:
        return Written((), (), (then(error, _left_out(field)),))
    except AnnotationError as error:
        problem = then(f"{field.where}: {field.name}: {error}", _left_out(field))
        return Written((), (), (problem,))
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
                source=known.source,
                field=escape_name(field.name),
                lab=known.lab,
                box=clip_box(box, width, height),
                label=taxonomy.resolve(named.label),
                split=known.split,
                touches_border=touches,
                group=known.group,
            )
        )
    return Written(tuple(cells), tuple(left_out), notes=(frame.said,) if frame.said else ())


def _left_out(field: AnnotatedField) -> str:
    return f"Left out: {counted(len(field.boxes), 'box', 'boxes')}."


def sort_into_parts(
    written: Written,
    loose: Path,
    folder: Path,
    taxonomy: Taxonomy,
    parts: Parts | None,
    seed: int,
) -> Written:
    """Move the cell images of `loose` into ``folder/<part>/<class>/``, as `parts` asks.

    This comes after cropping, since only then it is known which boxes are usable.
    """
    samples = tuple(
        Sample(loose / cell.file, cell.label, cell.split, cell.group) for cell in written.cells
    )
    dataset = apply_parts(Dataset(loose, taxonomy, samples), parts, seed)
    cells = []
    for cell, sample in zip(written.cells, dataset, strict=True):
        split = None if isinstance(parts, NoParts) else sample.split
        file = place(cell.file, cell.label, split)
        ensure_folder((folder / file).parent)
        with writing(folder / file):
            sample.path.rename(folder / file)
        cells.append(replace(cell, file=file, split=split))
    return replace(written, cells=tuple(sorted(cells, key=lambda cell: cell.file)))


def place(name: str, label: str, split: Split | None) -> str:
    """Return where an image belongs in a dataset, relative to its root."""
    return f"{label}/{name}" if split is None else f"{SPLIT_FOLDERS[split]}/{label}/{name}"


def count(cells: Sequence[Cell], taxonomy: Taxonomy) -> dict[str, dict[str, int]]:
    """Count cell images by part and class; ``all`` is the part of those that have none."""
    found: Counter[tuple[str, str]] = Counter(
        (cell.split or _NO_PART, cell.label) for cell in cells
    )
    present = {cell.split or _NO_PART for cell in cells}
    return {
        part: {label: found[part, label] for label in taxonomy.classes}
        for part in (*SPLITS, _NO_PART)
        if part in present
    }
