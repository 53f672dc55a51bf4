"""Explanation maps in closed form, and overlays in which the cell stays visible."""

import itertools

import numpy as np
import pytest

from hematovision.model.explain import (
    LEAN,
    MAX_SIDE,
    MIN_SIDE,
    both_ways,
    colour_of,
    draw_overlay,
    grad_cam,
    hottest_point,
    logit_slopes,
    placed,
    upsample,
)
from hematovision.model.head import Head


def layer(rng, inputs: int, outputs: int):
    return rng.normal(0, 0.05, (inputs, outputs)), rng.normal(0, 0.1, outputs)


@pytest.mark.parametrize("hidden", [(), (16,), (32, 8)])
def test_slopes_equal_finite_differences(hidden):
    rng = np.random.default_rng(len(hidden))
    widths = (1280, *hidden, 4)
    head = Head(tuple(layer(rng, a, b) for a, b in itertools.pairwise(widths)))
    features = rng.uniform(0, 2, (3, 1280)).astype(np.float32)
    classes = np.array([2, 0, 3])
    slopes = logit_slopes(head, features, classes)
    assert slopes.shape == (3, 1280)
    assert slopes.dtype == np.float32
    step = 1e-2
    for k in (0, 7, 1279):
        moved = np.eye(1280, dtype=np.float32)[k] * step
        ahead, behind = head.logits(features + moved), head.logits(features - moved)
        rise = (ahead - behind)[np.arange(3), classes] / (2 * step)
        np.testing.assert_allclose(slopes[:, k], rise, atol=2e-4)


def test_grad_cam_equals_a_map_computed_by_hand():
    kernel = np.zeros((1280, 2))
    kernel[0] = 3, -1  # Channel 0 is evidence for class 0 and against class 1.
    head = Head(((kernel, np.array([0.5, 0.5])),))
    feature_map = np.zeros((1, 7, 7, 1280), np.float32)
    feature_map[0, 2, 5, 0] = 4
    found = grad_cam(head, feature_map, np.array([0]))
    expected = np.zeros((1, 7, 7))
    expected[0, 2, 5] = 3 * 4 / 49
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert grad_cam(head, feature_map, np.array([1])).max() == 0, "what speaks against is left out"


def test_without_a_hidden_layer_places_and_bias_add_up_to_the_logit():
    rng = np.random.default_rng(5)
    kernel, bias = np.abs(rng.normal(0, 0.05, (1280, 3))), rng.normal(0, 0.1, 3)
    head = Head(((kernel, bias),))
    feature_map = rng.uniform(0, 2, (2, 7, 7, 1280)).astype(np.float32)
    logits = head.logits(feature_map.mean(axis=(1, 2)))
    found = grad_cam(head, feature_map, np.array([1, 2])).sum(axis=(1, 2))
    np.testing.assert_allclose(found + head.layers[0][1][[1, 2]], logits[[0, 1], [1, 2]], rtol=1e-5)


def test_no_images_have_no_maps(head):
    empty = np.zeros((0, 7, 7, 1280), np.float32)
    assert grad_cam(head, empty, np.zeros(0, np.int64)).shape == (0, 7, 7)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 3), (2, 5), (6, 0)])
def test_the_hottest_point_is_where_the_place_looks(row, column):
    attention = np.zeros((7, 7), np.float32)
    attention[row, column] = 1
    x, y = hottest_point(attention)
    # The middle of the place, a quarter of a place further; at the border up to half one.
    assert x == pytest.approx((column + 0.5 + LEAN) / 7, abs=0.5 / 7)
    assert y == pytest.approx((row + 0.5 + LEAN) / 7, abs=0.5 / 7)
    if 0 < row < 6:
        assert (x, y) == pytest.approx(((column + 0.75) / 7, (row + 0.75) / 7), abs=0.01)


def test_two_hot_neighbours_have_their_peak_between_them():
    attention = np.zeros((7, 7), np.float32)
    attention[3, 2:4] = 1
    x, y = hottest_point(attention)
    assert x == pytest.approx((3 + LEAN) / 7, abs=0.01)
    assert y == pytest.approx((3.5 + LEAN) / 7, abs=0.01)


def test_without_evidence_there_is_no_hottest_point():
    assert hottest_point(np.zeros((7, 7), np.float32)) is None


def test_a_map_is_enlarged_to_the_image_and_stays_at_least_zero():
    attention = np.zeros((7, 7), np.float32)
    attention[3, 1] = 4
    found = upsample(attention, 300, 400)
    assert found.shape == (300, 400)
    assert found.dtype == np.float32
    assert found.min() == 0, "the bicubic's negative lobes are cut"
    row, column = divmod(int(found.argmax()), 400)
    assert (row, column) == (pytest.approx(3.75 / 7 * 300, abs=2), pytest.approx(100, abs=2))
    np.testing.assert_allclose(upsample(np.full((7, 7), 3, np.float32), 20, 30), 3, rtol=1e-5)


