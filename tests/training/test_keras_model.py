"""The Keras model is the classic recipe, and the weights come out as they went in."""

import keras
import numpy as np
import pytest

from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights
from hematovision.training.keras_model import (
    BACKBONE_LAYER,
    backbone_model,
    backbone_weights,
    classifier_model,
    head_of,
    trainable_from,
)


@pytest.fixture(scope="module")
def head() -> Head:
    rng = np.random.default_rng(0)
    return Head(
        (
            (rng.normal(0, 0.03, (1280, 128)), rng.normal(0, 0.1, 128)),
            (rng.normal(0, 0.1, (128, 3)), np.zeros(3)),
        )
    )


@pytest.fixture(scope="module")
def weights(weights: BackboneWeights) -> BackboneWeights:
    return BackboneWeights(weights.arrays, 96)


@pytest.fixture(scope="module")
def model(weights: BackboneWeights, head: Head):
    return classifier_model(weights, head)


def test_the_layers_are_those_of_the_recipe(model):
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "InputLayer",
        *("AveragePooling2D", "GlobalMaxPooling2D", "Rescaling", "ReLU", "Activation", "Rescaling"),
        *("Multiply", "ReLU"),
        *("EinsumDense", "EinsumDense"),
        *("Rescaling", "Functional", "GlobalAveragePooling2D", "Dense", "Dense"),
    ]
    assert model.input_shape == (None, 224, 224, 3)
    assert model.get_layer("scale").scale == pytest.approx(1 / 127.5)
    assert model.get_layer("scale").offset == -1
    assert model.layers[-2].activation is keras.activations.relu
    assert model.layers[-1].activation is keras.activations.softmax
    assert not model.get_layer(BACKBONE_LAYER).trainable


def test_weights_and_head_are_restored_bit_for_bit(model, weights: BackboneWeights, head: Head):
    found = backbone_weights(model.get_layer(BACKBONE_LAYER), weights.side)
    assert found.sha256 == weights.sha256
    for (kernel, bias), (same_kernel, same_bias) in zip(
        head.layers, head_of(model).layers, strict=True
    ):
        np.testing.assert_array_equal(kernel, same_kernel)
        np.testing.assert_array_equal(bias, same_bias)


def test_batch_normalisation_does_not_change(weights: BackboneWeights, head: Head):
    model = classifier_model(weights, head)
    trainable_from(model.get_layer(BACKBONE_LAYER), 1)
    model.compile("sgd", "categorical_crossentropy")
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (2, 224, 224, 3)).astype("float32")
    model.train_on_batch(batch, np.eye(3, dtype="float32")[:2])
    after = backbone_weights(model.get_layer(BACKBONE_LAYER)).arrays
    moved = {name for name, array in weights.arrays.items() if (array != after[name]).any()}
    assert "block_16_project/kernel" in moved
    assert all(name.startswith(("block_16", "Conv_1/")) for name in moved)
    assert not any("_BN/" in name for name in moved)


def test_the_frozen_backbone_does_not_change_while_the_head_is_trained(
    weights: BackboneWeights, head: Head
):
    model = classifier_model(weights, head)
    model.compile("sgd", "categorical_crossentropy")
    batch = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype("float32")
    model.train_on_batch(batch, np.eye(3, dtype="float32")[:2])
    found = backbone_weights(model.get_layer(BACKBONE_LAYER), weights.side)
    assert found.sha256 == weights.sha256
    assert (head_of(model).layers[1][1] != head.layers[1][1]).any()


@pytest.mark.parametrize(
    ("blocks", "first", "n_kernels"),
    [(0, "Conv_1/kernel", 1), (1, "block_16_expand/kernel", 4), (None, "Conv1/kernel", 52)],
)
def test_only_the_upper_blocks_are_unfrozen(
    weights: BackboneWeights, blocks: int | None, first: str, n_kernels: int
):
    backbone = backbone_model(weights)
    trainable_from(backbone, blocks)
    kernels = [
        f"{layer.name}/kernel"
        for layer in backbone.layers
        for v in layer.trainable_weights
        if v.name == "kernel"
    ]
    assert kernels[0] == first
    assert len(kernels) == n_kernels


def test_a_model_of_the_first_version_has_no_white_balance(weights: BackboneWeights, head: Head):
    seen_whole = BackboneWeights(weights.arrays)
    plain = classifier_model(seen_whole, head, white_balance=False)
    assert [type(layer).__name__ for layer in plain.layers[:3]] == [
        "InputLayer",
        "Rescaling",
        "Functional",
    ]
