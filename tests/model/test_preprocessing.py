"""White balance removes the colour of the lamp; shrinking averages by area."""

import numpy as np
import pytest

from hematovision import images
from hematovision.model.graph import backbone_graph
from hematovision.model.preprocessing import (
    DARKEST_WHITE,
    WHITE,
    rebalanced,
    shrinking,
    white_balanced,
    white_point,
)
from hematovision.model.session import open_session
from hematovision.model.weights import bundled_weights


def scene(background: tuple[int, int, int]) -> np.ndarray:
    """A cell on a background that fills more than one patch."""
    image = np.empty((1, 224, 224, 3), np.uint8)
    image[:] = background
    image[0, 60:160, 60:160] = np.array(background) * (0.5, 0.2, 0.6)
    return image


def test_the_background_becomes_the_same_white_under_every_lamp():
    for background in ((240, 240, 240), (200, 180, 120), (90, 160, 210)):
        balanced = white_balanced(scene(background))
        np.testing.assert_allclose(balanced[0, 0, 0], [WHITE] * 3, rtol=1e-5)


def test_two_lamps_give_nearly_the_same_cell():
    one, other = (
        white_balanced(scene(lamp))[0, 100, 100] for lamp in ((240,) * 3, (220, 200, 140))
    )
    np.testing.assert_allclose(one, other, atol=3)


def test_a_speck_smaller_than_a_patch_changes_little():
    image = scene((180, 170, 150))
    clean = white_balanced(image)
    image[0, 5:8, 5:8] = 255
    assert np.abs(white_balanced(image)[0, 100] - clean[0, 100]).max() < 6


def test_the_gain_of_a_dark_image_is_limited():
    black = np.full((1, 224, 224, 3), 3, np.uint8)
    assert white_balanced(black).max() == pytest.approx(3 * WHITE / DARKEST_WHITE)


def test_balanced_pixels_stay_in_their_range():
    noise = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    balanced = white_balanced(noise)
    assert balanced.dtype == np.float32
    assert balanced.min() >= 0
    assert balanced.max() <= 255


def test_the_graph_balances_like_the_reference():
    weights = bundled_weights()
    image = scene((150, 200, 180))
    plain = open_session(backbone_graph(weights, white_balance=False), None)
    whole = open_session(backbone_graph(weights), None)
    # The plain graph takes integers: only rounding may differ.
    rounded = np.rint(white_balanced(image)).astype(np.uint8)
    expected = plain.run(["features"], {"images": rounded})[0]
    found = whole.run(["features"], {"images": image})[0]
    unbalanced = plain.run(["features"], {"images": image})[0]
    assert np.abs(found - expected).max() < 0.1 * np.abs(unbalanced - expected).max()


@pytest.mark.parametrize("side", [64, 96, 128, 160, 192, 224])
def test_shrinking_is_the_resize_of_fit(side: int):
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    matrix = shrinking(side).astype(np.float64)
    small = np.einsum("jw,iwc->ijc", matrix, np.einsum("ih,hwc->iwc", matrix, image))
    assert np.abs(small - images.fit(image, side)).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("side", [64, 160, 224])
def test_every_old_pixel_has_the_same_weight(side: int):
    matrix = shrinking(side)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=0), side / 224, rtol=1e-6)


def test_the_full_side_changes_nothing():
    np.testing.assert_array_equal(shrinking(224), np.eye(224))


def test_the_matrix_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        shrinking(96)[0, 0] = 1


def test_the_white_point_of_a_field_ignores_its_size_and_cells():
    field = np.full((300, 400, 3), (210, 180, 120), np.uint8)
    field[50:150, 50:250] = (90, 20, 110)
    large = field.repeat(3, axis=0).repeat(3, axis=1)
    for image in (field, large):
        np.testing.assert_allclose(white_point(image), (210, 180, 120), atol=1)


def test_a_field_is_rebalanced_by_channel_and_clipped():
    field = np.zeros((2, 2, 3), np.uint8)
    field[0, 0], field[0, 1] = (210, 180, 120), (105, 90, 60)
    field[1, 0] = (255, 255, 255)
    balanced = rebalanced(field, np.array((210, 180, 120), np.float32))
    np.testing.assert_array_equal(balanced[0, 0], [235, 235, 235])
    np.testing.assert_allclose(balanced[0, 1], [117.5] * 3, atol=0.5)
    np.testing.assert_array_equal(balanced[1, 0], [255, 255, 255])


def test_a_dark_field_is_not_scaled_without_limit():
    balanced = rebalanced(np.full((2, 2, 3), 6, np.uint8), np.array((6, 6, 6), np.float32))
    assert balanced.max() == round(6 * WHITE / DARKEST_WHITE)
