"""Shrinking averages by area, the same in every engine."""

import numpy as np
import pytest

from hematovision import images
from hematovision.model.shrink import shrinking


@pytest.mark.parametrize("side", [64, 96, 128, 160, 192, 224])
def test_it_is_the_rule_of_fit(side: int):
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    matrix = shrinking(side).astype(np.float64)
    small = np.einsum("ih,hwc,jw->ijc", matrix, picture, matrix)
    assert np.abs(small - images.fit(picture, side)).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("side", [64, 160, 224])
def test_every_old_pixel_counts_as_much_as_every_other(side: int):
    matrix = shrinking(side)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=0), side / 224, rtol=1e-6)


def test_all_of_the_image_is_the_image():
    np.testing.assert_array_equal(shrinking(224), np.eye(224))


def test_it_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        shrinking(96)[0, 0] = 1
