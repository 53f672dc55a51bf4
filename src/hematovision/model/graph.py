"""Write classifiers and backbones as ONNX graphs, and read them back.

The input is uint8; scaling is part of the graph, so callers cannot omit it or apply it twice. Every
Keras weight becomes an initializer of the same name, and `read_classifier_graph` restores the
weights bit for bit. ONNX Runtime folds batch normalisation into the convolutions on loading.

Writing and reading need the ``onnx`` package (the extra ``train``); running a graph does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import BundleError, ModelError
from hematovision.extras import needs_extra
from hematovision.model.architecture import weight_specs
from hematovision.model.field_score import SHRINK, FieldScore
from hematovision.model.head import Head
from hematovision.model.network import INPUT, INPUT_SIZE, REDUCTION, Layer, Network, kernel_axes
from hematovision.model.novelty import Novelty
from hematovision.model.preprocessing import DARKEST_WHITE, PATCHES, WHITE, shrinking
from hematovision.model.registry import backbone_title
from hematovision.model.weights import BackboneWeights, Weights, layout, to_keras_layout

with needs_extra("train", "Reading an ONNX model"):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "IR_VERSION", "OPSET", "ClassifierParts", "GraphBuilder", "backbone_graph", "classifier_graph",
    "read_classifier_graph",
]  # fmt: skip

_NETWORK = "hematovision.network"  # metadata key of `Network.to_text`


def backbone_graph(
    weights: Weights, *, external: str | None = None, white_balance: bool = True
) -> bytes:
    """Write the graph from images to features.

    Its input is ``images``, uint8 RGB (N, 224, 224, 3); its outputs are ``features``,
    float32 (N, D), and ``feature_map``, float32 (N, M, M, D). N is free, M
    a 32nd of the side at which the network sees.

    `external` names a weights file (`BackboneWeights.save`) in the folder of the graph to refer to;
    without it the graph holds the weights itself. With `white_balance` images are balanced first
    (`preprocessing.white_balanced`). The same arguments give the same bytes.
    """
    graph = GraphBuilder()
    _add_weights(graph, weights, external)
    _add_backbone(graph, weights, white_balance=white_balance)
    graph.output("features", weights.features)
    graph.output("feature_map", *_map_shape(weights), weights.features)
    doc = f"{backbone_title(weights.architecture)} without its top, from RGB uint8 images."
    return graph.to_bytes("mobilenet_v2", doc, _description(weights))


def classifier_graph(
    weights: Weights,
    head: Head,
    novelty: Novelty,
    *,
    external: str | None = None,
    white_balance: bool = True,
    field_score: FieldScore | None = None,
) -> bytes:
    """Return the ONNX graph from images to predictions.

    The input is ``images``, uint8 RGB (N, 224, 224, 3). The outputs are float32:
    ``probabilities`` (N, C), ``novelty`` (N,), ``features`` (N, D), ``feature_map`` (N, M, M, D)
    and ``attention`` (N, M, M), the Grad-CAM of the most probable class (`explain.grad_cam`). M is
    the side at which the network sees images, divided by 32. With `field_score` there is also
    ``field`` (N,), which needs the white balance.

    The calibration is already in the head's last layer (`Calibration.fold`). `external` and
    `white_balance` as in `backbone_graph`. The same arguments give the same bytes.
    """
    if head.n_features != weights.features:
        raise ModelError(
            f"The head expects {head.n_features} features, but {weights.architecture} has "
            f"{weights.features}. Train a head on this backbone."
        )
    graph = GraphBuilder()
    _add_weights(graph, weights, external)
    _add_backbone(graph, weights, white_balance=white_balance, small=field_score is not None)
    _add_head(graph, head)
    _add_novelty(graph, novelty)
    _add_attention(graph, head, weights)
    graph.output("probabilities", head.n_classes)
    graph.output("novelty")
    if field_score is not None:
        _add_field_score(graph, field_score)
        graph.output("field")
    graph.output("features", weights.features)
    graph.output("feature_map", *_map_shape(weights), weights.features)
    graph.output("attention", *_map_shape(weights))
    doc = f"Blood cells with {backbone_title(weights.architecture)}, from RGB uint8 images."
    return graph.to_bytes("hematovision", doc, _description(weights))


def _map_shape(weights: Weights) -> tuple[int, int]:
    return weights.side // REDUCTION, weights.side // REDUCTION


def _description(weights: Weights) -> str | None:
    """Return the network's description, or None for MobileNetV2, which is built in."""
    return weights.to_text() if isinstance(weights, Network) else None


