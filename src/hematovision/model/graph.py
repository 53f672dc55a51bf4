"""The ONNX graphs, written from the architecture table.

One function writes the backbone alone (for the feature cache), one the whole classifier. Both
take uint8 images, so that scaling cannot be forgotten or done twice, and keep every weight of
Keras as an initializer of the same name: `read_classifier_graph` gets them back exactly. Batch
normalisation is kept as it is; ONNX Runtime folds it into the convolutions when it loads.

This module needs the ``onnx`` package (the extra ``train``); running a graph does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import BundleError, needs_extra
from hematovision.model.architecture import (
    BATCH_NORM_EPSILON,
    BLOCKS,
    FEATURE_MAP_SIZE,
    FEATURES,
    INPUT_SIZE,
    STEM,
    TOP,
    ConvLayer,
    block_layers,
    weight_specs,
)
from hematovision.model.head import Head
from hematovision.model.trust import Novelty
from hematovision.model.weights import (
    BackboneWeights,
    layout,
    to_keras_layout,
    to_onnx_layout,
)

with needs_extra("train", "Writing an ONNX model"):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "IR_VERSION",
    "OPSET",
    "ClassifierParts",
    "backbone_graph",
    "classifier_graph",
    "read_classifier_graph",
]

OPSET = 17
"""The operators' version: every ONNX Runtime since 1.12 knows it."""

IR_VERSION = 8
"""The file format's version that belongs to opset 17; newer ones shut older runtimes out."""


@dataclass
class _Graph:
    """A graph under construction."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str, **attributes: Any) -> str:
        node = helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def output(self, name: str, *shape: int) -> None:
        dimensions: list[str | int | None] = ["N", *shape]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions))

    def to_bytes(self, name: str, doc: str) -> bytes:
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
        return bytes(model.SerializeToString(deterministic=True))


def _external(name: str, location: str) -> onnx.TensorProto:
    slot = layout()[name]
    tensor = TensorProto(
        name=name, dims=slot.shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", slot.offset), ("length", slot.length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _add_weights(graph: _Graph, weights: BackboneWeights, external: str | None) -> None:
    for name, array in weights.arrays.items():
        if external is None:
            graph.constant(name, to_onnx_layout(name, array))
        else:
            graph.initializers.append(_external(name, external))


def _convolution(graph: _Graph, layer: ConvLayer, source: str) -> str:
    graph.add(
        "Conv",
        source,
        f"{layer.name}/kernel",
        output=layer.name,
        kernel_shape=[layer.size, layer.size],
        strides=[layer.stride, layer.stride],
        pads=list(layer.pads),
        group=layer.inputs if layer.kind == "depthwise" else 1,
    )
    norm = [f"{layer.norm}/{part}" for part in ("gamma", "beta", "moving_mean", "moving_variance")]
    result = graph.add(
        "BatchNormalization", layer.name, *norm, output=layer.norm, epsilon=BATCH_NORM_EPSILON
    )
    if layer.activated:
        result = graph.add("Clip", result, "relu6/min", "relu6/max", output=f"{layer.name}_relu")
    return result


def _add_backbone(graph: _Graph) -> None:
    """Add everything from ``images`` to ``features`` and ``feature_map``."""
    graph.constant("scale", np.array(1 / 127.5, np.float32))
    graph.constant("offset", np.array(-1, np.float32))
    graph.constant("relu6/min", np.array(0, np.float32))
    graph.constant("relu6/max", np.array(6, np.float32))
    planes = graph.add("Transpose", "images", output="planes", perm=[0, 3, 1, 2])
    floats = graph.add("Cast", planes, output="floats", to=TensorProto.FLOAT)
    scaled = graph.add("Mul", floats, "scale", output="scaled")
    value = graph.add("Add", scaled, "offset", output="rescaled")
    value = _convolution(graph, STEM, value)
    for block in BLOCKS:
        source = value
        for layer in block_layers(block):
            value = _convolution(graph, layer, value)
        if block.is_residual:
            value = graph.add("Add", source, value, output=f"{block.prefix}_add")
    value = _convolution(graph, TOP, value)
    graph.add("Transpose", value, output="feature_map", perm=[0, 2, 3, 1])
    pooled = graph.add("GlobalAveragePool", value, output="pooled")
    graph.add("Flatten", pooled, output="features", axis=1)


def _add_head(graph: _Graph, head: Head) -> None:
    value, last = "features", len(head.layers) - 1
    for number, (kernel, bias) in enumerate(head.layers):
        name = f"head/{number}"
        graph.constant(f"{name}/kernel", kernel)
        graph.constant(f"{name}/bias", bias)
        value = graph.add("Gemm", value, f"{name}/kernel", f"{name}/bias", output=name)
        if number < last:
            value = graph.add("Relu", value, output=f"{name}/relu")
    graph.add("Softmax", value, output="probabilities", axis=1)


def _add_novelty(graph: _Graph, novelty: Novelty) -> None:
    """Add the distance to the nearest class; see `Novelty.score` for the formula."""
    graph.constant("novelty/means", np.asarray(novelty.means, np.float32))
    graph.constant("novelty/inv_std", np.asarray(novelty.inv_std, np.float32))
    graph.constant("novelty/axis", np.array([1], np.int64))
    rows = graph.add("Unsqueeze", "features", "novelty/axis", output="novelty/rows")
    apart = graph.add("Sub", rows, "novelty/means", output="novelty/apart")
    scaled = graph.add("Mul", apart, "novelty/inv_std", output="novelty/scaled")
    squares = graph.add("Mul", scaled, scaled, output="novelty/squares")
    mean = graph.add("ReduceMean", squares, output="novelty/mean", axes=[2], keepdims=0)
    nearest = graph.add("ReduceMin", mean, output="novelty/nearest", axes=[1], keepdims=0)
    graph.add("Sqrt", nearest, output="novelty")


def backbone_graph(weights: BackboneWeights, *, external: str | None = None) -> bytes:
    """Write the graph from images to features.

    Its input is ``images``, uint8 RGB (N, 224, 224, 3); its outputs are ``features``,
    float32 (N, 1280), and ``feature_map``, float32 (N, 7, 7, 1280). N is free.

    Parameters
    ----------
    weights : BackboneWeights
        The weights.
    external : str, optional
        Name of the weights file (`BackboneWeights.save`) to refer to, beside the graph's own file;
        without it the graph holds the weights itself.

    Returns
    -------
    bytes
        An ONNX model; the same for the same arguments.
    """
    graph = _Graph()
    _add_weights(graph, weights, external)
    _add_backbone(graph)
    graph.output("features", FEATURES)
    graph.output("feature_map", FEATURE_MAP_SIZE, FEATURE_MAP_SIZE, FEATURES)
    return graph.to_bytes("mobilenet_v2", "MobileNetV2 without its top, from RGB uint8 images.")


def classifier_graph(
    weights: BackboneWeights, head: Head, novelty: Novelty, *, external: str | None = None
) -> bytes:
    """Write the graph from images to answers.

    Its input is ``images``, uint8 RGB (N, 224, 224, 3); its outputs are ``probabilities``,
    float32 (N, C), ``novelty``, float32 (N,), ``features``, float32 (N, 1280), and
    ``feature_map``, float32 (N, 7, 7, 1280). N is free.

    Parameters
    ----------
    weights : BackboneWeights
        The backbone.
    head : Head
        The dense layers, the calibration temperature already in the last of them
        (`Head.with_temperature`).
    novelty : Novelty
        Class means and scale of the features.
    external : str, optional
        As in `backbone_graph`.

    Returns
    -------
    bytes
        An ONNX model; the same for the same arguments.
    """
    graph = _Graph()
    _add_weights(graph, weights, external)
    _add_backbone(graph)
    _add_head(graph, head)
    _add_novelty(graph, novelty)
    graph.output("probabilities", head.n_classes)
    graph.output("novelty")
    graph.output("features", FEATURES)
    graph.output("feature_map", FEATURE_MAP_SIZE, FEATURE_MAP_SIZE, FEATURES)
    return graph.to_bytes("hematovision", "Blood cells with MobileNetV2, from RGB uint8 images.")


@dataclass(frozen=True)
class ClassifierParts:
    """What a classifier's graph was written from."""

    weights: BackboneWeights
    head: Head
    novelty: Novelty


