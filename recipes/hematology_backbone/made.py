"""The result of the recipe: a backbone, and the heads that were trained with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights, bundled_weights

__all__ = [
    "HEADS",
    "HERE",
    "LOG",
    "PBC8_LOG",
    "Made",
    "read_heads",
    "rounded",
    "shipped",
    "write_heads",
]

HERE = Path(__file__).resolve().parent
LOG, HEADS, PBC8_LOG = "log.csv", "heads.npz", "pbc8.csv"
"""File names, in this folder for the shipped weights, and in the folder of other weights."""


class Made(NamedTuple):
    """A backbone, and the heads that were trained with it by the names of their tasks."""

    weights: BackboneWeights
    heads: dict[str, Head]


def rounded(weights: BackboneWeights) -> BackboneWeights:
    """Return weights rounded to 11 significant bits, those of half precision.

    They stay float32, but a compressed file is about half as large, so that two backbones fit into
    one wheel. Predictions change in the third digit at most.
    """
    return BackboneWeights({n: _rounded(a) for n, a in weights.arrays.items()}, weights.side)


def _rounded(array: NDArray[np.float32]) -> NDArray[np.float32]:
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)


def shipped() -> Made:
    """Return the weights of the package, and the heads that were trained with them."""
    return Made(bundled_weights(), read_heads(HERE / HEADS))


def write_heads(path: Path, heads: Mapping[str, Head]) -> None:
    """Write heads into one NumPy file, not calibrated."""
    arrays = {
        f"{task}/{number}/{part}": values
        for task, head in heads.items()
        for number, pair in enumerate(head.layers)
        for part, values in zip(("kernel", "bias"), pair, strict=True)
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_heads(path: Path) -> dict[str, Head]:
    """Read the heads of `write_heads`."""
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    layers: dict[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
    for name in sorted(found):
        task, number, part = name.split("/")
        if part == "kernel":
            layers.setdefault(task, []).append((found[name], found[f"{task}/{number}/bias"]))
    return {task: Head(tuple(pairs)) for task, pairs in layers.items()}