def test_an_image_and_its_half_turn_agree_without_offset():
    place = np.zeros((4, 4), np.float32)
    place[1, 1] = 1
    # Turned, the same spot is seen by the place opposite.
    turned = place[::-1, ::-1]
    found = both_ways(place, turned)
    assert found.shape == (16, 16)
    weight = found.sum()
    rows, columns = np.indices(found.shape) + 0.5
    assert (found * rows).sum() / weight == pytest.approx(6, abs=0.1)  # The middle of place 1.
    assert (found * columns).sum() / weight == pytest.approx(6, abs=0.1)


def test_without_the_half_turn_it_is_the_map_itself_at_a_finer_scale():
    place = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(both_ways(place, None), upsample(place, 16, 16))


def hot_at(row: int, column: int) -> np.ndarray:
    attention = np.zeros((7, 7), np.float32)
    attention[row, column] = 2.5
    return attention


@pytest.fixture
def pink() -> np.ndarray:
    return np.full((300, 360, 3), (230, 190, 200), np.uint8)


def test_the_map_of_a_part_has_its_peak_at_the_same_place_of_the_whole():
    attention = np.zeros((8, 8), np.float32)
    attention[2, 5] = 1
    whole = placed(attention, (100, 40, 200, 140), (200, 400))
    x, y = hottest_point(attention)
    seen = hottest_point(whole)
    assert (seen[0] * 400, seen[1] * 200) == pytest.approx((100 + 100 * x, 40 + 100 * y), abs=4)
    columns = (np.arange(64) + 0.5) / 64 * 400
    assert whole[:, (columns < 100) | (columns > 200)].max() == 0


def test_a_part_beyond_the_image_is_cut_off():
    whole = placed(np.ones((8, 8), np.float32), (-50, -50, 50, 50), (100, 100))
    assert whole[:30, :30].min() == pytest.approx(1)
    assert whole[34:].max() == whole[:, 34:].max() == 0


def test_colours_increase_in_lightness():
    colours = colour_of(np.linspace(0, 1, 101, dtype=np.float32))
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    assert colours[0] == pytest.approx((68, 1, 84))
    assert colours[-1] == pytest.approx((253, 231, 37))
    assert colours[50] == pytest.approx((33, 144, 141), abs=1)


def test_places_without_evidence_stay_and_the_peak_turns_yellow(pink):
    found = draw_overlay(pink, hot_at(3, 3))
    assert found.shape == pink.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:60], pink[:60])
    np.testing.assert_array_equal(found[-60:, -60:], pink[-60:, -60:])
    x, y = hottest_point(hot_at(3, 3))
    # Inside the ring: six tenths of yellow and four of the image.
    expected = 0.6 * np.array([253, 231, 37]) + 0.4 * pink[0, 0]
    np.testing.assert_allclose(found[int(y * 300), int(x * 360)], expected, atol=3)


def test_a_ring_marks_the_hottest_point(pink):
    found = draw_overlay(pink, hot_at(1, 5)).astype(int)
    x, y = hottest_point(hot_at(1, 5))
    radius = 360 / 48 + 3
    white = found[int(y * 300), int(x * 360 + radius)]
    assert (white > 240).all()
    rows, columns = np.nonzero((found > 240).all(axis=2))
    assert rows.mean() == pytest.approx(y * 300, abs=1)
    assert columns.mean() == pytest.approx(x * 360, abs=1)


@pytest.mark.parametrize("place", [(0, 0), (6, 6), (0, 6)])
def test_a_ring_at_the_border_is_cut_off(pink, place):
    assert draw_overlay(pink, hot_at(*place)).shape == pink.shape


def test_an_empty_map_leaves_the_image_unchanged(pink):
    np.testing.assert_array_equal(draw_overlay(pink, np.zeros((7, 7), np.float32)), pink)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (30, 40, (192, MIN_SIDE)),
        (360, 363, (360, 363)),
        (3000, 4000, (768, MAX_SIDE)),
        (1, 5000, (1, MAX_SIDE)),
        (1, 1, (MIN_SIDE, MIN_SIDE)),
    ],
)
def test_small_crops_are_enlarged_and_large_fields_reduced(height, width, expected):
    image = np.full((height, width, 3), 100, np.uint8)
    assert draw_overlay(image, hot_at(2, 2)).shape == (*expected, 3)


def test_a_caption_is_below_and_truncated_to_the_width(pink):
    found = draw_overlay(pink, hot_at(3, 3), "WBC  99.0%")
    plain = draw_overlay(pink, hot_at(3, 3))
    np.testing.assert_array_equal(found[:300], plain)
    strip = found[300:]
    assert 15 < len(strip) < 40
    assert (strip[0] == 255).all()
    assert (strip.min(axis=(0, 2)) < 128).any(), "there is ink"
    long = draw_overlay(pink, hot_at(3, 3), "Δ " + "promyelocyte " * 20)[300:]
    assert (long[:, -6:] == 255).all(), "the margin stays free"
    assert draw_overlay(np.zeros((400, 9, 3), np.uint8), hot_at(0, 0), "WBC").shape[1] == 9


def test_the_image_given_is_not_changed(pink):
    before = pink.copy()
    pink.setflags(write=False)
    draw_overlay(pink, hot_at(3, 3), "WBC")
    np.testing.assert_array_equal(pink, before)
