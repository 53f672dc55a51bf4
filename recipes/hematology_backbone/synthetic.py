"""Synthetic fields as further labs: other stains, optics and sizes, with exact ground truth.

They add platelets above all, because nearly all real ones come from two labs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hematovision import images
from hematovision.data.cells import Cell, write_cells
from hematovision.images.boxes import MIN_SIDE
from hematovision.synthetic import LABS, Field, RenderedCell, render_field

__all__ = ["RESEMBLES", "write_synthetic_fields"]

RESEMBLES = {
    "pbc": ("synthetic-a",),
    "bccd": ("synthetic-b",),
    "raabin": ("synthetic-c", "synthetic-d"),
    "draaslan": (),
}
"""Synthetic labs modelled on a real one: they are left out with it."""

_FIELDS = 110  # Fields of each synthetic lab.
_WHITE = ("basophil", "eosinophil", "ig", "lymphocyte", "monocyte", "neutrophil")
_PLATELETS = 4
_LEAST_SIDE = 2.0 * MIN_SIDE  # Smaller cells at the border show nothing.


def write_synthetic_fields(folder: Path) -> dict[str, Path]:
    """Render fields of every synthetic lab into `folder`, once.

    Each has 6 to 13 red cells, 4 platelets and 3 white cells of different kinds.

    Returns
    -------
    dict of str to Path
        For each lab a folder with ``cells.csv`` and its fields.
    """
    return {lab: _write_lab(folder / lab, lab) for lab in LABS}


def _write_lab(folder: Path, lab: str) -> Path:
    if (folder / "cells.csv").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    cells: list[Cell] = []
    for seed in range(_FIELDS):
        field = render_field(seed, lab=lab, cells=_counts(seed))
        name = f"{lab}-{seed:03}.png"
        images.write(folder / name, field.image)
        cells += _cells(field, name)
    write_cells(folder / "cells.csv", cells)
    return folder


def _counts(seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    counts = {"rbc": int(rng.integers(6, 14)), "platelet": _PLATELETS}
    return counts | dict.fromkeys(map(str, rng.choice(_WHITE, 3, replace=False)), 1)


def _cells(field: Field, name: str) -> list[Cell]:
    return [
        Cell(
            file=f"{name}#{number}",
            source=name,
            field=name,
            lab=field.lab,
            box=tuple(map(float, cell.box)),
            label=_label(cell),
            split="train",
        )
        for number, cell in enumerate(field.cells)
        if min(cell.box[2] - cell.box[0], cell.box[3] - cell.box[1]) >= _LEAST_SIDE
    ]


def _label(cell: RenderedCell) -> str:
    return {"rbc": "RBC", "platelet": "Platelets"}.get(cell.kind, "WBC")
