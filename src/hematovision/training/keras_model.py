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

from hematovision.errors import WeightsError
from hematovision.extras import needs_extra
from hematovision.images import SIZE
from hematovision.model.architecture import weight_specs
from hematovision.model.head import Head
from hematovision.model.network import INPUT, Layer, Network
from hematovision.model.preprocessing import DARKEST_WHITE, PATCHES, WHITE, shrinking
from hematovision.model.registry import BACKBONES
from hematovision.model.weights import BackboneWeights, Weights

with needs_extra("train", "Training"):
    import keras

__all__ = [
    "BACKBONE_LAYER", "SHRINK_LAYER", "application", "backbone_model", "backbone_weights",
    "classifier_model", "head_model", "head_of", "network_of", "trainable_from", "tuned_weights",
]  # fmt: skip

BACKBONE_LAYER = "mobilenetv2"
"""Name of the nested MobileNetV2 in Keras models; other backbones have other names."""

SHRINK_LAYER = "shrink_rows"
"""Name of the layer whose kernel (224, side) has the side of the network's input."""


def application(backbone: str, weights: str | None = None) -> Any:
    """Build a backbone without its top from ``keras.applications``, for inputs (224, 224, 3).

    `backbone` is one of `registry.BACKBONES`; `weights` is ``"imagenet"``, or None for random ones.
    """
    entry = BACKBONES[backbone]
    build = getattr(keras.applications, entry.name)
    shape = (SIZE, SIZE, 3)
    return build(include_top=False, weights=weights, input_shape=shape, **entry.options)


def backbone_model(weights: Weights) -> Any:
    """Build a backbone without its top for (side, side, 3) inputs in [-1, 1], with `weights`."""
    if isinstance(weights, Network):
        backbone = _network_model(weights)
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


class _Reader:
    """Reads the layers of a functional model one by one."""

    def __init__(self, model: Any) -> None:
        self.layers: list[Layer] = []
        self.arrays: dict[str, Any] = {}
        self._names = {id(model.inputs[0]): INPUT}  # of the layer that computes each tensor
        self._pads: dict[int, tuple[int, int, int, int]] = {}  # of the outputs of ZeroPadding2D

    def read(self, operation: Any) -> None:
        kind, node = type(operation).__name__, operation._inbound_nodes[0]
        if kind == "InputLayer":
            return
        tensors, (result,) = node.input_tensors, node.outputs
        given = tuple(self._names[id(tensor)] for tensor in tensors)
        pads = self._pads.get(id(tensors[0]))
        if pads is not None and kind not in ("Conv2D", "DepthwiseConv2D"):
            raise _unsupported(operation)
        if kind in ("ZeroPadding2D", "Dropout"):
            self._names[id(result)] = given[0]
            if kind == "ZeroPadding2D":
                (top, bottom), (left, right) = operation.padding
                self._pads[id(result)] = (top, left, bottom, right)
            return
        constants = [a for a in node.arguments.args if isinstance(a, int | float)]
        settings = _settings(operation, len(given), constants)
        name = f"{settings['op']}_{len(self.layers)}"  # Keras' own names depend on earlier models
        if getattr(operation, "weights", None):
            name, parts = operation.name, [variable.name for variable in operation.weights]
            settings["weights"] = tuple(f"{name}/{part}" for part in parts)
            values = map(np.asarray, operation.weights)
            self.arrays |= dict(zip(settings["weights"], values, strict=True))
        if "Conv2D" in kind:
            settings["pads"] = pads or _pads(operation, tensors[0].shape[1:3])
        self.layers.append(Layer(name=name, inputs=given, **settings))
        self._names[id(result)] = name


def network_of(model: Any, architecture: str) -> Network:
    """Read a backbone out of a Keras functional model with one input and one output.

    The model may have convolutions, zero padding, batch normalisations, ReLU, hard sigmoid and hard
    swish, additions, multiplications, rescalings, dropout and global average pooling.
    `architecture` is its name in `registry.BACKBONES`. Raises `WeightsError` if it has another kind
    of layer.
    """
    reader = _Reader(model)
    for operation in model.operations:
        reader.read(operation)
    return Network(architecture, tuple(reader.layers), reader.arrays)


def _unsupported(operation: Any) -> WeightsError:
    return WeightsError(
        f"The backbone's layer {operation.name!r} ({type(operation).__name__}) cannot be written "
        "as ONNX. Use one of the backbones of hematovision train --backbone."
    )


_ACTIVATIONS: dict[str, str] = {
    "relu": "relu",
    "relu6": "relu6",
    "hard_sigmoid": "hard_sigmoid",
    "hard_silu": "hard_swish",
    "hard_swish": "hard_swish",
}


