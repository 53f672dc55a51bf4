"""The head consists of dense layers only."""

import numpy as np
import pytest

from hematovision.errors import ModelError
from hematovision.model.head import Head, log_softmax, softmax

RNG = np.random.default_rng(0)
FEATURES = RNG.uniform(0, 2, (5, 1280)).astype(np.float32)


def layer(inputs, outputs, scale=0.05):
    return RNG.normal(0, scale, (inputs, outputs)), RNG.normal(0, scale, outputs)


def test_logits_are_relu_layers_and_a_linear_one():
    (k1, b1), (k2, b2) = layer(1280, 16), layer(16, 4)
    hidden = np.maximum(FEATURES @ k1 + b1, 0)
    np.testing.assert_allclose(
        Head(((k1, b1), (k2, b2))).logits(FEATURES), hidden @ k2 + b2, atol=1e-4
    )


def test_one_layer_alone_is_a_head():
    kernel, bias = layer(1280, 3)
    head = Head(((kernel, bias),))
    assert head.n_classes == 3
    np.testing.assert_allclose(head.logits(FEATURES), FEATURES @ kernel + bias, atol=1e-4)
    np.testing.assert_allclose(head.probabilities(FEATURES).sum(axis=1), 1)


def test_calibration_divides_the_logits_and_shifts_them():
    head = Head((layer(1280, 8), layer(8, 3)))
    np.testing.assert_allclose(
        head.calibrated(2.5).logits(FEATURES), head.logits(FEATURES) / 2.5, atol=1e-5
    )
    bias = np.array([0.5, -0.25, -0.25])
    np.testing.assert_allclose(
        head.calibrated(2.5, bias).logits(FEATURES), head.logits(FEATURES) / 2.5 + bias, atol=1e-5
    )


def test_softmax_is_stable_for_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0, -1000.0]])), [[0.5, 0.5, 0]])
    np.testing.assert_allclose(log_softmax(np.array([[0.0, 0.0]])), np.log([[0.5, 0.5]]))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "0 layers"),
        ((layer(1280, 1),), "1 outputs"),
        (((np.zeros(1280), np.zeros(3)),), r"Layer 1.*\(1280,\)"),
        ((layer(1280, 8), layer(9, 3)), r"Layer 2.*\(8, outputs\).*\(9, 3\)"),
        (((np.zeros((1280, 3)), np.zeros((3, 1))),), "Layer 1"),
        (((np.full((1280, 3), np.inf), np.zeros(3)),), "not finite"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, message):
    with pytest.raises(ModelError, match=message):
        Head(layers)
