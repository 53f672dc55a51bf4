"""Class folders: images are copied byte by byte into the project's own layout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hematovision.data.cells import CELLS_FILE, Cell, read_cells
from hematovision.data.copies import copy_warnings
from hematovision.data.folders import read_dataset
from hematovision.data.groups import read_groups, with_groups
from hematovision.data.importing.crops import Written, place
from hematovision.data.importing.locating import find_leaks, tell_copies, tell_made
from hematovision.data.importing.names import safe_name, unique_names
from hematovision.data.importing.parts import Parts, SplitLists, apply_parts
from hematovision.data.samples import Dataset, Sample, Split
from hematovision.data.splits import complete_splits
from hematovision.data.unsupported import unsupported_warnings
from hematovision.files import copy_file
from hematovision.paths import escape_name
from hematovision.progress import Progress, no_progress
from hematovision.taxonomy import Taxonomy

__all__ = ["copy_images", "read"]


def read(
    source: Path,
    taxonomy: Taxonomy | str | None,
    parts: Parts | None,
    groups: str | None,
    seed: int,
    progress: Progress = no_progress,
) -> tuple[Dataset, list[str], list[str]]:
    """Read class folders and give every image its part.

    Where nothing is asked for, parts that are there are kept and missing ones are made, as
    `complete_splits` does it.

    Returns
    -------
    dataset : Dataset
        The images at `source`.
    problems : list of str
        Images of formats that are not read, copies of one image in several classes or splits, and
        what the lists of an official split leave out.
    notes : list of str
        What was done about splits and copies.

    Raises
    ------
    DatasetError
        If `source` is no dataset, or the parts or groups cannot be made.
    """
    dataset = read_dataset(source, taxonomy, progress=progress)
    problems = [*unsupported_warnings(dataset), *copy_warnings(dataset)]
    if groups is not None:
        dataset = with_groups(dataset, read_groups(groups))
    notes = tell_copies(dataset.relative(sample) for sample in dataset)
    if isinstance(parts, SplitLists):
        assigned, unassigned = parts.assign(dataset.relative(sample) for sample in dataset)
        problems += unassigned
        kept = ((s, assigned.get(dataset.relative(s))) for s in dataset)
        dataset = dataset.with_samples(replace(s, split=p) for s, p in kept if p)
    elif parts is not None:
        return apply_parts(dataset, parts, seed), problems, [*notes, *tell_made(parts)]
    problems += find_leaks((sample.group, sample.split) for sample in dataset)
    if parts is not None:
        return dataset, problems, [*notes, *tell_made(parts)]
    complete = complete_splits(dataset, seed)
    return complete, problems, [*notes, *_tell_completed(dataset, complete)]


def _tell_completed(given: Dataset, complete: Dataset) -> list[str]:
    """Say which splits a dataset came with, and which were made."""
    if not given.splits:
        return tell_made(None)
    made = [split for split in complete.splits if split not in given.splits]
    added = f" Made from train, keeping groups together: {', '.join(made)}." if made else ""
    return [f"The split of the dataset was kept: {', '.join(given.splits)}.{added}"]


def copy_images(
    dataset: Dataset, source: Path, folder: Path, lab: str, progress: Progress
) -> Written:
    """Copy the images of a dataset into ``folder/<part>/<class>/``; names are kept where unique.

    Raises
    ------
    OutputError
        If an image cannot be copied.
    """
    total = len(dataset)
    known = _known_cells(dataset)
    cells = []
    for done, (sample, file) in enumerate(_places(dataset)):
        progress(done, total, "copying images")
        copy_file(sample.path, folder / file)
        origin = escape_name(sample.path.relative_to(source).as_posix())
        cell = known.get(dataset.relative(sample)) or Cell("", origin, "", lab, None, "")
        cells.append(
            replace(cell, file=file, label=sample.label, split=sample.split, group=sample.group)
        )
    progress(total, total, "copying images")
    return Written(tuple(sorted(cells, key=lambda cell: cell.file)))


def _known_cells(dataset: Dataset) -> Mapping[str, Cell]:
    path = dataset.root / CELLS_FILE
    return {cell.file: cell for cell in read_cells(path)} if path.is_file() else {}


def _places(dataset: Dataset) -> Iterable[tuple[Sample, str]]:
    folders: defaultdict[tuple[Split | None, str], list[Sample]] = defaultdict(list)
    for sample in dataset:
        folders[sample.split, sample.label].append(sample)
    for (split, label), samples in folders.items():
        stems = unique_names([_stem(sample.path) for sample in samples])
        for sample, stem in zip(samples, stems, strict=True):
            yield sample, place(stem + sample.path.suffix, label, split)


def _stem(path: Path) -> str:
    """Return a file's name without suffix; one that tables would have to escape made safe."""
    return path.stem if escape_name(path.stem) == path.stem else safe_name(path.stem)
