"""Heads come back as they were, each under the name of its task."""

import zlib
from pathlib import Path

import numpy as np

from hematovision.model.head import Head
from hematovision.model.weights import bundled_weights
from recipes.hematology_backbone.made import read_heads, rounded, write_heads


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


def test_rounded_weights_differ_in_the_fourth_digit_and_are_half_as_large():
    weights = bundled_weights()
    found = rounded(weights)
    assert found.side == weights.side
    for name, array in weights.arrays.items():
        np.testing.assert_allclose(found.arrays[name], array, rtol=2**-11, atol=1e-30)
    assert len(zlib.compress(found.to_bytes())) < 0.65 * len(found.to_bytes())
    assert rounded(found).sha256 == found.sha256
