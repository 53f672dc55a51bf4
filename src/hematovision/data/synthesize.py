"""Whole datasets of phantoms on disk, laid out like real ones and labelled as drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
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
from hematovision.progress import Progress, no_progress
from hematovision.synthetic.cells import KINDS
from hematovision.synthetic.fields import Field, RenderedCell, render_cell, render_field
from hematovision.synthetic.labs import LABS
from hematovision.synthetic.shapes import random_generator
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS, Taxonomy, get_taxonomy

__all__ = ["NOTE", "NOTE_FILE", "write_synthetic_cells"]

NOTE = "HematoVision phantom: drawn, not a patient"
"""Stands in every file, as the PNG text ``Comment``."""

NOTE_FILE = "PHANTOM.txt"

_TURNS: tuple[Split, ...] = ("train", "test", "valid", "train", "train", "train", "train")
"""Parts by turns, so that few images fill every part. Seven turns and four labs share no divisor:
in the long run every lab is in every part."""

_FROM_A_FIELD = ("rbc", "white", "platelet", "rbc") * 3
"""What is cut out of one field, in this order: 6 red cells, 3 white cells, 3 platelets."""

_WHITE = tuple(kind for kind in KINDS if RBC_WBC_PLATELETS.find(kind) == "WBC")
_CELL_SIZE = 224


@dataclass(frozen=True, eq=False)
class _Picture:
    image: NDArray[np.uint8]
    cell: Cell


def write_synthetic_cells(
    dest: Path,
    images: int,
    seed: int,
    *,
    taxonomy: str = RBC_WBC_PLATELETS.name,
    fields: Path | None = None,
    progress: Progress = no_progress,
) -> Dataset:
    """Draw a dataset: ``DEST/{Train,Valid,Test}/<class>/*.png``, ``cells.csv`` and a note.

    With ``rbc-wbc-platelets``, the cells are cut out of drawn fields by the crop rule of
    `hematovision.data.cells`, 12 a field: 6 red cells, 3 white cells and 3 platelets. With
    ``pbc8``, each image is drawn by itself, the classes by turns. Labs and parts go by turns;
    a field, which is the group, stays in one part.

    Parameters
    ----------
    dest : Path
        A folder that is empty or does not exist yet.
    images : int
        How many cell images, at least 1. The first images of a seed are the same however many
        are asked for.
    seed : int
        At least 0. The same seed gives the same pixels.
    taxonomy : {"rbc-wbc-platelets", "pbc8"}
        The classes.
    fields : Path, optional
        An empty or new folder outside of `dest`, which gets the fields too, with the boxes of all
        their cells in ``annotations.csv``, ready for ``hematovision data import --format csv``.
    progress : Progress
        Told after each image.

    Returns
    -------
    Dataset
        The images written, sorted by path.

    Raises
    ------
    DatasetError
        If `dest` or `fields` is a file or a folder with something in it, `fields` lies in `dest`
        or is asked for where there are none, or `images` or `seed` is out of range.
    TaxonomyError
        If there is no such taxonomy.
    OutputError
        If `dest` cannot be written.
    """
    chosen = get_taxonomy(taxonomy)
    _check(dest, images, seed, chosen, fields)
    ensure_folder(dest)
    write_text(dest / NOTE_FILE, _note(images, seed, chosen))
    keep = None if fields is None else _FieldsFolder(fields)
    pictures = _single(seed) if chosen is PBC8 else _cut_out(seed, keep)
    cells = []
    for done, picture in enumerate(_take(pictures, images), start=1):
        write_bytes(dest / picture.cell.file, _png(picture.image))
        cells.append(picture.cell)
        progress(done, images, "drawing phantoms")
    if keep is not None:
        keep.close()
    write_cells(dest / CELLS_FILE, sorted(cells, key=lambda cell: cell.file))
    return Dataset(dest, chosen, tuple(sorted(_samples(dest, cells), key=lambda s: s.path)))


def _check(dest: Path, images: int, seed: int, taxonomy: Taxonomy, fields: Path | None) -> None:
    if images < 1 or seed < 0:
        raise DatasetError(
            "Phantoms need `images` of at least 1 and a `seed` of at least 0. "
            f"Received: images={images}, seed={seed}"
        )
    if fields is not None and taxonomy is PBC8:
        raise DatasetError(
            "Cell images of pbc8 are drawn one by one, so there are no fields to keep. Leave out "
            "`fields`, or choose the taxonomy rbc-wbc-platelets."
        )
    if fields is not None and fields.resolve().is_relative_to(dest.resolve()):
        raise DatasetError(
            f"The fields may not lie in the dataset, whose folders are classes. Received {fields} "
            f"for fields in the dataset {dest}. Choose a place beside it."
        )
    for folder in (dest, *([] if fields is None else [fields])):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DatasetError(
                f"{folder} should be an empty folder, or not be there yet, so that drawn images "
                "never mix with others. Choose another place or empty it first."
            )


def _take(pictures: Iterator[_Picture], count: int) -> Iterator[_Picture]:
    for _ in range(count):
        yield next(pictures)


def _turn(number: int) -> tuple[str, Split]:
    """Return the lab and the part of the numbered field or round of images."""
    labs = tuple(LABS)
    return labs[number % len(labs)], _TURNS[number % len(_TURNS)]


def _own_seed(seed: int, number: int) -> int:
    """Return a seed for one drawing, independent of all others."""
    sequence = np.random.SeedSequence(seed, spawn_key=(number,))
    return int(sequence.generate_state(1, np.uint64)[0])


def _file(split: Split, label: str, name: str) -> str:
    return f"{SPLIT_FOLDERS[split]}/{label}/{name}.png"


def _single(seed: int) -> Iterator[_Picture]:
    """Draw cell images one by one, the classes of pbc8 by turns."""
    number = 0
    while True:
        kind = PBC8.classes[number % len(PBC8.classes)]
        lab, split = _turn(number // len(PBC8.classes))
        name = f"phantom-{number:06d}"
        image = render_cell(kind, _own_seed(seed, number), lab=lab, size=_CELL_SIZE)
        yield _Picture(
            image, Cell(_file(split, kind, name), "", name, lab, None, kind, split, group=name)
        )
        number += 1


def _cut_out(seed: int, keep: _FieldsFolder | None) -> Iterator[_Picture]:
    """Draw fields and cut cells out of them."""
    number = 0
    while True:
        lab, split = _turn(number)
        name = f"phantom-field-{number:05d}"
        field = _draw_rich_field(_own_seed(seed, number), lab)
        source = "" if keep is None else keep.add(name, field)
        for place, drawn in enumerate(_choose(field)):
            label = RBC_WBC_PLATELETS.resolve(drawn.kind)
            image, touches = crop(field.image, drawn.box)
            file = _file(split, label, f"phantom-{number:05d}-{place:02d}")
            xmin, ymin, xmax, ymax = map(float, drawn.box)
            box = (xmin, ymin, xmax, ymax)
            cell = Cell(file, source, name, lab, box, label, split, touches, name)
            yield _Picture(image, cell)
        number += 1


def _draw_rich_field(seed: int, lab: str) -> Field:
    """Draw a field with more white cells and platelets than blood has, so that classes balance."""
    rng = random_generator(seed, 100)
    family = LABS[lab]
    area = 480 * 640 / np.mean(family.scale) ** 2 / 1000.0
    cells = {"rbc": max(8, int(area * rng.uniform(*family.crowding))), "platelet": 4}
    for kind in rng.choice(_WHITE, size=3, p=_white_shares()):
        cells[str(kind)] = cells.get(str(kind), 0) + 1
    return render_field(seed, lab=lab, cells=cells)


def _white_shares() -> NDArray[np.float64]:
    """Return how often each of `_WHITE` is drawn: nearer to equal than in blood."""
    weights = np.array([{"neutrophil": 3.0, "lymphocyte": 2.0}.get(kind, 1.0) for kind in _WHITE])
    return np.asarray(weights / weights.sum())


def _choose(field: Field) -> list[RenderedCell]:
    """Choose the cells to cut out, at random among those of which at least half can be seen."""
    rng = random_generator(field.seed, 101)
    shown = np.bincount(field.labels.ravel(), minlength=len(field.cells) + 1)[1:]
    hidden = [shown[i] < 0.5 * max(1, cell.mask.sum()) for i, cell in enumerate(field.cells)]
    order = sorted(rng.permutation(len(field.cells)), key=lambda i: hidden[i])
    waiting: dict[str, list[RenderedCell]] = {"rbc": [], "white": [], "platelet": []}
    for index in order:
        cell = field.cells[index]
        waiting["white" if cell.kind in _WHITE else cell.kind].append(cell)
    return [waiting[kind].pop(0) for kind in _FROM_A_FIELD]


class _FieldsFolder:
    """Keeps fields with the boxes of all their cells."""

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
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "xmin", "ymin", "xmax", "ymax", "class", "kind"))
        writer.writerows(self.rows)
        write_text(self.folder / "annotations.csv", stream.getvalue())
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
        f"The {images} images in this folder were drawn by a program (seed {seed}, taxonomy\n"
        f"{taxonomy.name}). They show no patient and no real cell. Use them to try out and test\n"
        "software, never to judge how well a model knows blood.\n"
    )


def _samples(dest: Path, cells: list[Cell]) -> list[Sample]:
    return [Sample(dest / c.file, c.label, c.split, c.group, c.lab, c.box) for c in cells]
