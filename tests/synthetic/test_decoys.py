"""Decoys show no cell, all differ, and are reproducible."""

import numpy as np
import pytest

from hematovision.synthetic import render_cell
from hematovision.synthetic.decoys import RENDERED, SPOILT, render_decoy, spoil


@pytest.fixture(scope="module")
def cell():
    return render_cell("neutrophil", 0, size=224)


def test_each_number_gives_its_own_reproducible_image():
    rendered = [render_decoy(number) for number in range(3 * len(RENDERED))]
    assert all(image.shape == (224, 224, 3) and image.dtype == np.uint8 for image in rendered)
    assert len({image.tobytes() for image in rendered}) == len(rendered)
    for number in range(len(RENDERED)):
        np.testing.assert_array_equal(render_decoy(number), rendered[number])


def test_consecutive_decoys_are_of_every_kind():
    # Plain and sloped ones have no detail, noise has much, shapes have edges and areas.
    detail = [
        np.abs(np.diff(render_decoy(n).astype(int), axis=1)).mean() for n in range(len(RENDERED))
    ]
    assert min(detail) < 0.5
    assert max(detail) > 20


@pytest.mark.parametrize("number", range(2 * len(SPOILT)))
def test_a_spoilt_image_is_derived_from_the_cell_image_but_shows_no_cell(cell, number):
    spoilt = spoil(cell, number)
    assert spoilt.shape == (224, 224, 3)
    assert np.corrcoef(spoilt.ravel(), cell.ravel())[0, 1] < 0.9
    np.testing.assert_array_equal(spoil(cell, number), spoilt)
    assert cell.min() - 1 <= spoilt.min()
    assert spoilt.max() <= cell.max() + 1


def test_the_ways_to_destroy_a_cell_differ(cell):
    ways = dict(
        zip(SPOILT, (spoil(cell, number).astype(float) for number in range(4)), strict=True)
    )
    sharpness = {way: np.abs(np.diff(image, axis=1)).mean() for way, image in ways.items()}
    whole = np.abs(np.diff(cell.astype(float), axis=1)).mean()
    assert sharpness["blurred"] < sharpness["crowded"] < whole < sharpness["shuffled"]
    assert ways["corner"].std() < cell.std()
