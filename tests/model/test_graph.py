"""The ONNX graph equals the Keras model, and its weights can be read back."""

import numpy as np
import onnx
import onnxruntime
import pytest

from hematovision.errors import BundleError
from hematovision.model.explain import grad_cam
from hematovision.model.graph import (
    IR_VERSION,
    OPSET,
    backbone_graph,
    classifier_graph,
    read_classifier_graph,
)
from hematovision.model.head import Head
from hematovision.model.preprocessing import white_balanced
from hematovision.model.session import open_session


def run(model: bytes, images, *outputs, external=None):
    return open_session(model, external).run(list(outputs), {"images": images})


@pytest.fixture(scope="module")
def outputs(model_bytes, cells):
    """All five outputs for the test images, by name."""
    names = ["probabilities", "novelty", "features", "feature_map", "attention"]
    return dict(zip(names, run(model_bytes, cells, *names), strict=True))


@pytest.fixture(scope="module")
def keras_classifier(keras_mobilenet, weights, head):
    """The classic recipe in plain Keras, with the same weights."""
    import keras

    base = keras_mobilenet
    for layer in base.layers:
        if layer.weights:
            layer.set_weights([weights.arrays[f"{layer.name}/{v.name}"] for v in layer.weights])
    images = keras.Input((224, 224, 3))
    feature_map = base(keras.layers.Rescaling(1 / 127.5, -1)(images))
    features = keras.layers.GlobalAveragePooling2D()(feature_map)
    hidden = keras.layers.Dense(128, activation="relu")
    last = keras.layers.Dense(3, activation="softmax")
    model = keras.Model(images, [last(hidden(features)), features, feature_map])
    for layer, pair in zip((hidden, last), head.layers, strict=True):
        layer.set_weights(pair)
    return model


def test_it_equals_keras(keras_classifier, outputs, cells):
    probabilities, features, feature_map = keras_classifier.predict(
        white_balanced(cells), verbose=0
    )
    np.testing.assert_allclose(outputs["probabilities"], probabilities, atol=1e-4)
    np.testing.assert_allclose(outputs["features"], features, atol=1e-4)
    # Pixel by pixel: a padding on the wrong side would show at the border.
    np.testing.assert_allclose(outputs["feature_map"], feature_map, atol=2e-3)
    assert outputs["features"].std(axis=0).max() > 0.3, "the images must not all look the same"
    assert np.ptp(outputs["probabilities"], axis=0).max() > 0.02


def test_it_equals_keras_on_real_images(keras_classifier, model_bytes, real_data):
    from hematovision.images import load

    paths = sorted((real_data / "bccd").rglob("*.jpg"))[:3]
    paths += sorted((real_data / "pbc" / "train").rglob("*.jpg"))[::1500]
    images = np.stack([load(path) for path in paths])
    expected = keras_classifier.predict(white_balanced(images), verbose=0)[0]
    found = run(model_bytes, images, "probabilities")[0]
    assert len(images) >= 6
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_features_are_the_mean_of_the_feature_map(outputs):
    assert outputs["feature_map"].shape == (9, 7, 7, 1280)
    np.testing.assert_allclose(
        outputs["feature_map"].mean(axis=(1, 2)), outputs["features"], atol=1e-5
    )
    assert outputs["feature_map"].min() == 0
    assert outputs["feature_map"].max() <= 6


def test_probabilities_are_the_heads(outputs, head):
    expected = head.probabilities(outputs["features"])
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_novelty_is_that_of_numpy(outputs, novelty):
    assert outputs["novelty"].shape == (9,)
    np.testing.assert_allclose(outputs["novelty"], novelty.score(outputs["features"]), rtol=1e-4)
    alone = novelty._replace(direction=None).score(outputs["features"])
    assert (outputs["novelty"] > 1.01 * alone).any(), "the direction must matter somewhere"


@pytest.mark.parametrize("without", [("direction",), ("basis",), ("basis", "direction")])
def test_models_with_less_novelty_open_predict_and_are_read_back(
    weights, head, novelty, cells, outputs, without
):
    less = novelty._replace(**dict.fromkeys(without))
    model = classifier_graph(weights, head, less)
    found = run(model, cells[:4], "novelty")[0]
    np.testing.assert_allclose(found, less.score(outputs["features"][:4]), rtol=1e-4)
    again = read_classifier_graph(model)
    assert [name for name in less._fields if getattr(again.novelty, name) is None] == list(without)
    assert classifier_graph(again.weights, again.head, again.novelty) == model


def test_attention_is_grad_cam_of_the_most_probable_class(weights, novelty, head, cells, outputs):
    # Biases that make the classes even: one class alone would not show which column was taken.
    kernel, bias = head.layers[-1]
    even = Head((head.layers[0], (kernel, bias - head.logits(outputs["features"]).mean(axis=0))))
    names = ("probabilities", "attention")
    probabilities, attention = run(classifier_graph(weights, even, novelty), cells, *names)
    labels = probabilities.argmax(axis=1)
    assert len(set(labels)) > 1
    assert attention.shape == (9, 7, 7)
    expected = grad_cam(even, outputs["feature_map"], labels)
    np.testing.assert_allclose(attention, expected, rtol=1e-4, atol=1e-6)


