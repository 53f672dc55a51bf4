"""The training fields of the detector: images at one scale, boxes, and what is not annotated.

Every field is stored at `STORED_PX` pixels per red cell, the median width of its annotated red
cells. `known` is the weight of background for each class: 1 where every cell of the class has a
box, less where boxes are missing (BCCD's red cells), 0 where the class is not annotated.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision import images
from hematovision.data.cells import read_cells
from hematovision.data.formats.annotations import AnnotatedField
from hematovision.data.formats.reading import read_fields
from hematovision.errors import AnnotationError
from hematovision.images.boxes import clip_box
from hematovision.model.preprocessing import rebalanced, white_point
from hematovision.synthetic import LABS as SYNTHETIC_LABS
from hematovision.synthetic import render_field
from hematovision.taxonomy import RBC_WBC_PLATELETS
from recipes.hematology_backbone.synthetic import RESEMBLES
from recipes.sets import SOURCES, TXL_NAMES

__all__ = [
    "CLASSES", "SETS", "STEPS", "STORED_PX", "Field", "annotated", "folder_of", "synthetic",
    "unannotated", "with_labels",
]  # fmt: skip

CLASSES = RBC_WBC_PLATELETS.classes
STORED_PX = 72.0
"""Pixels per red cell of the stored fields: twice the scale of the detector."""

STEPS = 3000
"""Batches of the training."""

SETS = ("bccd", "raabin", "txl-pbc", "draaslan")
"""The annotated sets of `recipes.sets`."""

_SMALLEST_SAMPLE = 4  # red cells inside a field from which its own median is taken
_FORMATS = {"bccd": "voc", "raabin": "yolo", "txl-pbc": "yolo", "draaslan": "csv"}
_KNOWN = {
    "bccd": (0.35, 1.0, 0.7),
    "raabin": (1.0, 1.0, 0.2),
    "txl-pbc": (1.0, 1.0, 1.0),
    "draaslan": (1.0, 1.0, 0.0),
}
"""Weights of background. BCCD has red cells without boxes; Raabin has 28 platelets in 500 fields,
and draaslan none, though some are visible."""

LAB_OF = {"bccd": "bccd", "raabin": "raabin", "txl-pbc": "pbc", "draaslan": "draaslan"}
_KRD_PX = 78.0
"""Width of KRD's red cells in pixels, measured on ten images."""


@dataclass(frozen=True, eq=False)
class Field:
    """A field at `STORED_PX`."""

    name: str
    lab: str
    pixels: NDArray[np.uint8]  # white-balanced, (H, W, 3)
    boxes: NDArray[np.float32]  # (N, 4), in pixels of `pixels`
    labels: NDArray[np.int64]  # (N,), indices in `CLASSES`
    known: tuple[float, float, float]
    ignored: NDArray[np.float32]  # (M, 4): boxes in which nothing is known


def folder_of(
    work: Path, without: str | None, seed: int, steps: int, only: str | None = None
) -> Path:
    """Return where a detector's log, checkpoints and graph are kept."""
    labs = f"without-{without}" if without else f"only-{only}" if only else "all"
    return work / "detector" / (f"{labs}-{seed}" + (f"-{steps}-steps" if steps != STEPS else ""))


def annotated(
    name: str, data: Path, work: Path, splits: Iterable[str]
) -> tuple[list[Field], float]:
    """Return the fields of an annotated set in some splits, and their median red cell in pixels."""
    found = read_fields(data / SOURCES[name], _FORMATS[name], names=_names(name))
    sides = _splits(name, data, work)
    chosen = [f for f in found.fields if sides.get(Path(f.name).name) in set(splits)]
    sizes = {f.name: _open(f.image).size for f in chosen}
    boxes = {f.name: _boxes(f, *sizes[f.name]) for f in chosen}
    usual = float(np.median([d for f in chosen for d in _diameters(boxes[f.name], sizes[f.name])]))
    fields = []
    for field in chosen:
        own = _diameters(boxes[field.name], sizes[field.name])
        red = float(np.median(own)) if len(own) >= _SMALLEST_SAMPLE else usual
        labelled = boxes[field.name]
        fields.append(_field(name, field.name, field.image, labelled, red, _KNOWN[name]))
    return fields, usual


def unannotated(
    data: Path, work: Path, without: str | None, usual: Mapping[str, float]
) -> list[Field]:
    """Return single-cell images and KRD's fields, whose cells the detector labels itself.

    `usual` has the median red cell of the annotated sets of the same labs, in pixels.
    """
    rng = np.random.default_rng(0)
    fields: list[Field] = []
    if without != "pbc":
        boxed = {f.name for f in (data / SOURCES["txl-pbc"] / "images").iterdir()}
        index = list(csv.DictReader((data / "txl" / "index.csv").open()))
        shown = {row["pbc_file"] for row in index if row["image"] in boxed}
        cells = [c for c in read_cells(work / "sets" / "pbc" / "cells.csv") if c.split == "train"]
        paths = [p for c in cells if (p := work / "sets" / "pbc" / c.file).name not in shown]
        red = usual["txl-pbc"]
        fields += [_field("pbc", p.stem, p, [], red, (0, 0, 0)) for p in _some(rng, paths, 900)]
    if without != "raabin":
        rows = list(csv.DictReader((data / "raabin" / "index.csv").open()))
        sides = _splits("raabin", data, work)
        free = [
            data / "raabin" / row["image"]
            for row in rows
            if sides.get(Path(row["txl_raabin_image"]).stem, "train") == "train"
        ]
        red = usual["raabin"] * 400 / 575  # the same cameras, stored smaller
        fields += [_field("raabin", p.stem, p, [], red, (0, 0, 0)) for p in _some(rng, free, 500)]
    whites = _krd_boxes(data)
    for path in sorted((data / "krd" / "images").iterdir()):
        known = whites.get(path.name, [])
        fields += [_field("krd", path.stem, path, known, _KRD_PX, (0, 1, 0))]
    return fields


