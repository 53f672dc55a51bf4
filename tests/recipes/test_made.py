"""Heads come back as they were, each under the name of its task."""

from pathlib import Path

import numpy as np

from hematovision.model.head import Head
from recipes.hematology_backbone.made import read_heads, write_heads


def a_head(seed: int, classes: int) -> Head:
    rng = np.random.default_rng(seed)
    widths = ((1280, 128), (128, classes))
    return Head(tuple((rng.normal(size=w), rng.normal(size=w[1])) for w in widths))


def test_heads_come_back_bit_by_bit(tmp_path: Path):
    heads = {"cells": a_head(0, 3), "pbc8": a_head(1, 8)}
    write_heads(tmp_path / "heads.npz", heads)
    found = read_heads(tmp_path / "heads.npz")
    assert found.keys() == heads.keys()
    for task, head in heads.items():
        for pair, same in zip(head.layers, found[task].layers, strict=True):
            np.testing.assert_array_equal(pair[0], same[0])
            np.testing.assert_array_equal(pair[1], same[1])
