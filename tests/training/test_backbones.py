"""Every backbone of the registry is the network that Keras builds, in every file format."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hematovision.errors import PluginError, WeightsError
from hematovision.model.backbone import Backbone
from hematovision.model.graph import classifier_graph, read_classifier_graph
from hematovision.model.head import Head
from hematovision.model.network import Network
from hematovision.model.novelty import Novelty
from hematovision.model.registry import (
    BACKBONES,
    DEFAULT_BACKBONE,
    KerasBackbone,
    backbone_title,
)
from hematovision.model.session import open_session
from hematovision.model.weights import bundled_weights_path
from hematovision.training.keras_backbone import built_backbone, network_of
from hematovision.training.keras_files import keras_bytes
from hematovision.training.keras_model import (
    backbone_model,
    classifier_model,
    trainable_from,
    tuned_weights,
)
from hematovision.training.pretrained import load_weights

OTHERS = [name for name in BACKBONES if name != DEFAULT_BACKBONE]


def lively(network: Network) -> Network:
    """The network with random batch normalisation, so that features are far from 0."""
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.uniform(0.5, 1.5, array.shape)
        if name.endswith(("gamma", "moving_variance"))
        else rng.normal(0, 0.2, array.shape)
        if name.endswith(("beta", "moving_mean", "bias"))
        else array
        for name, array in network.arrays.items()
    }
    return replace(network, arrays=arrays)


@pytest.fixture(scope="module", params=OTHERS)
def network(request) -> Network:
    import keras

    keras.utils.set_random_seed(1)
    return lively(network_of(built_backbone(request.param), request.param))


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def head(network: Network) -> Head:
    rng = np.random.default_rng(3)
    width = network.features
    return Head(
        ((rng.normal(0, 0.1, (width, 16)), np.zeros(16)), (rng.normal(0, 1, (16, 3)), np.zeros(3)))
    )


@pytest.fixture(scope="module")
def novelty(network: Network) -> Novelty:
    width = network.features
    means = np.random.default_rng(4).uniform(0, 1, (3, width)).astype(np.float32)
    return Novelty(means, np.ones(width, np.float32))


def test_the_graph_computes_what_keras_does(network: Network, batch: np.ndarray):
    own = built_backbone(network.architecture)
    for layer in own.layers:
        for variable in layer.weights:
            variable.assign(network.arrays[f"{layer.name}/{variable.name}"])
    scaled = batch.astype(np.float32) / 127.5 - 1
    expected = own.predict(scaled, verbose=0).mean(axis=(1, 2))
    found = Backbone(network, white_balance=False).features(batch)
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_graph_and_keras_files_predict_the_same(
    network: Network, head: Head, novelty: Novelty, batch: np.ndarray, tmp_path: Path
):
    import keras

    graph = classifier_graph(network, head, novelty)
    expected = open_session(graph).run(["probabilities"], {"images": batch[:1]})[0]
    for kind, content in keras_bytes(network, head, "h5", "keras").items():
        path = tmp_path / f"model.{kind}"
        path.write_bytes(content)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        found = model.predict(batch[:1].astype(np.float32), verbose=0)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        again = load_weights(str(path), network.architecture)
        assert again.sha256 == network.sha256, "a model's own file gives its backbone back"


def test_the_graph_is_read_back_bit_by_bit(network: Network, head: Head, novelty: Novelty):
    graph = classifier_graph(network, head, novelty)
    parts = read_classifier_graph(graph)
    assert parts.weights.sha256 == network.sha256
    assert classifier_graph(parts.weights, parts.head, parts.novelty) == graph


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_files_of_keras_itself_are_read(network: Network, tmp_path: Path, ending: str):
    model = built_backbone(network.architecture)
    path = tmp_path / f"backbone{ending}"
    (model.save if ending == ".keras" else model.save_weights)(path)
    found = load_weights(str(path), network.architecture)
    assert found.sha256 == network_of(model, network.architecture).sha256


def test_a_file_of_another_backbone_is_rejected(network: Network, tmp_path: Path):
    path = tmp_path / "other.keras"
    built_backbone(DEFAULT_BACKBONE).save(path)
    with pytest.raises(WeightsError, match=rf"other\.keras: .*{network.architecture} are missing"):
        load_weights(str(path), network.architecture)
    path.write_bytes(b"no file of Keras")
    with pytest.raises(WeightsError, match=backbone_title(network.architecture)):
        load_weights(str(path), network.architecture)


@pytest.mark.parametrize("name", OTHERS)
def test_the_hematology_weights_exist_only_for_the_default(name: str):
    with pytest.raises(WeightsError, match=f"only for {DEFAULT_BACKBONE}.*imagenet or a Keras"):
        load_weights("hematology", name)
    with pytest.raises(WeightsError, match="neither 'imagenet' nor a file"):
        load_weights("no-such.h5", name)


def test_an_unknown_backbone_is_named():
    with pytest.raises(WeightsError, match=r"must be one of mobilenetv2.*Received: vgg"):
        load_weights("imagenet", "vgg")


def test_a_failed_download_names_the_file_and_the_folder(monkeypatch):
    def fail(*_):
        raise Exception("offline")  # noqa: TRY002 - as Keras raises it

    monkeypatch.setattr("hematovision.training.keras_backbone.built_backbone", fail)
    with pytest.raises(WeightsError, match=r"weights_mobilenet_v3_small_.*\.h5 into .*models"):
        load_weights("imagenet", "mobilenetv3-small")


def test_a_layer_that_has_no_onnx_form_is_named():
    import keras

    images = keras.Input((224, 224, 3))
    model = keras.Model(images, keras.layers.LeakyReLU(name="leaky")(images))
    with pytest.raises(WeightsError, match=r"'leaky' \(LeakyReLU\)"):
        network_of(model, "mobilenetv3-small")


def test_the_upper_blocks_are_fine_tuned(network: Network, head: Head, batch: np.ndarray):
    model = classifier_model(network, head)
    backbone = model.get_layer(network.architecture)
    trainable_from(backbone, 1)
    names = {f"{layer.name}/{v.name}" for layer in backbone.layers for v in layer.trainable_weights}
    assert {"conv_1/kernel", "expanded_conv_10_depthwise/kernel"} <= names
    assert {name.partition("_1")[0] for name in names} == {"conv", "expanded_conv"}
    assert not any(name.startswith("expanded_conv_1_") or "bn/" in name for name in names)
    model.compile("sgd", "categorical_crossentropy")
    model.train_on_batch(batch.astype(np.float32), np.eye(3, dtype=np.float32)[:2])
    after = tuned_weights(backbone, network)
    changed = {n for n in network.arrays if (network.arrays[n] != after.arrays[n]).any()}
    assert "conv_1/kernel" in changed
    assert changed <= names
    trainable_from(backbone, None)
    assert backbone.get_layer("conv").trainable
    assert not backbone.get_layer("conv_bn").trainable


def test_its_keras_model_has_its_weights(network: Network):
    assert network_of(backbone_model(network), network.architecture).arrays.keys() == (
        network.arrays.keys()
    )


def mixed(_: str | None):
    """A small network with every kind of layer that built-in backbones do not have."""
    import keras

    layers = keras.layers
    images = keras.Input((224, 224, 3))
    value = layers.ZeroPadding2D(((0, 1), (1, 0)))(images)
    value = layers.Conv2D(6, 3, 2, "same", activation="silu", name="first")(value)
    value = layers.MaxPooling2D(3, 2, "same")(layers.ZeroPadding2D(1)(value))
    value = layers.Conv2D(4, 3, name="second")(value)
    value = layers.AveragePooling2D(3, 2, "same")(value)
    other = layers.Conv2D(5, 3, padding="same", activation="sigmoid", name="third")(value)
    value = layers.Concatenate()([value, other])
    share = layers.Reshape((1, 1, 9))(layers.GlobalAveragePooling2D()(value))
    value = layers.Multiply()([value, layers.Conv2D(9, 1, name="gate")(share)])
    value = layers.Conv2D(8, 3, 2, "same", name="fourth")(value)
    return keras.Model(images, layers.DepthwiseConv2D(3, 2, "same", name="fifth")(value))


@pytest.fixture
def mixed_network() -> Network:
    import keras

    keras.utils.set_random_seed(3)
    BACKBONES.register("mixed", mixed)
    return lively(network_of(built_backbone("mixed"), "mixed"))


def test_layers_of_other_networks_compute_what_keras_does(mixed_network, batch: np.ndarray):
    own = built_backbone("mixed")
    for layer in own.layers:
        for variable in layer.weights:
            variable.assign(mixed_network.arrays[f"{layer.name}/{variable.name}"])
    scaled = batch.astype(np.float32) / 127.5 - 1
    expected = own.predict(scaled, verbose=0).mean(axis=(1, 2))
    assert expected.std() > 0.01
    found = Backbone(mixed_network, white_balance=False).features(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    rebuilt = backbone_model(mixed_network).predict(scaled, verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(rebuilt, expected, rtol=1e-3, atol=1e-4)
    assert mixed_network.features == 8
    ops = {layer.op for layer in mixed_network.layers}
    assert ops >= {"swish", "sigmoid", "max_pool", "average_pool", "concat", "pad", "pool"}


def test_without_depthwise_blocks_the_last_convolutions_are_fine_tuned(mixed_network):
    backbone = backbone_model(mixed_network)
    trainable_from(backbone, 2)
    names = {layer.name for layer in backbone.layers if layer.trainable_weights}
    assert names == {"fourth", "fifth"}
    trainable_from(backbone, None)
    assert backbone.get_layer("first").trainable


def pooled(_: str | None):
    import keras

    return keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg")


def coarse(_: str | None):
    import keras

    images = keras.Input((224, 224, 3))
    return keras.Model(images, keras.layers.Conv2D(4, 16, 16)(images))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (coarse, r"\(None, 7, 7, D\).*Received: .*to \(None, 14, 14, 4\)"),
        (pooled, r"one feature map.*Received: \(None, None, None, 3\) to \(None, 1280\)"),
        (lambda _: "a model", "Received: 'a model'"),
        (lambda _: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_a_backbone_that_is_no_backbone_is_an_error(build, message: str):
    BACKBONES.register("odd", build)
    with pytest.raises(PluginError, match=r"backbone 'odd' \(registered by a call\) .*" + message):
        load_weights("imagenet", "odd")


@pytest.mark.parametrize(
    "thing", ["mobilenetv3", KerasBackbone(None), KerasBackbone(len, weights="mine")]
)
def test_a_thing_that_builds_no_backbone_is_rejected(thing: object):
    with pytest.raises(TypeError, match=r"'odd' can't be used: .* and with a tuple of names"):
        BACKBONES.register("odd", thing)


def test_a_sequential_model_is_a_backbone():
    import keras

    def build(_: str | None):
        layers = keras.layers
        return keras.Sequential([keras.Input((224, 224, 3)), layers.Conv2D(4, 32, 32, name="c")])

    BACKBONES.register("plain", build)
    assert load_weights("imagenet", "plain").features == 4


def test_a_layer_that_is_used_twice_is_named():
    import keras

    images = keras.Input((224, 224, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same", name="twice")
    model = keras.Model(images, conv(conv(images)))
    with pytest.raises(WeightsError, match="twice"):
        network_of(model, "odd")


def test_a_backbone_that_no_bundle_can_hold_is_an_error_before_training(monkeypatch):
    monkeypatch.setattr("hematovision.training.pretrained.MAX_MODEL_BYTES", 2**22 + 2**12)
    with pytest.raises(WeightsError, match=r"mobilenetv2 has 9 MiB of weights; a model may have 0"):
        load_weights(str(bundled_weights_path()))
