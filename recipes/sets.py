"""The images of the recipes, imported and split once, with no cell on two sides.

Run by the recipes themselves; every choice that keeps test images out of training is here:

- BCCD keeps its official split. `bccd-cbc` is the same fields with the repaired boxes of CBC.
- `pbc/val` is a test set, imported for the last evaluation only (`pbc-test`). `pbc/train` is cut
  90/10 into Train and Valid.
- `txl/pbc` shows PBC images: each goes where the PBC file it shows went; those of `pbc/val` go to
  Test; those that are in neither are split by image.
- `txl/raabin` and `draaslan` have no official split: 70/15/15 by field, seeded.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hematovision.data.folders import read_dataset
from hematovision.data.importing import import_dataset
from hematovision.data.samples import Dataset
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS

SEED = 0
TXL_NAMES = ("WBC", "RBC", "Platelets")
PBC_SETS = ("pbc", "pbc-test")
CELL_SETS = ("bccd", "raabin", "txl-pbc", "draaslan")

LABS = {
    "bccd": ("bccd",),
    "raabin": ("raabin",),
    "pbc": ("txl-pbc", "pbc"),
    "draaslan": ("draaslan",),
}
"""The laboratories and the sets whose images come from each."""

OF_THREE = dict.fromkeys(PBC8.classes, "WBC") | {"erythroblast": "RBC", "platelet": "Platelets"}
"""The class in `RBC_WBC_PLATELETS` of each of PBC's single cells."""

SOURCES = {
    "bccd": Path("bccd"),
    "bccd-cbc": Path("bccd"),
    "raabin": Path("txl", "raabin"),
    "draaslan": Path("draaslan"),
    "txl-pbc": Path("txl", "pbc"),
    "pbc": Path("pbc", "train"),
    "pbc-test": Path("pbc", "val"),
}
"""The folder of each set below that of the real images."""


def prepare(data: Path, work: Path) -> dict[str, Dataset]:
    """Import all sets below `work` (those that are there already are kept) and read them."""
    boxes = {"taxonomy": RBC_WBC_PLATELETS, "seed": SEED}
    jobs = {
        "pbc": lambda to: import_dataset(
            data / SOURCES["pbc"],
            to,
            format="folders",
            split="90/10",
            lab="pbc",
            taxonomy=PBC8,
            seed=SEED,
        ),
        "pbc-test": lambda to: import_dataset(
            data / SOURCES["pbc-test"], to, format="folders", split="none", lab="pbc", taxonomy=PBC8
        ),
        "bccd": lambda to: import_dataset(data / "bccd", to, format="voc", lab="bccd", **boxes),
        "raabin": lambda to: import_dataset(
            data / SOURCES["raabin"], to, format="yolo", names=TXL_NAMES, lab="raabin", **boxes
        ),
        "bccd-cbc": lambda to: import_dataset(
            data / "bccd",
            to,
            format="voc",
            annotations=data / "bccd" / "Annotations-CBC",
            lab="bccd",
            **boxes,
        ),
        "draaslan": lambda to: import_dataset(
            data / "draaslan", to, format="csv", lab="draaslan", **boxes
        ),
        "txl-pbc": lambda to: import_dataset(
            data / SOURCES["txl-pbc"],
            to,
            format="yolo",
            names=TXL_NAMES,
            lab="pbc",
            split=str(_txl_pbc_lists(data, work)),
            **boxes,
        ),
    }
    sets = {}
    for name, job in jobs.items():
        folder = work / "sets" / name
        if not folder.exists():
            job(folder)
        sets[name] = read_dataset(folder, PBC8 if name in PBC_SETS else RBC_WBC_PLATELETS)
        print(name, {split: sets[name].subset(split).counts() for split in sets[name].splits})
    return sets


def _txl_pbc_lists(data: Path, work: Path) -> Path:
    """Write train.txt, valid.txt and test.txt for `txl/pbc`, following the PBC files."""
    pbc = read_dataset(work / "sets" / "pbc", PBC8)
    side = {sample.path.name: sample.split for sample in pbc}
    side |= {path.name: "test" for path in (data / "pbc" / "val").rglob("*.jpg")}
    rng = np.random.default_rng(SEED)
    lists: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    with (data / "txl" / "index.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["lab"] != "pbc":
                continue
            free = str(rng.choice(["train", "valid", "test"], p=[0.7, 0.15, 0.15]))
            lists[side.get(row["pbc_file"]) or free].append(Path(row["image"]).stem)
    folder = work / "lists" / "txl-pbc"
    folder.mkdir(parents=True, exist_ok=True)
    for name, stems in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(sorted(stems)) + "\n")
    return folder