def synthetic(without: str | None, count: int = 60) -> list[Field]:
    """Return rendered fields of every synthetic lab, but those modelled on the lab left out."""
    left_out = RESEMBLES[without] if without else ()
    fields = []
    for lab in SYNTHETIC_LABS:
        for seed in range(count if lab not in left_out else 0):
            made = render_field(seed + 5000, size=(480, 640), lab=lab)
            cells = [(_class_of(c.kind), tuple(map(float, c.box))) for c in made.cells]
            whole = [
                (b[2] - b[0] + b[3] - b[1]) / 2
                for c, (_, b) in zip(made.cells, cells, strict=True)
                if c.kind == "rbc" and not c.touches_border
            ]
            if len(whole) < _SMALLEST_SAMPLE:
                continue
            fields.append(
                _at_scale(
                    "synthetic",
                    f"{lab}-{seed}",
                    made.image,
                    cells,
                    float(np.median(whole)),
                    (1, 1, 1),
                )
            )
    return fields


def with_labels(
    field: Field,
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    ignored: NDArray[np.float32],
    known: tuple[float, float, float],
) -> Field:
    """Return the field with other boxes."""
    return replace(field, boxes=boxes, labels=labels, ignored=ignored, known=known)


def _class_of(kind: str) -> int:
    # A nucleated cell's lineage is for the subtype, which counts erythroblasts.
    return {"rbc": 0, "platelet": 2}.get(kind, 1)


def _names(name: str) -> Sequence[str] | None:
    return TXL_NAMES if _FORMATS[name] == "yolo" else None


def _splits(name: str, data: Path, work: Path) -> dict[str, str]:
    """Return the split of each field by its stem: the official one, or that of `recipes.sets`."""
    if name == "bccd":
        lists = {
            name: (data / "bccd/ImageSets/Main" / f"{name}.txt").read_text().split()
            for name in ("train", "val", "test")
        }
        # A third of the official validation fields sets the thresholds; the others train.
        sides = dict.fromkeys([*lists["train"], *lists["val"]], "train")
        sides |= dict.fromkeys(sorted(lists["val"])[::3], "valid")
        return sides | dict.fromkeys(lists["test"], "test")
    cells = read_cells(work / "sets" / name / "cells.csv")
    return {Path(cell.source).stem: str(cell.split) for cell in cells}


def _open(path: Path) -> Image.Image:
    return Image.fromarray(images.read(path))


def _boxes(field: AnnotatedField, width: int, height: int) -> list[tuple[int, tuple[float, ...]]]:
    boxes = []
    for named in field.boxes:
        try:
            box = clip_box(field.box_in_pixels(named.box, width, height), width, height)
        except AnnotationError:
            continue
        boxes.append((CLASSES.index(RBC_WBC_PLATELETS.resolve(named.label)), tuple(box)))
    return boxes


def _diameters(
    boxes: Iterable[tuple[int, tuple[float, ...]]], size: tuple[int, int]
) -> list[float]:
    """Return the mean of width and height of the red cells inside a field."""
    return [
        (b[2] - b[0] + b[3] - b[1]) / 2
        for label, b in boxes
        if label == 0 and b[0] > 1 and b[1] > 1 and b[2] < size[0] - 1 and b[3] < size[1] - 1
    ]


def _krd_boxes(data: Path) -> dict[str, list[tuple[int, tuple[float, ...]]]]:
    boxes: dict[str, list[tuple[int, tuple[float, ...]]]] = {}
    with (data / "krd" / "white_cells.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            box = tuple(float(row[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            boxes.setdefault(row["image"], []).append((1, box))
    return boxes


def _field(
    lab: str,
    name: str,
    path: Path,
    boxes: Sequence[tuple[int, tuple[float, ...]]],
    red: float,
    known: tuple[float, float, float],
) -> Field:
    return _at_scale(LAB_OF.get(lab, lab), name, images.read(path), boxes, red, known)


def _at_scale(
    lab: str,
    name: str,
    pixels: NDArray[np.uint8],
    boxes: Sequence[tuple[int, tuple[float, ...]]],
    red: float,
    known: tuple[float, float, float],
) -> Field:
    factor = STORED_PX / red
    balanced = rebalanced(pixels, white_point(pixels))
    height, width = (max(8, round(side * factor)) for side in pixels.shape[:2])
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    stored = np.asarray(Image.fromarray(balanced).resize((width, height), method))
    scaled = np.array([b for _, b in boxes], np.float32).reshape(-1, 4) * np.float32(factor)
    labels = np.array([label for label, _ in boxes], np.int64)
    known = (float(known[0]), float(known[1]), float(known[2]))
    return Field(name, lab, stored, scaled, labels, known, np.zeros((0, 4), np.float32))


def _some(rng: np.random.Generator, paths: Sequence[Path], count: int) -> Iterator[Path]:
    for index in sorted(rng.permutation(len(paths))[:count]):
        yield paths[index]
