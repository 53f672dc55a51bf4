"""The network that the recipe trains is the one that predicts."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="only `make backbone` needs PyTorch")

from hematovision.model.backbone import Backbone  # noqa: E402
from hematovision.model.weights import bundled_weights  # noqa: E402
from recipes.hematology_backbone.network import MobileNetV2, scaled  # noqa: E402


@pytest.fixture(scope="module")
def network() -> MobileNetV2:
    return MobileNetV2(bundled_weights()).eval()


@pytest.mark.parametrize("side", [96, 224])
def test_its_features_are_those_of_the_onnx_graph(network: MobileNetV2, side: int):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        found = network(scaled(torch.as_tensor(pixels), side)).numpy()
    np.testing.assert_allclose(found, Backbone(network.weights(side)).features(pixels), atol=2e-4)


def test_its_weights_come_back_bit_by_bit(network: MobileNetV2):
    assert network.weights(bundled_weights().side).sha256 == bundled_weights().sha256
