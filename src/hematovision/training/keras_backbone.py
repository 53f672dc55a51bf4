"""Build backbones with Keras, and convert them to and from `Network`."""

from __future__ import annotations

from typing import Any

import numpy as np

from hematovision.errors import WeightsError
from hematovision.extras import needs_extra
from hematovision.images import SIZE
from hematovision.model.network import INPUT, REDUCTION, Layer, Network, Op
from hematovision.model.registry import BACKBONES

with needs_extra("train", "Training"):
    import keras

__all__ = ["built_backbone", "network_model", "network_of"]


def built_backbone(name: str, weights: str | None = None) -> Any:
    """Build one of `registry.BACKBONES`, from images (224, 224, 3) to its feature map.

    `weights` is one of those that `KerasBackbone.build` accepts, or None for random ones. Raises
    `PluginError` if a backbone from outside fails, or has another input or output.
    """
    with BACKBONES.calling(name):
        model: Any = BACKBONES[name].build(weights)
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    side = SIZE // REDUCTION
    shapes = (getattr(model, "input_shape", None), getattr(model, "output_shape", None))
    fits = shapes[0] == (None, SIZE, SIZE, 3) and _is_map(shapes[1], side)
    if not isinstance(model, keras.Model) or not fits:
        found = f"{shapes[0]} to {shapes[1]}" if isinstance(model, keras.Model) else repr(model)
        raise BACKBONES.broken(
            name,
            f"must return a keras.Model from images (None, {SIZE}, {SIZE}, 3) to one feature map "
            f"(None, {side}, {side}, D): five layers of stride 2, no pooling at the end. "
            f"Received: {found}",
        )
    return model


def _is_map(shape: Any, side: int) -> bool:
    return isinstance(shape, tuple) and len(shape) == 4 and shape[:3] == (None, side, side)


class _Reader:
    """Reads the layers of a functional model one by one."""

    def __init__(self, model: Any) -> None:
        self.layers: list[Layer] = []
        self.arrays: dict[str, Any] = {}
        self.names = {id(model.inputs[0]): INPUT}  # of the layer that computes each tensor
        self._pads: dict[int, tuple[int, int, int, int]] = {}  # of the outputs of ZeroPadding2D

    def read(self, operation: Any) -> None:
        kind, node = type(operation).__name__, operation._inbound_nodes[0]
        if kind == "InputLayer":
            return
        tensors, (result,) = node.input_tensors, node.outputs
        if any(id(tensor) not in self.names for tensor in tensors):  # a layer that is used twice
            raise _unsupported(operation)
        given = tuple(self.names[id(tensor)] for tensor in tensors)
        if kind == "ZeroPadding2D" and _is_convolved(operation):
            self._pads[id(result)] = _zeros(operation)
        if kind == "Dropout" or id(result) in self._pads or _is_spread(operation):
            self.names[id(result)] = given[0]
            return
        settings = _settings(operation, node)
        name = f"{settings['op']}_{len(self.layers)}"  # Keras' own names depend on earlier models
        if getattr(operation, "weights", None):
            name, parts = operation.name, [variable.name for variable in operation.weights]
            settings["weights"] = tuple(f"{name}/{part}" for part in parts)
            values = map(np.asarray, operation.weights)
            self.arrays |= dict(zip(settings["weights"], values, strict=True))
        if "Conv2D" in kind:
            before = self._pads.get(id(tensors[0]), (0, 0, 0, 0))
            settings["pads"] = tuple(map(sum, zip(before, settings["pads"], strict=True)))
        self.layers.append(Layer(name=name, inputs=given, **settings))
        if "Conv2D" in kind and operation.activation.__name__ != "linear":
            op = _ACTIVATIONS[operation.activation.__name__]
            self.layers.append(Layer(f"{op}_{len(self.layers)}", op, (name,)))
        self.names[id(result)] = self.layers[-1].name


def network_of(model: Any, architecture: str) -> Network:
    """Read a backbone out of a Keras functional model with one input and one output.

    The model may have convolutions, zero padding, batch normalisations, ReLU, (hard) sigmoid and
    (hard) swish, maximum and average pooling, additions, multiplications, concatenations,
    rescalings, dropout and global average pooling.
    `architecture` is its name in `registry.BACKBONES`. Raises `WeightsError` if it has another kind
    of layer.
    """
    reader = _Reader(model)
    for operation in model.operations:
        reader.read(operation)
    last = model.outputs[0]
    if id(last) not in reader.names:
        raise _unsupported(last._keras_history.operation)
    return Network(architecture, tuple(reader.layers), reader.arrays)


def _unsupported(operation: Any) -> WeightsError:
    return WeightsError(
        f"The backbone's layer {operation.name!r} ({type(operation).__name__}) cannot be written "
        "as ONNX. Build the backbone from the layers that docs/extend.md lists."
    )


_ACTIVATIONS: dict[str, Op] = {
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "swish",
    "hard_sigmoid": "hard_sigmoid",
    "hard_silu": "hard_swish",
}


