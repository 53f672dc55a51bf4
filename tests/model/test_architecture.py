"""The table of blocks is MobileNetV2, by the paper and by Keras."""

from dataclasses import replace

import numpy as np

from hematovision.model.architecture import (
    BATCH_NORM_EPSILON,
    BLOCKS,
    conv_layers,
    network_layers,
    weight_specs,
)
from hematovision.model.network import INPUT_SIZE, REDUCTION, Layer


def test_weights_have_the_names_shapes_and_order_of_keras(keras_mobilenet):
    of_keras = [
        (f"{layer.name}/{variable.name}", tuple(variable.shape))
        for layer in keras_mobilenet.layers
        for variable in layer.weights
    ]
    assert [(spec.name, spec.shape) for spec in weight_specs()] == of_keras


def test_strides_epsilons_and_residuals_are_those_of_keras(keras_mobilenet):
    ours = {layer.name: layer.stride for layer in conv_layers()}
    theirs = {
        layer.name: layer.strides[0] for layer in keras_mobilenet.layers if layer.name in ours
    }
    assert theirs == ours
    norms = [keras_mobilenet.get_layer(layer.norm) for layer in conv_layers()]
    assert {norm.epsilon for norm in norms} == {BATCH_NORM_EPSILON}
    added = {layer.name for layer in keras_mobilenet.layers if layer.name.endswith("_add")}
    assert {f"{block.prefix}_add" for block in BLOCKS if block.is_residual} == added


def test_the_table_is_table_2_of_the_paper():
    assert len(BLOCKS) == 17
    assert [block.outputs for block in BLOCKS] == (
        [16] + [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320]
    )
    assert [block.index for block in BLOCKS if block.stride == 2] == [1, 3, 6, 13]
    assert sum(block.is_residual for block in BLOCKS) == 10
    assert (INPUT_SIZE, INPUT_SIZE // REDUCTION) == (224, 7)
    assert len(conv_layers()) == 52
    # The count that Keras publishes for MobileNetV2 without its top.
    assert sum(int(np.prod(spec.shape)) for spec in weight_specs()) == 2_257_984


def test_only_strided_layers_are_padded_on_one_side():
    assert {(layer.size, layer.stride): layer.pads for layer in conv_layers()} == {
        (3, 2): (0, 0, 1, 1),
        (3, 1): (1, 1, 1, 1),
        (1, 1): (0, 0, 0, 0),
    }


def test_the_layers_are_those_that_keras_builds(keras_mobilenet):
    from hematovision.training.keras_backbone import network_of

    def unnamed(layers: tuple[Layer, ...]) -> list[tuple[object, ...]]:
        places = {layer.name: place for place, layer in enumerate(layers)}
        return [
            (*vars(replace(one, name="", inputs=())).values(), *map(places.get, one.inputs))
            for one in layers
        ]

    theirs = network_of(keras_mobilenet, "mobilenetv2")
    assert unnamed(network_layers()) == unnamed(theirs.layers)
    assert theirs.features == 1280
