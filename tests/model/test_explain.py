"""Where a model looked, in closed form."""

import itertools

import numpy as np
import pytest

from hematovision.model.explain import (
    LEAN,
    both_ways,
    grad_cam,
    hottest_point,
    logit_slopes,
    upsample,
)
from hematovision.model.head import Head


def layer(rng, inputs: int, outputs: int):
    return rng.normal(0, 0.05, (inputs, outputs)), rng.normal(0, 0.1, outputs)


@pytest.mark.parametrize("hidden", [(), (16,), (32, 8)])
def test_slopes_are_those_of_small_steps(hidden):
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


def test_a_class_is_seen_where_its_channel_is_worked_out_by_hand():
    kernel = np.zeros((1280, 2))
    kernel[0] = 3, -1  # Channel 0 speaks for class 0 and against class 1.
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


def test_where_nothing_speaks_for_the_class_there_is_no_hottest_point():
    assert hottest_point(np.zeros((7, 7), np.float32)) is None


def test_a_map_grows_to_the_image_and_stays_at_least_zero():
    attention = np.zeros((7, 7), np.float32)
    attention[3, 1] = 4
    found = upsample(attention, 300, 400)
    assert found.shape == (300, 400)
    assert found.dtype == np.float32
    assert found.min() == 0, "the bicubic's negative lobes are cut"
    row, column = divmod(int(found.argmax()), 400)
    assert (row, column) == (pytest.approx(3.75 / 7 * 300, abs=2), pytest.approx(100, abs=2))
    np.testing.assert_allclose(upsample(np.full((7, 7), 3, np.float32), 20, 30), 3, rtol=1e-5)


def test_an_image_and_it_turned_agree_on_a_place_and_lean_nowhere():
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


def test_without_the_turned_one_it_is_the_map_itself_only_finer():
    place = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(both_ways(place, None), upsample(place, 16, 16))