def test_attention_is_what_a_gradient_tape_finds(keras_classifier, outputs, head):
    import tensorflow as tf

    maps = tf.constant(outputs["feature_map"])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = tf.reduce_mean(maps, axis=(1, 2))
        *hidden, last = keras_classifier.layers[-2:]
        for layer in hidden:
            value = layer(value)
        logits = value @ last.kernel + last.bias
        of_class = tf.gather(logits, tf.argmax(logits, axis=1), batch_dims=1)
    slopes = tape.gradient(of_class, maps).numpy()
    # Equations 1 and 2 of Selvaraju et al.: average the slopes over the places, weigh, clip.
    weighted = slopes.mean(axis=(1, 2), keepdims=True) * outputs["feature_map"]
    expected = np.maximum(weighted.sum(axis=3), 0)
    np.testing.assert_allclose(outputs["attention"], expected, rtol=1e-4, atol=1e-5)
    assert expected.max() > 1e-3


def test_no_images_have_no_attention(model_bytes, cells):
    assert run(model_bytes, cells[:0], "attention")[0].shape == (0, 7, 7)


@pytest.mark.parametrize("widths", [(3,), (32, 5), (64, 16, 8)])
def test_heads_of_any_depth_fit(weights, novelty, cells, widths):
    rng = np.random.default_rng(0)
    sizes = (1280, *widths)
    head = Head(
        tuple(
            (rng.normal(0, 0.05, (a, b)), rng.normal(0, 0.1, b))
            for a, b in zip(sizes, widths, strict=False)
        )
    )
    model = classifier_graph(weights, head, novelty)
    names = ("probabilities", "features", "feature_map", "attention")
    found, features, maps, attention = run(model, cells[:2], *names)
    assert found.shape == (2, widths[-1])
    np.testing.assert_allclose(found, head.probabilities(features), atol=1e-5)
    expected = grad_cam(head, maps, found.argmax(axis=1))
    np.testing.assert_allclose(attention, expected, rtol=1e-4, atol=1e-6)
    assert len(read_classifier_graph(model).head.layers) == len(widths)


def test_weights_from_a_file_or_from_the_graph_are_the_same(weights, head, novelty, cells, outputs):
    model = classifier_graph(weights, head, novelty, external="hematology.weights")
    assert len(model) < 2_100_000 < len(weights.to_bytes())
    external = {"hematology.weights": weights.to_bytes()}
    found = run(model, cells, "features", external=external)[0]
    np.testing.assert_array_equal(found, outputs["features"])


def test_the_weights_file_serves_any_runtime_as_external_data(
    weights, head, novelty, cells, tmp_path, outputs
):
    weights.save(tmp_path / "some.weights")
    path = tmp_path / "model.onnx"
    path.write_bytes(classifier_graph(weights, head, novelty, external="some.weights"))
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["features"], {"images": cells})[0]
    np.testing.assert_allclose(found, outputs["features"], atol=1e-5)


def test_the_backbone_alone_gives_the_same_features(weights, cells, outputs):
    found = run(backbone_graph(weights), cells, "features", "feature_map")
    np.testing.assert_array_equal(found[0], outputs["features"])
    np.testing.assert_array_equal(found[1], outputs["feature_map"])


def test_the_same_parts_make_the_same_bytes(weights, head, novelty, model_bytes):
    assert classifier_graph(weights, head, novelty) == model_bytes


def test_it_is_a_valid_model_that_older_runtimes_open(model_bytes):
    model = onnx.load_from_string(model_bytes)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == IR_VERSION == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert OPSET == 17
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_the_parts_are_read_back_bit_for_bit(model_bytes, weights, head, novelty):
    parts = read_classifier_graph(model_bytes)
    assert parts.weights.sha256 == weights.sha256
    for found, given in zip(parts.head.layers, head.layers, strict=True):
        np.testing.assert_array_equal(found[0], given[0])
        np.testing.assert_array_equal(found[1], given[1])
    np.testing.assert_array_equal(parts.novelty.means, novelty.means)
    np.testing.assert_array_equal(parts.novelty.inv_std, novelty.inv_std)
    np.testing.assert_array_equal(parts.novelty.direction, novelty.direction)
    assert parts.novelty.basis.dtype == np.float16
    np.testing.assert_array_equal(parts.novelty.basis, novelty.basis)


def test_external_weights_must_be_passed(weights, head, novelty):
    model = classifier_graph(weights, head, novelty, external="hematology.weights")
    assert read_classifier_graph(model, weights).weights is weights
    with pytest.raises(BundleError, match="Conv1/kernel"):
        read_classifier_graph(model)


def test_a_file_that_is_not_onnx_is_a_bundle_error():
    with pytest.raises(BundleError, match="cannot be read"):
        read_classifier_graph(b"\xff\xff no model")
