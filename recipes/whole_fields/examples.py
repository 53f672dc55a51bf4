"""The training images of the field score: whole fields, and single cells of the same labs.

Fields are used whole, as windows and as mosaics of themselves, so that they show five to a hundred
cells. Single cells are cut out of these fields by the crop rule, so that stain and camera alone
decide nothing; and there are single-cell images, synthetic cells and images without a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.cells import read_cells
from hematovision.data.samples import Dataset, Split
from hematovision.images.crops import crop
from hematovision.model.field_score import view_of
from hematovision.synthetic import KINDS, LABS, render_cell, render_field
from hematovision.synthetic.decoys import render_decoy
from recipes.sets import CELL_SETS, SOURCES

__all__ = ["LAB_OF_SET", "Example", "Views", "examples_of", "field_files", "views"]

LAB_OF_SET = {"bccd": "bccd", "raabin": "raabin", "draaslan": "draaslan", "krd": "krd"}
"""The sets of whole fields. `txl/pbc` is none of them: its images show one cell amid others."""

_SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_MOST_CELLS = {"RBC": 1200, "WBC": 600, "Platelets": 400}  # of a set and split
_FIELD_VIEWS = {"bccd": 8, "raabin": 6, "draaslan": 16, "krd": 5}
_SYNTHETIC = {"train": range(1000), "valid": range(1000, 1150), "test": range(1150, 1300)}
_WINDOW, _WHOLE = 0.75, 0.85  # smaller windows show few cells; larger crops are the whole field
_SIDE = 512  # pixels of a field before it is cut and tiled


@dataclass(frozen=True)
class Example:
    """One image to train or evaluate the score on."""

    group: str  # ``"field bccd"``, ``"cell pbc"``, ...
    lab: str
    make: Callable[[], NDArray[np.uint8]]

    @property
    def is_field(self) -> bool:
        """Whether it shows a field."""
        return self.group.startswith("field")


class Views(NamedTuple):
    """Images as the score sees them, and what they show."""

    pixels: NDArray[np.uint8]  # (N, S, S, 3)
    is_field: NDArray[np.bool_]  # (N,)
    groups: NDArray[np.str_]  # (N,)
    labs: NDArray[np.str_]  # (N,)


def field_files(sets: Mapping[str, Dataset], data: Path, split: Split) -> dict[str, list[Path]]:
    """Return the files of the fields of one split, by set.

    The sets' own splits; of `krd`, 70/15/15 by image, seeded.
    """
    found: dict[str, list[Path]] = {}
    for name in ("bccd", "raabin", "draaslan"):
        cells = read_cells(sets[name].root / "cells.csv")
        files = sorted({cell.source for cell in cells if cell.split == split})
        found[name] = [data / SOURCES[name] / file for file in files]
    krd = sorted((data / "krd" / "images").glob("*.jpg"))
    of_split = np.random.default_rng(0).choice(3, len(krd), p=[0.7, 0.15, 0.15])
    number = _SPLITS.index(split)
    found["krd"] = [path for path, one in zip(krd, of_split, strict=True) if one == number]
    return found


def examples_of(
    sets: Mapping[str, Dataset], data: Path, split: Split, *, augmented: bool
) -> Iterator[Example]:
    """Yield all examples of one split; with `augmented`, several views of each field."""
    for name, files in field_files(sets, data, split).items():
        for number, path in enumerate(files):
            yield Example(f"field {name}", name, partial(_read, path))
            for turn in range(1, _FIELD_VIEWS[name] if augmented else 1):
                make = partial(_other_field, path, [number, turn])
                yield Example(f"field {name}", name, make)
    for name in CELL_SETS:
        yield from _cells(sets[name], data / SOURCES[name], name, split)
    if split != "test":
        for sample in sets["pbc"].subset(split):
            yield Example("cell pbc", "pbc", partial(_read, sample.path))
    else:
        for sample in sets["pbc-test"]:
            yield Example("cell pbc", "pbc", partial(_read, sample.path))
    yield from _synthetic(_SYNTHETIC[split])


def views(examples: Iterator[Example]) -> Views:
    """Make all examples."""
    pixels, kept = [], []
    for example in examples:
        image = example.make()
        pixels.append(np.rint(view_of(images.fit(image)[None])[0]).astype(np.uint8))
        kept.append(example)
    return Views(
        np.stack(pixels),
        np.array([one.is_field for one in kept]),
        np.array([one.group for one in kept]),
        np.array([one.lab for one in kept]),
    )


def _cells(data: Dataset, fields: Path, name: str, split: Split) -> Iterator[Example]:
    lab = "pbc" if name == "txl-pbc" else name
    cells = [c for c in read_cells(data.root / "cells.csv") if c.split == split and c.box]
    rng = np.random.default_rng(0)
    for label, most in _MOST_CELLS.items():
        own = [cell for cell in cells if cell.label == label]
        for i in rng.permutation(len(own))[:most]:
            cell = own[i]
            context = 1.2 if split != "train" else float(rng.uniform(1.0, 1.5))
            image = _read(fields / cell.source)
            assert cell.box is not None
            side = context * max(cell.box[2] - cell.box[0], cell.box[3] - cell.box[1])
            if side < _WHOLE * min(image.shape[:2]):
                make = partial(_crop, fields / cell.source, cell.box, context)
                yield Example(f"cell {name}", lab, make)


def _crop(path: Path, box: images.boxes.Box, context: float) -> NDArray[np.uint8]:
    return crop(_read(path), box, context)[0]


def _synthetic(seeds: range) -> Iterator[Example]:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        lab = str(rng.choice(list(LABS)))
        height = int(rng.integers(240, 640))
        size = (height, int(height * rng.uniform(0.75, 1.5)))
        yield Example("field synthetic", lab, lambda s=seed, z=size: render_field(s, z).image)
        kind = str(rng.choice(KINDS))
        yield Example("cell synthetic", lab, partial(_cell, kind, seed))
        if seed % 3 == 0:
            yield Example("no cell", lab, partial(render_decoy, seed))


def _cell(kind: str, seed: int) -> NDArray[np.uint8]:
    return render_cell(kind, seed)


def _other_field(path: Path, seed: list[int]) -> NDArray[np.uint8]:
    """Return a window of a field, or a mosaic of its reflections, which shows smaller cells."""
    rng = np.random.default_rng(seed)
    field = _read(path)
    height, width = field.shape[:2]
    if rng.random() < 0.5:
        sides = rng.uniform(_WINDOW, 1.0, 2)
        rows, columns = int(sides[0] * height), int(sides[1] * width)
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        return field[top : top + rows, left : left + columns]
    across, along = rng.integers(1, 5, 2) if rng.random() < 0.7 else (2, 2)
    upper = np.concatenate([field[:: (-1) ** i] for i in range(int(along))])
    mosaic = np.concatenate([upper[:, :: (-1) ** i] for i in range(int(across))], axis=1)
    return np.ascontiguousarray(mosaic)


@lru_cache(maxsize=64)
def _read(path: Path) -> NDArray[np.uint8]:
    return images.read(path)