@dataclass(frozen=True)
class ClassifierParts:
    """The parts of a classifier's graph; `white_balance` is False for models of version 0.1."""

    weights: Weights
    head: Head
    novelty: Novelty
    white_balance: bool = True
    field_score: FieldScore | None = None  # None for models written before 0.3


def read_classifier_graph(data: bytes, external: BackboneWeights | None = None) -> ClassifierParts:
    """Recover the exact parts of a graph from `classifier_graph`.

    `external` are the weights, if the graph does not contain them. Raises `BundleError` if
    `classifier_graph` did not write the graph.
    """
    try:
        model = onnx.load_from_string(data)
        arrays = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
            if tensor.data_location != TensorProto.EXTERNAL
        }
    except Exception as error:  # protobuf has typed errors, but no types
        raise BundleError(f"The ONNX model cannot be read: {error}. Train it again.") from error
    try:
        description = next((p.value for p in model.metadata_props if p.key == _NETWORK), None)
        weights = (
            external or _mobilenet(arrays)
            if description is None
            else Network.from_text(description, arrays)
        )
        depth = sum(name.startswith("head/") and name.endswith("/kernel") for name in arrays)
        head = Head(
            tuple((arrays[f"head/{i}/kernel"], arrays[f"head/{i}/bias"]) for i in range(depth))
        )
        novelty = Novelty(
            arrays["novelty/means"],
            arrays["novelty/inv_std"],
            # Version 0.1 wrote neither.
            arrays.get("novelty/basis"),
            arrays.get("novelty/direction"),
        )
    except KeyError as error:
        raise BundleError(
            f"The ONNX model has no weight {error}. It was not written by HematoVision, or its "
            "weights are in another file."
        ) from error
    return ClassifierParts(weights, head, novelty, "white/target" in arrays, _field_score(arrays))


def _field_score(arrays: dict[str, NDArray[np.float32]]) -> FieldScore | None:
    prefix = "field/"
    found = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return FieldScore.from_arrays(found) if found else None


def _mobilenet(arrays: dict[str, NDArray[np.float32]]) -> BackboneWeights:
    weights = {s.name: to_keras_layout(s.name, arrays[s.name]) for s in weight_specs()}
    rows = arrays.get("shrink/rows")
    return BackboneWeights(weights, INPUT_SIZE if rows is None else rows.shape[0])


OPSET = 17
"""ONNX operator set, supported since ONNX Runtime 1.12."""

IR_VERSION = 8
"""ONNX file format of opset 17; older runtimes reject newer versions."""


@dataclass
class GraphBuilder:
    """An ONNX graph under construction, from ``images``, uint8 RGB (N, 224, 224, 3)."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str, **attributes: Any) -> str:
        """Add a node with one output; return its name."""
        node = helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add an array; return its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def external(self, name: str, location: str) -> str:
        """Refer to a weight in the file `location` (`BackboneWeights.save`); return its name."""
        slot = layout()[name]
        tensor = TensorProto(
            name=name,
            dims=slot.shape,
            data_type=TensorProto.FLOAT,
            data_location=TensorProto.EXTERNAL,
        )
        places = (("location", location), ("offset", slot.offset), ("length", slot.length))
        for key, value in places:
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return name

    def output(self, name: str, *shape: int) -> None:
        """Make a node's result an output, float32 (N, *shape)."""
        dimensions: list[str | int | None] = ["N", *shape]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions))

    def to_bytes(self, name: str, doc: str, network: str | None = None) -> bytes:
        """Return the serialised model; the same additions yield the same bytes."""
        images = helper.make_tensor_value_info(
            "images", TensorProto.UINT8, ("N", INPUT_SIZE, INPUT_SIZE, 3)
        )
        graph = helper.make_graph(self.nodes, name, [images], self.outputs, self.initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="hematovision",
            doc_string=doc,
        )
        if network is not None:
            helper.set_model_props(model, {_NETWORK: network})
        return bytes(model.SerializeToString(deterministic=True))


