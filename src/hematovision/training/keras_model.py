"""Convert classifiers and backbones to and from plain Keras models.

The classifier is the classic recipe, without custom objects:
``white balance -> downsampling -> Rescaling(1/127.5, -1) -> MobileNetV2 -> GlobalAveragePooling2D
-> Dense(128, relu) -> Dense(n, softmax)``. The backbone is one nested, frozen layer, so its
BatchNorm statistics do not change while the head is trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hematovision.extras import needs_extra
from hematovision.images import SIZE
from hematovision.model.architecture import weight_specs
from hematovision.model.head import Head
from hematovision.model.network import Network
from hematovision.model.preprocessing import DARKEST_WHITE, PATCHES, WHITE, shrinking
from hematovision.model.weights import BackboneWeights, Weights
from hematovision.training.keras_backbone import network_model

with needs_extra("train", "Training"):
    import keras

__all__ = [
    "BACKBONE_LAYER", "SHRINK_LAYER", "backbone_model", "backbone_weights", "classifier_model",
    "head_model", "head_of", "trainable_from", "tuned_weights",
]  # fmt: skip

BACKBONE_LAYER = "mobilenetv2"
"""Name of the nested MobileNetV2 in Keras models; other backbones have other names."""

SHRINK_LAYER = "shrink_rows"
"""Name of the layer whose kernel (224, side) has the side of the network's input."""


def backbone_model(weights: Weights) -> Any:
    """Build a backbone without its top for (side, side, 3) inputs in [-1, 1], with `weights`."""
    if isinstance(weights, Network):
        backbone = network_model(weights)
    else:
        backbone = keras.applications.MobileNetV2(
            include_top=False,
            weights=None,
            input_shape=(weights.side, weights.side, 3),
            name=BACKBONE_LAYER,
        )
    for name, array in weights.arrays.items():
        _variable(backbone, name).assign(array)
    return backbone


def backbone_weights(backbone: Any, side: int = SIZE) -> BackboneWeights:
    """Return the weights of a Keras MobileNetV2 that sees images at `side` pixels.

    Raises `WeightsError` if the layers' shapes are not those of MobileNetV2 at width 1.0.
    """
    return BackboneWeights(
        {spec.name: np.asarray(_variable(backbone, spec.name)) for spec in weight_specs()}, side
    )


def tuned_weights(backbone: Any, before: Weights) -> Weights:
    """Return the weights of a model from `backbone_model` after training."""
    if isinstance(before, BackboneWeights):
        return backbone_weights(backbone, before.side)
    return replace(before, arrays={n: np.asarray(_variable(backbone, n)) for n in before.arrays})


def _variable(backbone: Any, name: str) -> Any:
    layer, _, part = name.partition("/")
    return next(v for v in backbone.get_layer(layer).weights if v.name == part)


def _features_of(backbone: Any, *, white_balance: bool) -> tuple[Any, Any]:
    """Return a symbolic input (N, 224, 224, 3), 0 to 255, and the backbone's features (N, D)."""
    images = keras.Input((SIZE, SIZE, 3), name="images")
    seen = _shrunk(_balanced(images) if white_balance else images, backbone.input_shape[1])
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(seen)
    feature_map = backbone(scaled, training=False)
    return images, keras.layers.GlobalAveragePooling2D(name="features")(feature_map)


