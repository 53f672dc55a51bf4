"""Networks are checked when they are made, and come back from their description."""

from dataclasses import replace

import numpy as np
import pytest

from hematovision.errors import ModelError, WeightsError
from hematovision.model.graph import backbone_graph, classifier_graph
from hematovision.model.head import Head
from hematovision.model.network import INPUT, Layer, Network
from hematovision.model.novelty import Novelty
from hematovision.model.session import open_session

CONV = Layer("conv", "conv", (INPUT,), ("conv/kernel", "conv/bias"), size=32, stride=32)
SCALED = Layer("scaled", "rescale", ("conv",), scale=2.0, offset=-1.0)


def network(*layers: Layer, **arrays: np.ndarray) -> Network:
    """A 32x32 convolution to two channels: red plus 0.5, and the mean of green and blue."""
    kernel = np.zeros((32, 32, 3, 2), np.float32)
    kernel[..., 0, 0], kernel[..., 1:, 1] = 1 / 1024, 1 / 2048
    given = {"conv/kernel": kernel, "conv/bias": np.array([0.5, 0], np.float32), **arrays}
    return Network("mobilenetv3-small", layers or (CONV, SCALED), given)


def test_a_network_computes_what_its_layers_state():
    plain = network()
    session = open_session(backbone_graph(plain, white_balance=False))
    image = np.zeros((1, 224, 224, 3), np.uint8)
    image[...] = (255, 51, 102)
    features, places = session.run(["features", "feature_map"], {"images": image})
    # 255, 51 and 102 are 1, -0.6 and -0.2.
    np.testing.assert_allclose(features, [[2 * 1.5 - 1, 2 * -0.4 - 1]], atol=1e-5)
    assert places.shape == (1, 7, 7, 2)
    assert plain.features == 2


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("relu", [1.5, 0.0]),
        ("relu6", [1.5, 0.0]),
        ("hard_sigmoid", [0.75, 2.6 / 6]),
        ("hard_swish", [1.5 * 0.75, -0.4 * 2.6 / 6]),
        ("sigmoid", [1 / (1 + np.exp(-1.5)), 1 / (1 + np.exp(0.4))]),
        ("swish", [1.5 / (1 + np.exp(-1.5)), -0.4 / (1 + np.exp(0.4))]),
        ("pool", [1.5, -0.4]),
    ],
)
def test_activations(op, expected):
    layers = CONV, Layer("last", op, ("conv",))
    graph = backbone_graph(network(*layers), white_balance=False)
    image = np.full((1, 224, 224, 3), (255, 51, 102), np.uint8)
    features = open_session(graph).run(["features"], {"images": image})[0]
    np.testing.assert_allclose(features, [expected], atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        # A window of 3 x 3 places with stride 2; at the border the added places do not count.
        (Layer("last", "max_pool", ("conv",), size=3, stride=2, pads=(1, 1, 1, 1)), [1.5, -0.4]),
        (Layer("last", "average_pool", ("conv",), size=3, stride=2, pads=(1,) * 4), [1.5, -0.4]),
        # 49 of 64 places keep their values, the others are 0.
        (Layer("last", "pad", ("conv",), pads=(0, 0, 1, 1)), [1.5 * 49 / 64, -0.4 * 49 / 64]),
        (Layer("last", "concat", ("conv", "scaled")), [1.5, -0.4, 2.0, -1.8]),
    ],
)
def test_windows_zeros_and_joined_channels(layer: Layer, expected):
    made = network(CONV, SCALED, layer)
    assert made.features == len(expected)
    image = np.full((1, 224, 224, 3), (255, 51, 102), np.uint8)
    graph = backbone_graph(made, white_balance=False)
    # The shape that a graph declares is that of a backbone; the features do not depend on it.
    features = open_session(graph).run(["features"], {"images": image})[0]
    np.testing.assert_allclose(features, [expected], atol=1e-5)


def test_two_layers_of_one_name_are_an_error():
    with pytest.raises(WeightsError, match="'conv' is not connected"):
        network(CONV, Layer("conv", "relu", ("conv",)))


def test_it_is_read_back_from_its_description_and_arrays_in_onnx_layout():
    plain = network()
    arrays = {**plain.arrays, "conv/kernel": plain.arrays["conv/kernel"].transpose(3, 2, 0, 1)}
    again = Network.from_text(plain.to_text(), arrays)
    assert again.sha256 == plain.sha256
    assert again.layers == plain.layers
    assert network(CONV).sha256 != plain.sha256
    assert network(**{"conv/bias": np.zeros(2)}).sha256 != plain.sha256


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"architecture": "x", "layers": [{"a": 1}]}'])
def test_a_damaged_description_is_a_weights_error(text):
    with pytest.raises(WeightsError, match="damaged"):
        Network.from_text(text, {})


@pytest.mark.parametrize(
    "wrong",
    [
        replace(SCALED, inputs=("nowhere",)),
        replace(SCALED, inputs=("conv", "conv")),
        replace(SCALED, op="add"),
        replace(SCALED, op="teleport"),
        replace(SCALED, weights=("conv/bias",)),
    ],
)
def test_layers_must_be_connected(wrong):
    with pytest.raises(WeightsError, match="'scaled' is not connected"):
        network(CONV, wrong)


def test_weights_must_be_there_and_finite():
    with pytest.raises(WeightsError, match=r"1 of 2 weights .* missing \(first: \['conv/bias'\]\)"):
        Network("mobilenetv3-small", (CONV,), {"conv/kernel": np.zeros((32, 32, 3, 2))})
    with pytest.raises(WeightsError, match="'conv/bias' has values that are not finite"):
        network(**{"conv/bias": np.array([np.nan, 0])})


def test_a_head_of_another_backbone_does_not_fit():
    head = Head(((np.zeros((3, 2)), np.zeros(2)),))
    novelty = Novelty(np.zeros((2, 2), np.float32), np.ones(2, np.float32))
    with pytest.raises(ModelError, match="expects 3 features, but mobilenetv3-small has 2"):
        classifier_graph(network(), head, novelty)
