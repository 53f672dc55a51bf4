"""The training data of the bundled models, with or without one lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hematovision.data.samples import Dataset, Sample
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS
from recipes.sets import LABS, OF_THREE

__all__ = ["cells_dataset", "pbc8_dataset"]

# More red cells of a set cost time and add nothing: nine of ten cells are red.
_MOST_RED = 1500
# Single-cell images of each fine class: their framing is like another lab.
_WIDE = {"train": 100, "valid": 20}


def cells_dataset(
    sets: Mapping[str, Dataset], *, without: str | None = None, seed: int = 0
) -> Dataset:
    """Return the cells of RBC, WBC and platelets.

    They are the crops of all labs but `without`, with at most 1,500 red cells of each set in the
    training split, and 120 single-cell images of each class of `pbc` (nucleated red
    cells are red cells). The other splits are whole, so that
    calibration gives red cells the share they have in blood.
    """
    rng = np.random.default_rng(seed)
    names = [name for lab, names in LABS.items() if lab != without for name in names]
    kept: list[Sample] = []
    for name in names:
        if name == "pbc":
            kept += _wide(sets[name].samples, rng)
        else:
            kept += _fewer_red(sets[name].samples, rng)
    root = next(iter(sets.values())).root.parent
    return Dataset(root, RBC_WBC_PLATELETS, tuple(sorted(kept, key=lambda s: s.path)))


def pbc8_dataset(sets: Mapping[str, Dataset]) -> Dataset:
    """Return the eight classes of PBC: Train and Valid from `pbc/train`, `pbc/val` as Test."""
    test = [replace(sample, split="test") for sample in sets["pbc-test"]]
    samples = sorted([*sets["pbc"].samples, *test], key=lambda s: s.path)
    return Dataset(sets["pbc"].root.parent, PBC8, tuple(samples))


def _fewer_red(samples: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
    kept = [s for s in samples if s.split != "train" or s.label != "RBC"]
    red = [s for s in samples if s.split == "train" and s.label == "RBC"]
    return kept + [red[i] for i in rng.permutation(len(red))[:_MOST_RED]]


def _wide(samples: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
    kept: list[Sample] = []
    for label in PBC8.classes:
        for split, most in _WIDE.items():
            own = [s for s in samples if s.split == split and s.label == label]
            chosen = [own[i] for i in rng.permutation(len(own))[:most]]
            kept += [replace(s, label=OF_THREE[label]) for s in chosen]
    return kept