def _settings(operation: Any, node: Any) -> dict[str, Any]:
    """Return the arguments of `Layer` for a Keras layer or operation."""
    match type(operation).__name__:
        case "Conv2D" | "DepthwiseConv2D" as kind if _is_plain(operation):
            op = "conv" if kind == "Conv2D" else "depthwise"
            return {"op": op, **_window(node, operation.kernel_size, operation.strides)}
        case "MaxPooling2D" | "AveragePooling2D" as kind if _is_square(operation.pool_size):
            op = "max_pool" if kind == "MaxPooling2D" else "average_pool"
            return {"op": op, **_window(node, operation.pool_size, operation.strides)}
        case "ZeroPadding2D":
            return {"op": "pad", "pads": _zeros(operation)}
        case "BatchNormalization" if len(operation.weights) == 4:
            return {"op": "norm", "epsilon": operation.epsilon}
        case "Concatenate" if operation.axis in (-1, 3):
            return {"op": "concat"}
        case "GlobalAveragePooling2D":
            return {"op": "pool"}
    return _pointwise_settings(operation, node)


def _pointwise_settings(operation: Any, node: Any) -> dict[str, Any]:
    """Return the arguments of `Layer` for an operation on single values."""
    constants = [a for a in node.arguments.args if isinstance(a, int | float)]
    match type(operation).__name__:
        case "ReLU" if operation.max_value in (None, 6) and not operation.negative_slope:
            return {"op": "relu" if operation.max_value is None else "relu6"}
        case "Activation" if operation.activation.__name__ in _ACTIVATIONS:
            return {"op": _ACTIVATIONS[operation.activation.__name__]}
        case "Rescaling":
            return {"op": "rescale", "scale": operation.scale, "offset": operation.offset}
        case "Add" | "Multiply" as kind if len(node.input_tensors) == 2:
            return {"op": kind.lower()}
        case "Add" | "Multiply" as kind if constants:
            setting = "offset" if kind == "Add" else "scale"
            return {"op": "rescale", setting: float(constants[0])}
    raise _unsupported(operation)


def _is_plain(layer: Any) -> bool:
    """Return whether a convolution is square, without dilation or groups."""
    return (
        _is_square(layer.kernel_size)
        and _is_square(layer.strides)
        and {*layer.dilation_rate} == {1}
        and getattr(layer, "depth_multiplier", 1) == 1
        and getattr(layer, "groups", 1) == 1
        and layer.activation.__name__ in ("linear", *_ACTIVATIONS)
    )


def _is_square(sides: Any) -> bool:
    return len({*sides}) == 1


def _is_convolved(padding: Any) -> bool:
    """Return whether only convolutions use the output of a layer."""
    users = {type(node.operation).__name__ for node in padding._outbound_nodes}
    return users <= {"Conv2D", "DepthwiseConv2D"}


def _is_spread(operation: Any) -> bool:
    """Return whether a layer turns D features into a map of one place, as after pooling."""
    spread = type(operation).__name__ == "Reshape" and len(operation.target_shape) == 3
    return spread and tuple(operation.target_shape[:2]) == (1, 1)


def _zeros(padding: Any) -> tuple[int, int, int, int]:
    (top, bottom), (left, right) = padding.padding
    return top, left, bottom, right


def _window(node: Any, sizes: Any, strides: Any) -> dict[str, Any]:
    """Return size, stride and pads of a convolution or a pooling window."""
    size, stride = sizes[0], strides[0]
    pads = (0, 0, 0, 0)
    if node.operation.padding == "same":
        sides = node.input_tensors[0].shape[1:3]
        total = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in sides]
        top, left = (n // 2 for n in total)
        pads = (top, left, total[0] - top, total[1] - left)
    return {"size": size, "stride": stride, "pads": pads}


def network_model(network: Network) -> Any:
    """Build the Keras model of a network from plain layers, which all file formats support."""
    images = keras.Input((network.side, network.side, 3))
    values = {INPUT: images}
    for layer in network.layers:
        given = [values[name] for name in layer.inputs]
        value = given if len(given) > 1 else given[0]
        if any(layer.pads) and layer.op in ("conv", "depthwise"):
            value = _padding(layer, f"{layer.name}_pad")(value)
        values[layer.name] = _keras_layer(layer, network)(value)
    last = values[network.layers[-1].name]
    return keras.Model(images, last, name=network.architecture)


def _padding(layer: Layer, name: str) -> Any:
    top, left, bottom, right = layer.pads
    return keras.layers.ZeroPadding2D(((top, bottom), (left, right)), name=name)


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
        case "max_pool" | "average_pool":
            build = layers.MaxPooling2D if layer.op == "max_pool" else layers.AveragePooling2D
            padding = "same" if any(layer.pads) else "valid"
            return build(layer.size, layer.stride, padding, name=name)
        case "pad":
            return _padding(layer, name)
        case "pool":
            return layers.GlobalAveragePooling2D(keepdims=True, name=name)
    return _pointwise_layer(layer)


def _pointwise_layer(layer: Layer) -> Any:
    layers, name = keras.layers, layer.name
    match layer.op:
        case "relu" | "relu6":
            return layers.ReLU(6.0 if layer.op == "relu6" else None, name=name)
        case "rescale":
            return layers.Rescaling(layer.scale, layer.offset, name=name)
        case "add":
            return layers.Add(name=name)
        case "multiply":
            return layers.Multiply(name=name)
        case "concat":
            return layers.Concatenate(name=name)
        case _:
            return layers.Activation(layer.op, name=name)