def _balanced(images: Any) -> Any:
    # Built-in layers only: the .h5 file must open without custom objects. Uses
    # 1 / (1 + z) = 1 - softsign(z) with z = max(0, brightest / DARKEST_WHITE - 1).
    layers, gain = keras.layers, WHITE / DARKEST_WHITE
    patches = layers.AveragePooling2D(SIZE // PATCHES, name="patches")(images)
    brightest = layers.GlobalMaxPooling2D(keepdims=True, name="brightest")(patches)
    excess = layers.Rescaling(1 / DARKEST_WHITE, offset=-1, name="excess")(brightest)
    positive = layers.ReLU(name="white")(excess)
    share = layers.Activation("softsign", name="share")(positive)
    gains = layers.Rescaling(-gain, offset=gain, name="gains")(share)
    balanced = layers.Multiply(name="balanced")([images, gains])
    return layers.ReLU(max_value=255.0, name="balanced_clipped")(balanced)


def _shrunk(images: Any, side: int) -> Any:
    if side == SIZE:
        return images
    matrix = shrinking(side).T
    for name, equation, shape in (
        (SHRINK_LAYER, "nhwc,hk->nkwc", (side, SIZE, 3)),
        ("shrink_columns", "nhwc,wk->nhkc", (side, side, 3)),
    ):
        layer = keras.layers.EinsumDense(equation, shape, trainable=False, name=name)
        images = layer(images)
        layer.set_weights([matrix])
    return images


def _add_head(features: Any, units: tuple[int, ...]) -> Any:
    """Connect features to probabilities: dense layers with ReLU, the last with softmax."""
    values = features
    for number, width in enumerate(units[:-1], start=1):
        name = "hidden" if len(units) == 2 else f"hidden_{number}"
        values = keras.layers.Dense(width, activation="relu", name=name)(values)
    return keras.layers.Dense(units[-1], activation="softmax", name="probabilities")(values)


def head_model(n_features: int, units: tuple[int, ...]) -> Any:
    """Build the head alone, from features (N, n_features) to probabilities."""
    features = keras.Input((n_features,), name="features")
    return keras.Model(features, _add_head(features, units), name="head")


def head_of(model: Any) -> Head:
    """Read a model's dense layers, in order."""
    return Head(tuple((np.asarray(d.kernel), np.asarray(d.bias)) for d in _dense(model)))


def _dense(model: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def classifier_model(weights: Weights, head: Head, *, white_balance: bool = True) -> Any:
    """Build the classifier from pixels (N, 224, 224, 3), 0 to 255, to probabilities (N, C)."""
    backbone = backbone_model(weights)
    backbone.trainable = False
    images, features = _features_of(backbone, white_balance=white_balance)
    units = tuple(int(bias.shape[0]) for _, bias in head.layers)
    model = keras.Model(images, _add_head(features, units), name="hematovision")
    for layer, arrays in zip(_dense(model), head.layers, strict=True):
        layer.set_weights(arrays)
    return model


def trainable_from(backbone: Any, blocks: int | None) -> None:
    """Leave only the last `blocks` blocks and the layers after them trainable.

    A block is the layers around a depthwise convolution, which share the prefix of their names; in
    a network without these, it is one convolution.
    BatchNorm layers stay as they are and work in inference mode, which in Keras is what
    ``trainable = False`` means for them; ``training=False`` in the call does not, since ``fit``
    overrides it.

    With None for `blocks` everything is trainable, the first convolution included; with 0 the last
    convolution is.
    """
    names = [layer.name for layer in backbone.layers]
    if not any(name.endswith("depthwise") for name in names):
        _trainable_convolutions(backbone, blocks)
        return
    prefixes = [n.removesuffix("depthwise") for n in names if n.endswith("depthwise")]
    kept = set(prefixes if blocks is None else prefixes[max(0, len(prefixes) - blocks) :])
    own = [max((p for p in prefixes if n.startswith(p)), key=len, default="") for n in names]
    last = max(place for place, prefix in enumerate(own) if prefix)
    backbone.trainable = True
    for place, layer in enumerate(backbone.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = (blocks is None or own[place] in kept or place > last) and not is_norm


def _trainable_convolutions(backbone: Any, n: int | None) -> None:
    """Leave only the last `n` convolutions trainable; all with None."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    convolutions = [layer for layer in backbone.layers if isinstance(layer, kinds)]
    kept = convolutions if n is None else convolutions[max(0, len(convolutions) - n) :]
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = layer in kept
