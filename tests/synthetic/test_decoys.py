"""Decoys show no cell, are all different, and are the same every time."""

import numpy as np
import pytest

from hematovision.synthetic import render_cell
from hematovision.synthetic.decoys import DRAWN, SPOILT, render_decoy, spoil


@pytest.fixture(scope="module")
def cell():
    return render_cell("neutrophil", 0, size=224)


def test_each_number_draws_its_own_image_and_always_the_same():
    drawn = [render_decoy(number) for number in range(3 * len(DRAWN))]
    assert all(image.shape == (224, 224, 3) and image.dtype == np.uint8 for image in drawn)
    assert len({image.tobytes() for image in drawn}) == len(drawn)
    for number in range(len(DRAWN)):
        np.testing.assert_array_equal(render_decoy(number), drawn[number])


def test_a_row_of_decoys_has_every_kind():
    # Plain and sloped ones have no detail, grains have much, drawings have edges and areas.
    detail = [
        np.abs(np.diff(render_decoy(n).astype(int), axis=1)).mean() for n in range(len(DRAWN))
    ]
    assert min(detail) < 0.5
    assert max(detail) > 20


@pytest.mark.parametrize("number", range(2 * len(SPOILT)))
def test_a_spoilt_image_is_made_of_the_cells_image_but_shows_no_cell(cell, number):
    spoilt = spoil(cell, number)
    assert spoilt.shape == (224, 224, 3)
    assert np.corrcoef(spoilt.ravel(), cell.ravel())[0, 1] < 0.9
    np.testing.assert_array_equal(spoil(cell, number), spoilt)
    assert cell.min() - 1 <= spoilt.min()
    assert spoilt.max() <= cell.max() + 1


def test_the_ways_differ(cell):
    ways = dict(
        zip(SPOILT, (spoil(cell, number).astype(float) for number in range(4)), strict=True)
    )
    sharpness = {way: np.abs(np.diff(image, axis=1)).mean() for way, image in ways.items()}
    whole = np.abs(np.diff(cell.astype(float), axis=1)).mean()
    assert sharpness["blurred"] < sharpness["crowded"] < whole < sharpness["shuffled"]
    assert ways["corner"].std() < cell.std()
