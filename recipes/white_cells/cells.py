"""The white cells of four labs by kind: framed by the red cells, with the stain of their images.

Each lab's cells are cut out once, into `WORK/white-cells/LAB.npz`. A cell is 5.5 diameters of a red
cell wide, more than any model sees, so that batches can move, scale and turn it.

Splits, by the units of `DATA/README.md`:

- pbc: 90/10 of `pbc/train` by image; `pbc/val` is the test split, used for nothing but the results.
- raabin: slides 70/10/20, seeded; the basophils, which come from four dates, by date.
- bccd: the official lists. krd: fields 70/10/20, seeded, each kind alike.

A reader, who is no haematologist, looked at all 334 labelled cells of bccd in random order without
the labels (`bccd_kinds.csv`). 31 of 81 "eosinophils" are neutrophils to this reader; no neutrophil
and no lymphocyte is another kind. Cells on which reader and label differ, or whose kind the reader
could not see, are not trained on.

`platelets` of pbc and bccd are cut out alike: the detector takes giant ones for white cells.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.fields import CELL_CLASSES
from hematovision.fields.finding import FieldFinder, Found
from hematovision.fields.framing import square
from hematovision.images.stain import Stain
from hematovision.model.detector import Detector
from hematovision.safe_xml import parse
from hematovision.taxonomy import WHITE_CELLS

__all__ = [
    "DIAMETERS", "LABS", "NO_CLASS", "PLATELETS", "SHARES", "SIDE", "TASK", "Cells", "Source",
    "folder_of", "joined", "prepare", "sources",
]  # fmt: skip

LABS = ("pbc", "raabin", "bccd", "krd")
SHARES = {"pbc": 0.45, "raabin": 0.33, "bccd": 0.12, "krd": 0.10}
"""How often each lab is sampled in training."""

PLATELETS = {"pbc": "pbc-platelets", "bccd": "bccd-platelets"}
"""The sets of platelets by lab."""

NO_CLASS = -1
"""The label of cells that are of no kind."""

SIDE, DIAMETERS = 264, 5.5
"""Pixels, and diameters of a red cell, that a stored cell is wide."""

TASK = "kinds"
"""The name of the head in the files of a training."""

_SEED = 0
_NEAR = 0.8
"""A white cell this near to the middle of a single-cell image, in red cells, is the labelled."""

_BASOPHILS = {"20190526": "test", "20190527": "valid"}


class Source(NamedTuple):
    """One labelled white cell in its image."""

    path: Path
    kind: str
    group: str  # image, field or slide
    split: str
    box: tuple[float, float, float, float] | None  # None: the cell in the middle
    agreed: bool = True  # whether a second reader, if any, sees this kind, too


@dataclass(frozen=True, eq=False)
class Cells:
    """The white cells of one lab, as arrays over N cells."""

    pixels: NDArray[np.uint8]  # (N, SIDE, SIDE, 3)
    labels: NDArray[np.int64]  # index in `WHITE_CELLS.classes`, or `NO_CLASS`
    groups: NDArray[np.str_]
    splits: NDArray[np.str_]
    names: NDArray[np.str_]
    agreed: NDArray[np.bool_]
    diameters: NDArray[np.float32]  # of a red cell in pixels of the image; 0 if none was found
    stains: NDArray[np.float32]  # (N, 6): background and red cell; NaN if not measured

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, *splits: str) -> Cells:
        """Return the cells of some splits."""
        return self[np.isin(self.splits, splits)]

    @property
    def training(self) -> Cells:
        """The cells to train on."""
        return self[(self.splits == "train") & self.agreed]

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Cells:
        return Cells(**{name: values[chosen] for name, values in vars(self).items()})

    def stain(self, number: int) -> Stain | None:
        """Return the stain of a cell's image."""
        values = [float(value) for value in self.stains[number]]
        if not np.isfinite(values).all():
            return None
        return Stain((values[0], values[1], values[2]), (values[3], values[4], values[5]))


def joined(parts: Sequence[Cells]) -> Cells:
    """Return the cells of several labs as one."""
    names = vars(parts[0])
    return Cells(**{name: np.concatenate([vars(one)[name] for one in parts]) for name in names})


def prepare(
    data: Path, work: Path, labs: Sequence[str] = (*LABS, *PLATELETS.values())
) -> dict[str, Cells]:
    """Cut out the cells of each lab (those that are there already are kept) and read them."""
    folder = work / "white-cells"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for lab in labs:
        path = folder / f"{lab}.npz"
        if not path.exists():
            partial = path.with_suffix(".new.npz")
            np.savez(partial, **vars(_cut_all(list(sources(data, lab)))))
            partial.replace(path)
        with np.load(path, allow_pickle=False) as arrays:
            found[lab] = Cells(**{name: arrays[name] for name in arrays.files})
    return found


def folder_of(work: Path, without: Sequence[str], seed: int, name: str = "") -> Path:
    """Return where a training's log, checkpoints and weights are kept."""
    labs = f"without-{'-'.join(sorted(without))}" if without else "all"
    return work / "white-cells" / ("-".join([labs, str(seed), *([name] if name else [])]))


def sources(data: Path, lab: str) -> Iterator[Source]:
    """Yield the labelled white cells of a lab, with their splits."""
    yield from _SOURCES[lab](data)


def _pbc(data: Path) -> Iterator[Source]:
    rng = np.random.default_rng(_SEED)
    for folder in ("train", "val"):
        for kind in WHITE_CELLS.classes:
            for path in sorted((data / "pbc" / folder / kind).glob("*.jpg")):
                split = "valid" if rng.random() < 0.1 else "train"
                yield Source(path, kind, path.stem, "test" if folder == "val" else split, None)