def read_classifier_graph(data: bytes, external: BackboneWeights | None = None) -> ClassifierParts:
    """Get back what `classifier_graph` was given, bit by bit.

    Parameters
    ----------
    data : bytes
        The ONNX model.
    external : BackboneWeights, optional
        The weights the graph refers to, where it does not hold them itself.

    Raises
    ------
    BundleError
        If it is no such graph.
    """
    try:
        tensors = {tensor.name: tensor for tensor in onnx.load_from_string(data).graph.initializer}
    except Exception as error:  # protobuf has typed errors, but no types
        raise BundleError(f"The ONNX model cannot be read: {error}. Train it again.") from error
    arrays = {
        name: numpy_helper.to_array(tensor)
        for name, tensor in tensors.items()
        if tensor.data_location != TensorProto.EXTERNAL
    }
    try:
        weights = external or BackboneWeights(
            {s.name: to_keras_layout(s.name, arrays[s.name]) for s in weight_specs()}
        )
        depth = sum(name.startswith("head/") and name.endswith("/kernel") for name in arrays)
        head = Head(
            tuple((arrays[f"head/{i}/kernel"], arrays[f"head/{i}/bias"]) for i in range(depth))
        )
        novelty = Novelty(arrays["novelty/means"], arrays["novelty/inv_std"])
    except KeyError as error:
        raise BundleError(
            f"The ONNX model has no weight {error}; it was not written by HematoVision, or its "
            "weights are in another file."
        ) from error
    return ClassifierParts(weights, head, novelty)