def _add_weights(graph: GraphBuilder, weights: Weights, external: str | None) -> None:
    """Add the backbone's weights, or references to them in the file `external`."""
    axes = {
        layer.weights[0]: kernel_axes(layer.op)
        for layer in weights.layers
        if layer.op in ("conv", "depthwise")
    }
    for name, array in weights.arrays.items():
        if external is None:
            graph.constant(name, array.transpose(axes[name]) if name in axes else array)
        else:
            graph.external(name, external)


_OPERATORS = {
    "relu": "Relu",
    "hard_swish": "HardSwish",
    "add": "Add",
    "multiply": "Mul",
    "sigmoid": "Sigmoid",
    "pool": "GlobalAveragePool",
}
_WINDOWS = {"max_pool": "MaxPool", "average_pool": "AveragePool"}


def _add_layer(graph: GraphBuilder, layer: Layer, inputs: list[str], channels: int) -> None:
    """Add one layer of a network; `channels` is a convolution's number of input channels."""
    if layer.op in ("conv", "depthwise"):
        graph.add(
            "Conv",
            *inputs,
            *layer.weights,
            output=layer.name,
            kernel_shape=[layer.size, layer.size],
            strides=[layer.stride, layer.stride],
            pads=list(layer.pads),
            group=channels if layer.op == "depthwise" else 1,
        )
    elif layer.op == "norm":
        graph.add(
            "BatchNormalization",
            *inputs,
            *layer.weights,
            output=layer.name,
            epsilon=layer.epsilon,
        )
    elif layer.op == "relu6":
        graph.add("Clip", *inputs, "relu6/min", "relu6/max", output=layer.name)
    elif layer.op in _WINDOWS:
        sides = {"kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2}
        graph.add(_WINDOWS[layer.op], *inputs, output=layer.name, **sides, pads=list(layer.pads))
    elif layer.op == "pad":
        top, left, bottom, right = layer.pads
        pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
        graph.add("Pad", *inputs, graph.constant(f"{layer.name}/pads", pads), output=layer.name)
    elif layer.op == "concat":
        graph.add("Concat", *inputs, output=layer.name, axis=1)
    elif layer.op == "swish":
        share = graph.add("Sigmoid", *inputs, output=f"{layer.name}/sigmoid")
        graph.add("Mul", *inputs, share, output=layer.name)
    elif layer.op == "hard_sigmoid":
        graph.add("HardSigmoid", *inputs, output=layer.name, alpha=1 / 6, beta=0.5)
    elif layer.op == "rescale":
        scale = graph.constant(f"{layer.name}/scale", np.array(layer.scale, np.float32))
        offset = graph.constant(f"{layer.name}/offset", np.array(layer.offset, np.float32))
        scaled = graph.add("Mul", *inputs, scale, output=f"{layer.name}/scaled")
        graph.add("Add", scaled, offset, output=layer.name)
    else:
        graph.add(_OPERATORS[layer.op], *inputs, output=layer.name)


def _white_balance(graph: GraphBuilder, planes: str, small: str | None) -> str:
    """Add the white balance of ``planes``; see `preprocessing.white_balanced`.

    Patches are means of `small`, if given, the means of `SHRINK` x `SHRINK` pixels: that is faster,
    and exact, because sums of bytes and their division by powers of two are exact in float32.
    """
    patch = INPUT_SIZE // PATCHES // (1 if small is None else SHRINK)
    graph.constant("white/target", np.array(WHITE, np.float32))
    graph.constant("white/least", np.array(DARKEST_WHITE, np.float32))
    graph.constant("white/most", np.array(255, np.float32))
    sides = {"kernel_shape": [patch, patch], "strides": [patch, patch]}
    patches = graph.add("AveragePool", small or planes, output="white/patches", **sides)
    brightest = graph.add("GlobalMaxPool", patches, output="white/brightest")
    white = graph.add("Max", brightest, "white/least", output="white/white")
    gain = graph.add("Div", "white/target", white, output="white/gain")
    scaled = graph.add("Mul", planes, gain, output="white/scaled")
    return graph.add("Min", scaled, "white/most", output="white/balanced")


def _shrink(graph: GraphBuilder, planes: str, side: int) -> str:
    """Add the downsampling of ``planes`` to `side` pixels."""
    matrix = shrinking(side)
    graph.constant("shrink/rows", matrix)
    graph.constant("shrink/columns", np.ascontiguousarray(matrix.T))
    narrow = graph.add("MatMul", planes, "shrink/columns", output="shrink/narrow")
    return graph.add("MatMul", "shrink/rows", narrow, output="shrink/small")


def _add_backbone(
    graph: GraphBuilder, weights: Weights, *, white_balance: bool, small: bool = False
) -> None:
    """Add everything from ``images`` to ``features`` and ``feature_map``.

    With `small` there is also ``field/small``, the image as the field score sees it.
    """
    graph.constant("scale", np.array(1 / 127.5, np.float32))
    graph.constant("offset", np.array(-1, np.float32))
    graph.constant("relu6/min", np.array(0, np.float32))
    graph.constant("relu6/max", np.array(6, np.float32))
    planes = graph.add("Transpose", "images", output="planes", perm=[0, 3, 1, 2])
    floats = graph.add("Cast", planes, output="floats", to=TensorProto.FLOAT)
    shrunk = None
    if small:
        sides = {"kernel_shape": [SHRINK, SHRINK], "strides": [SHRINK, SHRINK]}
        shrunk = graph.add("AveragePool", floats, output="field/means", **sides)
    if white_balance:
        floats = _white_balance(graph, floats, shrunk)
    if shrunk is not None:
        gained = graph.add("Mul", shrunk, "white/gain", output="field/gained")
        graph.add("Min", gained, "white/most", output="field/small")
    if weights.side != INPUT_SIZE:
        floats = _shrink(graph, floats, weights.side)
    scaled = graph.add("Mul", floats, "scale", output="scaled")
    graph.add("Add", scaled, "offset", output="rescaled")
    for layer in weights.layers:
        inputs = ["rescaled" if name == INPUT else _node(weights, name) for name in layer.inputs]
        kernel = weights.arrays[layer.weights[0]] if layer.op == "depthwise" else None
        named = replace(layer, name=_node(weights, layer.name))
        _add_layer(graph, named, inputs, 0 if kernel is None else kernel.shape[2])
    last = _node(weights, weights.layers[-1].name)
    graph.add("Transpose", last, output="feature_map", perm=[0, 2, 3, 1])
    pooled = graph.add("GlobalAveragePool", last, output="pooled")
    graph.add("Flatten", pooled, output="features", axis=1)


def _node(weights: Weights, layer: str) -> str:
    """Return the name of a layer's node; Keras names may clash with the graph's own."""
    return f"backbone/{layer}" if isinstance(weights, Network) else layer


def _add_head(graph: GraphBuilder, head: Head) -> None:
    """Add everything from ``features`` to ``logits`` and ``probabilities``."""
    value, last = "features", len(head.layers) - 1
    for number, (kernel, bias) in enumerate(head.layers):
        name = f"head/{number}"
        graph.constant(f"{name}/kernel", kernel)
        graph.constant(f"{name}/bias", bias)
        value = graph.add("Gemm", value, f"{name}/kernel", f"{name}/bias", output=name)
        if number < last:
            value = graph.add("Relu", value, output=f"{name}/relu")
    graph.add("Softmax", value, output="probabilities", axis=1)


def _add_novelty(graph: GraphBuilder, novelty: Novelty) -> None:
    """Add the distance to the nearest class; see `Novelty.score`."""
    graph.constant("novelty/means", np.asarray(novelty.means, np.float32))
    graph.constant("novelty/inv_std", np.asarray(novelty.inv_std, np.float32))
    graph.constant("novelty/axis", np.array([1], np.int64))
    rows = graph.add("Unsqueeze", "features", "novelty/axis", output="novelty/rows")
    apart = graph.add("Sub", rows, "novelty/means", output="novelty/apart")
    scaled = graph.add("Mul", apart, "novelty/inv_std", output="novelty/scaled")
    squares = _add_distance(graph, scaled, novelty)
    if novelty.direction is not None:
        squares = graph.add(
            "Add", squares, _add_excess(graph, scaled, novelty.direction), output="novelty/both"
        )
    nearest = graph.add("ReduceMin", squares, output="novelty/nearest", axes=[1], keepdims=0)
    graph.add("Sqrt", nearest, output="novelty")


def _add_distance(graph: GraphBuilder, scaled: str, novelty: Novelty) -> str:
    if novelty.basis is None:
        squares = graph.add("Mul", scaled, scaled, output="novelty/squares")
        return graph.add("ReduceMean", squares, output="novelty/mean", axes=[2], keepdims=0)
    graph.constant("novelty/basis", np.asarray(novelty.basis, np.float16))
    basis = graph.add("Cast", "novelty/basis", output="novelty/single", to=TensorProto.FLOAT)
    along = graph.add("MatMul", scaled, basis, output="novelty/along")
    return graph.add("ReduceSumSquare", along, output="novelty/distance", axes=[2], keepdims=0)


def _add_excess(graph: GraphBuilder, scaled: str, direction: NDArray[np.float32]) -> str:
    """Add the squared excess (N, C) towards decoys."""
    graph.constant("novelty/direction", np.asarray(direction, np.float32))
    towards = graph.add("MatMul", scaled, "novelty/direction", output="novelty/towards")
    excess = graph.add("Relu", towards, output="novelty/excess")
    return graph.add("Mul", excess, excess, output="novelty/excess_squared")


def _add_attention(graph: GraphBuilder, head: Head, weights: Weights) -> None:
    """Add ``attention``, Grad-CAM of the most probable class; see `explain.grad_cam`."""
    last = len(head.layers) - 1
    graph.constant("attention/places", np.array((weights.side // REDUCTION) ** 2, np.float32))
    graph.constant("attention/shape", np.array([0, weights.features, 1, 1], np.int64))
    graph.constant("attention/axis", np.array([1], np.int64))
    best = graph.add("ArgMax", f"head/{last}", output="attention/class", axis=1, keepdims=0)
    column = graph.add("Gather", f"head/{last}/kernel", best, output="attention/column", axis=1)
    slope = graph.add("Transpose", column, output=f"attention/{last}", perm=[1, 0])
    for number in reversed(range(last)):
        name = f"attention/{number}"
        # The gradient of ReLU is 1 above 0, else 0.
        passed = graph.add("Sign", f"head/{number}/relu", output=f"{name}/passed")
        slope = graph.add("Mul", slope, passed, output=f"{name}/masked")
        slope = graph.add("Gemm", slope, f"head/{number}/kernel", output=name, transB=1)
    slopes = graph.add("Reshape", slope, "attention/shape", output="attention/slopes")
    weighted = graph.add(
        "Mul", _node(weights, weights.layers[-1].name), slopes, output="attention/weighted"
    )
    total = graph.add("ReduceSum", weighted, "attention/axis", output="attention/total", keepdims=0)
    mean = graph.add("Div", total, "attention/places", output="attention/mean")
    graph.add("Relu", mean, output="attention")


def _add_field_score(graph: GraphBuilder, network: FieldScore) -> None:
    """Add ``field``; see `field_score.FieldScore`."""
    for name, array in network.arrays().items():
        graph.constant(f"field/{name}", array)
    scaled = graph.add("Mul", "field/small", "scale", output="field/scaled")
    value = graph.add("Add", scaled, "offset", output="field/input")
    for number in range(len(network.convolutions)):
        name = f"field/{number}"
        weights = (f"{name}/kernel", f"{name}/bias")
        sides = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        value = graph.add("Conv", value, *weights, output=f"{name}/convolved", **sides)
        value = graph.add("Relu", value, output=f"{name}/relu")
    value = graph.add("Flatten", value, output="field/flat", axis=1)
    logit = graph.add("Gemm", value, "field/dense/kernel", "field/dense/bias", output="field/logit")
    graph.constant("field/shape", np.array([-1], np.int64))
    flat = graph.add("Reshape", logit, "field/shape", output="field/logits")
    graph.add("Sigmoid", flat, output="field")