def _raabin(data: Path) -> Iterator[Source]:
    rows = list(_rows(data / "raabin" / "index.csv"))
    slides = _shares(sorted({row["slide"] for row in rows if row["kind"] != "basophil"}))
    for row in rows:
        is_basophil = row["kind"] == "basophil"
        split = _BASOPHILS.get(row["slide"], "train") if is_basophil else slides[row["slide"]]
        yield Source(data / "raabin" / row["image"], row["kind"], row["slide"], split, None)


def _bccd(data: Path) -> Iterator[Source]:
    lists = data / "bccd" / "ImageSets" / "Main"
    split = {
        stem: {"val": "valid"}.get(name, name)
        for name in ("train", "val", "test")
        for stem in (lists / f"{name}.txt").read_text().split()
    }
    for row in _rows(Path(__file__).with_name("bccd_kinds.csv")):
        path = data / "bccd" / "JPEGImages" / row["image"]
        kind, agreed = row["published"], row["published"] == row["reader"]
        yield Source(path, kind, path.stem, split[path.stem], _box(row), agreed)


def _krd(data: Path) -> Iterator[Source]:
    rows = list(_rows(data / "krd" / "white_cells.csv"))
    for kind in WHITE_CELLS.classes:
        own = [row for row in rows if row["kind"] == kind]
        split = _shares([row["image"] for row in own])
        for row in own:
            path = data / "krd" / "images" / row["image"]
            yield Source(path, kind, path.stem, split[row["image"]], _box(row))


def _pbc_platelets(data: Path) -> Iterator[Source]:
    for path in sorted((data / "pbc" / "train" / "platelet").glob("*.jpg")):
        yield Source(path, "platelet", path.stem, "train", None)


def _bccd_platelets(data: Path) -> Iterator[Source]:
    lists = data / "bccd" / "ImageSets" / "Main"
    for stem in (lists / "train.txt").read_text().split():
        annotations = (data / "bccd" / "Annotations" / f"{stem}.xml").read_bytes()
        for cell in parse(annotations).iter("object"):
            sides = {one.tag: one.text or "" for one in cell.iter()}
            if sides["name"] == "Platelets":
                path = data / "bccd" / "JPEGImages" / f"{stem}.jpg"
                yield Source(path, "platelet", stem, "train", _box(sides))


_SOURCES: Mapping[str, Callable[[Path], Iterator[Source]]] = {
    "pbc": _pbc,
    "raabin": _raabin,
    "bccd": _bccd,
    "krd": _krd,
    "pbc-platelets": _pbc_platelets,
    "bccd-platelets": _bccd_platelets,
}


def _shares(names: Sequence[str]) -> Mapping[str, str]:
    """Split names 70/10/20."""
    order = np.random.default_rng(_SEED).permutation(len(names))
    ends = (round(0.7 * len(names)), round(0.8 * len(names)))
    return {
        names[i]: "train" if place < ends[0] else "valid" if place < ends[1] else "test"
        for place, i in enumerate(order)
    }


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as stream:
        yield from csv.DictReader(stream)


def _box(row: Mapping[str, str]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax"))
    return x0, y0, x1, y1


def _cut_all(found: Sequence[Source]) -> Cells:
    finder = FieldFinder(Detector.load())
    with ThreadPoolExecutor(2) as pool:
        cut = list(pool.map(lambda source: _cut(finder, source), found))
    return Cells(
        pixels=np.stack([one[0] for one in cut]),
        labels=np.array([_number(source.kind) for source in found]),
        groups=np.array([source.group for source in found]),
        splits=np.array([source.split for source in found]),
        agreed=np.array([source.agreed for source in found]),
        names=np.array([f"{s.path.parent.name}/{s.path.name}" for s in found]),
        diameters=np.array([one[1] for one in cut], np.float32),
        stains=np.array([one[2] for one in cut], np.float32),
    )


def _number(kind: str) -> int:
    return WHITE_CELLS.index(kind) if kind in WHITE_CELLS.classes else NO_CLASS


def _cut(finder: FieldFinder, source: Source) -> tuple[NDArray[np.uint8], float, list[float]]:
    """Return a cell's pixels, the diameter of the red cells (0 if unknown) and the stain."""
    pixels = images.read(source.path)
    found = finder.find(pixels, source.path.name)
    scale, stain = found.context.scale, found.context.stain
    height, width = pixels.shape[:2]
    box = source.box or _central(found, width, height)
    # Without red cells, the image is framed like those of PBC.
    diameter = scale.diameter if scale.known else min(height, width) * 83 / 360
    cell = images.fit(square(pixels, np.array(box, np.float32), DIAMETERS * diameter), SIDE)
    colours = [*stain.background, *stain.red_cell] if stain else [np.nan] * 6
    return cell, scale.diameter if scale.known else 0.0, colours


def _central(found: Found, width: int, height: int) -> tuple[float, float, float, float]:
    """Return the box of the white cell in the middle of an image; without one, the whole image."""
    whites = found.boxes[found.labels == CELL_CLASSES.index("WBC")]
    away = np.hypot(*((whites[:, :2] + whites[:, 2:] - (width, height)) / 2).T)
    if not len(whites) or away.min() > _NEAR * found.context.scale.diameter:
        return 0.0, 0.0, float(width), float(height)
    x0, y0, x1, y1 = map(float, whites[away.argmin()])
    return x0, y0, x1, y1
