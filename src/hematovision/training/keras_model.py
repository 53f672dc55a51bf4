"""The classifier as a plain Keras model, and the way of its weights in and out.

The model is the classic recipe, without custom objects:
``white balance -> shrinking -> Rescaling(1/127.5, -1) -> MobileNetV2 -> GlobalAveragePooling2D ->
Dense(128, relu) -> Dense(n, softmax)``. The backbone is one nested, frozen layer: its BatchNorm
statistics stay as they are while the head learns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hematovision.extras import needs_extra
from hematovision.images import SIZE
from hematovision.model.architecture import BLOCKS, FEATURES, STEM, TOP, weight_specs
from hematovision.model.balance import DARKEST_WHITE, PATCHES, WHITE
from hematovision.model.head import Head
from hematovision.model.shrink import shrinking
from hematovision.model.weights import BackboneWeights

with needs_extra("train", "Training"):
    import keras

__all__ = [
    "BACKBONE_LAYER",
    "SHRINK_LAYER",
    "backbone_model",
    "backbone_weights",
    "classifier_model",
    "head_model",
    "head_of",
    "trainable_from",
]

BACKBONE_LAYER = "mobilenetv2"
"""Name of the nested backbone in every model that is written."""

SHRINK_LAYER = "shrink_rows"
"""Name of the layer whose kernel (224, side) tells at which side a model's network sees."""


def backbone_model(weights: BackboneWeights) -> Any:
    """Build MobileNetV2 without its top for (side, side, 3) inputs in [-1, 1], with `weights`."""
    backbone = keras.applications.MobileNetV2(
        include_top=False,
        weights=None,
        input_shape=(weights.side, weights.side, 3),
        name=BACKBONE_LAYER,
    )
    for spec in weight_specs():
        _variable(backbone, spec.name).assign(weights.arrays[spec.name])
    return backbone


def backbone_weights(backbone: Any, side: int = SIZE) -> BackboneWeights:
    """Read the weights out of a Keras MobileNetV2, to see images at `side` pixels.

    Raises
    ------
    WeightsError
        If the layers' shapes are not those of MobileNetV2 at width 1.0.
    """
    return BackboneWeights(
        {spec.name: np.asarray(_variable(backbone, spec.name)) for spec in weight_specs()}, side
    )


def _variable(backbone: Any, name: str) -> Any:
    layer, _, part = name.partition("/")
    return next(v for v in backbone.get_layer(layer).weights if v.name == part)


def _features_of(backbone: Any, *, white_balance: bool) -> tuple[Any, Any]:
    """Connect pixels 0 to 255 (N, 224, 224, 3) to features (N, 1280): the model's input and those.

    Images are shrunk to the side of the backbone's input.
    """
    images = keras.Input((SIZE, SIZE, 3), name="images")
    seen = _shrunk(_balanced(images) if white_balance else images, backbone.input_shape[1])
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(seen)
    feature_map = backbone(scaled, training=False)
    return images, keras.layers.GlobalAveragePooling2D(name="features")(feature_map)


def _balanced(images: Any) -> Any:
    # Of Keras' own layers only, so that the .h5 file opens without custom objects, as
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
    """Connect features to probabilities: ReLU layers of all but the last of `units`, softmax."""
    values = features
    for number, width in enumerate(units[:-1], start=1):
        name = "hidden" if len(units) == 2 else f"hidden_{number}"
        values = keras.layers.Dense(width, activation="relu", name=name)(values)
    return keras.layers.Dense(units[-1], activation="softmax", name="probabilities")(values)


def head_model(units: tuple[int, ...]) -> Any:
    """Build the head alone, from features (N, 1280) to probabilities."""
    features = keras.Input((FEATURES,), name="features")
    return keras.Model(features, _add_head(features, units), name="head")


def head_of(model: Any) -> Head:
    """Read the dense layers out of a model, in their order."""
    return Head(tuple((np.asarray(d.kernel), np.asarray(d.bias)) for d in _dense(model)))


def _dense(model: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def classifier_model(weights: BackboneWeights, head: Head, *, white_balance: bool = True) -> Any:
    """Build the whole classifier: pixels 0 to 255 (N, 224, 224, 3) in, probabilities (N, C) out."""
    backbone = backbone_model(weights)
    backbone.trainable = False
    images, features = _features_of(backbone, white_balance=white_balance)
    units = tuple(int(bias.shape[0]) for _, bias in head.layers)
    model = keras.Model(images, _add_head(features, units), name="hematovision")
    for layer, arrays in zip(_dense(model), head.layers, strict=True):
        layer.set_weights(arrays)
    return model


def trainable_from(backbone: Any, blocks: int | None) -> None:
    """Leave only the last `blocks` of the 17 blocks and the last convolution trainable.

    BatchNorm layers stay as they are and work in inference mode, which in Keras is what
    ``trainable = False`` means for them; ``training=False`` in the call does not, since ``fit``
    overrides it.

    Parameters
    ----------
    backbone : keras.Model
    blocks : int or None
        None unfreezes everything, the first convolution included; 0 leaves the last convolution.
    """
    open_blocks = BLOCKS if blocks is None else BLOCKS[len(BLOCKS) - blocks :]
    prefixes = (TOP.name, *(f"{block.prefix}_" for block in open_blocks))
    backbone.trainable = True
    for layer in backbone.layers:
        is_open = layer.name.startswith(prefixes) or (blocks is None and layer.name == STEM.name)
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = is_open and not is_norm
