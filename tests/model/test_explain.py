"""Where a model looked, in closed form."""

import itertools

import numpy as np
import pytest

from hematovision.model.explain import grad_cam, logit_slopes
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
