"""Datasets of synthetic cells on disk, in the layout of real datasets, with exact labels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hematovision.data.cells import CELLS_FILE, Cell, write_cells
from hematovision.data.samples import SPLIT_FOLDERS, Dataset, Sample, Split
from hematovision.errors import DatasetError
from hematovision.files import ensure_folder, write_bytes, write_text
from hematovision.images.crops import crop
from hematovision.paths import csv_text
from hematovision.progress import Progress, no_progress
from hematovision.synthetic.cells import KINDS
from hematovision.synthetic.fields import Field, RenderedCell, render_cell, render_field
from hematovision.synthetic.labs import LABS
from hematovision.synthetic.shapes import random_generator
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS, Taxonomy, get_taxonomy

__all__ = ["NOTE", "NOTE_FILE", "OLD_NOTE_FILE", "write_synthetic_cells"]

NOTE = "HematoVision synthetic image: not a patient"
"""In every PNG file, as the text chunk ``Comment``."""

NOTE_FILE = "SYNTHETIC.txt"
OLD_NOTE_FILE = "PHANTOM.txt"
"""The name of the note up to version 0.2."""

_SPLIT_CYCLE: tuple[Split, ...] = ("train", "test", "valid", "train", "train", "train", "train")
"""Splits in turn, so that a few images fill every split. 7 splits and 4 labs have no common
divisor, so every lab will be in every split."""

_FROM_A_FIELD = ("rbc", "white", "platelet", "rbc") * 3
"""The cells cropped from one field, in this order: 6 red cells, 3 white cells, 3 platelets."""

_WHITE = tuple(kind for kind in KINDS if RBC_WBC_PLATELETS.find(kind) == "WBC")
_CELL_SIZE = 224


def write_synthetic_cells(
    dest: Path,
    images: int,
    seed: int,
    *,
    taxonomy: str = RBC_WBC_PLATELETS.name,
    fields: Path | None = None,
    progress: Progress = no_progress,
) -> Dataset:
    """Write a dataset: ``DEST/{Train,Valid,Test}/<class>/*.png``, ``cells.csv`` and a note.

    With ``rbc-wbc-platelets``, cells are cropped from synthetic fields by the crop rule of
    `hematovision.images.crops`: 6 red cells, 3 white cells and 3 platelets per field. With
    ``pbc8``, each image is rendered separately, with the classes in turn. Labs and splits
    alternate; a field is a group, and stays in one split. The same seed yields the same pixels, and
    the first images don't depend on the number of `images`.

    `fields` is an empty or new folder outside `dest` for the fields, with the boxes of all their
    cells in ``annotations.csv``, ready for ``hematovision data import --format csv``.

    Raises `DatasetError` if `dest` or `fields` is a file or not empty, `fields` is inside `dest` or
    not available for the taxonomy, `images` is less than 1, or `seed` is negative. Raises
    `TaxonomyError` if there is no such taxonomy. Raises `OutputError` if `dest` can't be written.
    """
    chosen = get_taxonomy(taxonomy)
    _check(dest, images, seed, chosen, fields)
    ensure_folder(dest)
    write_text(dest / NOTE_FILE, _note(images, seed, chosen))
    keep = None if fields is None else _FieldsFolder(fields)
    rendered = _single(seed) if chosen is PBC8 else _cropped(seed, keep)
    cells = []
    for done, (image, cell) in enumerate(islice(rendered, images), start=1):
        write_bytes(dest / cell.file, _png(image))
        cells.append(cell)
        progress(done, images, "rendering synthetic cells", "cells")
    if keep is not None:
        keep.close()
    write_cells(dest / CELLS_FILE, sorted(cells, key=lambda cell: cell.file))
    samples = [Sample(dest / c.file, c.label, c.split, c.group, c.lab, c.box) for c in cells]
    return Dataset(dest, chosen, tuple(sorted(samples, key=lambda sample: sample.path)))


def _check(dest: Path, images: int, seed: int, taxonomy: Taxonomy, fields: Path | None) -> None:
    if images < 1 or seed < 0:
        raise DatasetError(
            "`images` must be at least 1 and `seed` at least 0. "
            f"Received: images={images}, seed={seed}"
        )
    if fields is not None and taxonomy is PBC8:
        raise DatasetError(
            "Cell images of pbc8 are rendered one by one, so there are no fields to keep. Omit "
            "`fields`, or choose the taxonomy rbc-wbc-platelets."
        )
    if fields is not None and fields.resolve().is_relative_to(dest.resolve()):
        raise DatasetError(
            f"The fields must be outside the dataset, whose folders are classes. Received {fields} "
            f"for fields in the dataset {dest}. Choose a folder next to it."
        )
    for folder in (dest, *([] if fields is None else [fields])):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DatasetError(
                f"{folder} must be an empty folder or not exist, so that synthetic images are "
                "never mixed with others. Choose another place or empty it first."
            )


def _turn(number: int) -> tuple[str, Split]:
    """Return the lab and split of a field or round of images, by number."""
    labs = tuple(LABS)
    return labs[number % len(labs)], _SPLIT_CYCLE[number % len(_SPLIT_CYCLE)]


def _own_seed(seed: int, number: int) -> int:
    """Return an independent seed for one image."""
    sequence = np.random.SeedSequence(seed, spawn_key=(number,))
    return int(sequence.generate_state(1, np.uint64)[0])


def _file(split: Split, label: str, name: str) -> str:
    return f"{SPLIT_FOLDERS[split]}/{label}/{name}.png"


def _single(seed: int) -> Iterator[tuple[NDArray[np.uint8], Cell]]:
    """Render cell images one by one, with the classes of pbc8 in turn."""
    number = 0
    while True:
        kind = PBC8.classes[number % len(PBC8.classes)]
        lab, split = _turn(number // len(PBC8.classes))
        name = f"synthetic-{number:06d}"
        image = render_cell(kind, _own_seed(seed, number), lab=lab, size=_CELL_SIZE)
        yield image, Cell(_file(split, kind, name), "", name, lab, None, kind, split, group=name)
        number += 1


def _cropped(seed: int, keep: _FieldsFolder | None) -> Iterator[tuple[NDArray[np.uint8], Cell]]:
    """Render fields and crop cells from them."""
    number = 0
    while True:
        lab, split = _turn(number)
        name = f"synthetic-field-{number:05d}"
        field = _render_balanced_field(_own_seed(seed, number), lab)
        source = "" if keep is None else keep.add(name, field)
        for place, rendered in enumerate(_choose(field)):
            label = RBC_WBC_PLATELETS.resolve(rendered.kind)
            image, touches = crop(field.image, rendered.box)
            file = _file(split, label, f"synthetic-{number:05d}-{place:02d}")
            xmin, ymin, xmax, ymax = map(float, rendered.box)
            box = (xmin, ymin, xmax, ymax)
            yield image, Cell(file, source, name, lab, box, label, split, touches, name)
        number += 1


def _render_balanced_field(seed: int, lab: str) -> Field:
    """Render a field with more white cells and platelets than blood has, to balance the classes."""
    rng = random_generator(seed, 100)
    family = LABS[lab]
    area = 480 * 640 / np.mean(family.scale) ** 2 / 1000.0
    cells = {"rbc": max(8, int(area * rng.uniform(*family.crowding))), "platelet": 4}
    for kind in rng.choice(_WHITE, size=3, p=_white_shares()):
        cells[str(kind)] = cells.get(str(kind), 0) + 1
    return render_field(seed, lab=lab, cells=cells)


def _white_shares() -> NDArray[np.float64]:
    """Return the frequencies of `_WHITE`, which are more balanced than in blood."""
    weights = np.array([{"neutrophil": 3.0, "lymphocyte": 2.0}.get(kind, 1.0) for kind in _WHITE])
    return np.asarray(weights / weights.sum())


def _choose(field: Field) -> list[RenderedCell]:
    """Choose the cells to crop at random, preferring cells that are at least half visible."""
    rng = random_generator(field.seed, 101)
    visible = np.bincount(field.labels.ravel(), minlength=len(field.cells) + 1)[1:]
    hidden = [visible[i] < 0.5 * max(1, cell.mask.sum()) for i, cell in enumerate(field.cells)]
    order = sorted(rng.permutation(len(field.cells)), key=lambda i: hidden[i])
    waiting: dict[str, list[RenderedCell]] = {"rbc": [], "white": [], "platelet": []}
    for index in order:
        cell = field.cells[index]
        waiting["white" if cell.kind in _WHITE else cell.kind].append(cell)
    return [waiting[kind].pop(0) for kind in _FROM_A_FIELD]


class _FieldsFolder:
    """Writes fields with the boxes of all their cells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[tuple[str | int, ...]] = []

    def add(self, name: str, field: Field) -> str:
        """Write a field, and return its file name."""
        file = f"{name}.png"
        write_bytes(self.folder / file, _png(field.image))
        for cell in field.cells:
            self.rows.append((file, *cell.box, RBC_WBC_PLATELETS.resolve(cell.kind), cell.kind))
        return file

    def close(self) -> None:
        """Write the boxes."""
        header = ("image", "xmin", "ymin", "xmax", "ymax", "class", "kind")
        write_text(self.folder / "annotations.csv", csv_text([header, *self.rows]))
        write_text(self.folder / NOTE_FILE, f"{NOTE}.\n")


def _png(image: NDArray[np.uint8]) -> bytes:
    note = PngInfo()
    note.add_text("Comment", NOTE)
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, format="PNG", pnginfo=note, compress_level=4)
        return stream.getvalue()


def _note(images: int, seed: int, taxonomy: Taxonomy) -> str:
    return (
        f"{NOTE}.\n\n"
        f"The {images} images in this folder were rendered by a program (seed {seed}, taxonomy\n"
        f"{taxonomy.name}). They show no patient and no real cell. Use them to try out and test\n"
        "software, never to evaluate a model for real blood.\n"
    )