def _settings(operation: Any, inputs: int, constants: list[float]) -> dict[str, Any]:
    """Return the arguments of `Layer` for a Keras layer or operation."""
    match type(operation).__name__:
        case "Conv2D" | "DepthwiseConv2D" as kind if _is_plain(operation):
            op = "conv" if kind == "Conv2D" else "depthwise"
            return {"op": op, "size": operation.kernel_size[0], "stride": operation.strides[0]}
        case "BatchNormalization" if len(operation.weights) == 4:
            return {"op": "norm", "epsilon": operation.epsilon}
        case "ReLU" if operation.max_value in (None, 6) and not operation.negative_slope:
            return {"op": "relu" if operation.max_value is None else "relu6"}
        case "Activation" if operation.activation.__name__ in _ACTIVATIONS:
            return {"op": _ACTIVATIONS[operation.activation.__name__]}
        case "Rescaling":
            return {"op": "rescale", "scale": operation.scale, "offset": operation.offset}
        case "Add" | "Multiply" as kind if inputs == 2:
            return {"op": kind.lower()}
        case "Add" | "Multiply" as kind if constants:
            setting = "offset" if kind == "Add" else "scale"
            return {"op": "rescale", setting: float(constants[0])}
        case "GlobalAveragePooling2D" if operation.keepdims:
            return {"op": "pool"}
    raise _unsupported(operation)


def _is_plain(layer: Any) -> bool:
    """Return whether a convolution is square, without dilation, groups or activation."""
    return (
        len({*layer.kernel_size}) == len({*layer.strides}) == 1
        and {*layer.dilation_rate} == {1}
        and getattr(layer, "depth_multiplier", 1) == 1
        and (getattr(layer, "groups", 1) == 1)
        and layer.activation.__name__ == "linear"
    )


def _pads(layer: Any, sides: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the zeros (top, left, bottom, right) that a convolution adds."""
    if layer.padding == "valid":
        return 0, 0, 0, 0
    size, stride = layer.kernel_size[0], layer.strides[0]
    total = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in sides]
    top, left = (n // 2 for n in total)
    return top, left, total[0] - top, total[1] - left


def _network_model(network: Network) -> Any:
    """Build the Keras model of a network from plain layers, which all file formats support."""
    images = keras.Input((network.side, network.side, 3))
    values = {INPUT: images}
    for layer in network.layers:
        given = [values[name] for name in layer.inputs]
        value = given if len(given) > 1 else given[0]
        if any(layer.pads):
            top, left, bottom, right = layer.pads
            sides = ((top, bottom), (left, right))
            value = keras.layers.ZeroPadding2D(sides, name=f"{layer.name}_pad")(value)
        values[layer.name] = _keras_layer(layer, network)(value)
    last = values[network.layers[-1].name]
    return keras.Model(images, last, name=network.architecture)


def _keras_layer(layer: Layer, network: Network) -> Any:
    layers, name = keras.layers, layer.name
    match layer.op:
        case "conv" | "depthwise":
            shape = network.arrays[layer.weights[0]].shape
            filters = () if layer.op == "depthwise" else (shape[3],)
            build = layers.DepthwiseConv2D if layer.op == "depthwise" else layers.Conv2D
            bias = len(layer.weights) == 2
            return build(*filters, layer.size, layer.stride, use_bias=bias, name=name)
        case "norm":
            return layers.BatchNormalization(epsilon=layer.epsilon, name=name)
        case "relu" | "relu6":
            return layers.ReLU(6.0 if layer.op == "relu6" else None, name=name)
        case "hard_sigmoid" | "hard_swish":
            return layers.Activation(layer.op, name=name)
        case "rescale":
            return layers.Rescaling(layer.scale, layer.offset, name=name)
        case "add":
            return layers.Add(name=name)
        case "multiply":
            return layers.Multiply(name=name)
        case "pool":
            return layers.GlobalAveragePooling2D(keepdims=True, name=name)


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

    A block is the layers around a depthwise convolution, which share the prefix of their names.
    BatchNorm layers stay as they are and work in inference mode, which in Keras is what
    ``trainable = False`` means for them; ``training=False`` in the call does not, since ``fit``
    overrides it.

    With None for `blocks` everything is trainable, the first convolution included; with 0 the last
    convolution is.
    """
    names = [layer.name for layer in backbone.layers]
    prefixes = [n.removesuffix("depthwise") for n in names if n.endswith("depthwise")]
    kept = set(prefixes if blocks is None else prefixes[max(0, len(prefixes) - blocks) :])
    own = [max((p for p in prefixes if n.startswith(p)), key=len, default="") for n in names]
    last = max(place for place, prefix in enumerate(own) if prefix)
    backbone.trainable = True
    for place, layer in enumerate(backbone.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = (blocks is None or own[place] in kept or place > last) and not is_norm
