"""The parts of the ONNX graphs: backbone, head, novelty and attention, as nodes.

Every weight of Keras is an initializer of the same name. Batch normalisation is kept as it is;
ONNX Runtime folds it into the convolutions when it loads. This module needs the ``onnx`` package.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hematovision.extras import needs_extra
from hematovision.model.architecture import (
    BATCH_NORM_EPSILON,
    BLOCKS,
    FEATURES,
    INPUT_SIZE,
    REDUCTION,
    STEM,
    TOP,
    ConvLayer,
    block_layers,
)
from hematovision.model.balance import DARKEST_WHITE, PATCHES, WHITE
from hematovision.model.graph_builder import GraphBuilder
from hematovision.model.head import Head
from hematovision.model.novelty import Novelty
from hematovision.model.shrink import shrinking
from hematovision.model.weights import BackboneWeights, to_onnx_layout

with needs_extra("train", "Writing an ONNX model"):
    from onnx import TensorProto

__all__ = ["add_attention", "add_backbone", "add_head", "add_novelty", "add_weights"]


def add_weights(graph: GraphBuilder, weights: BackboneWeights, external: str | None) -> None:
    """Add the backbone's weights, as values or, if `external` names a file, as places in it."""
    for name, array in weights.arrays.items():
        if external is None:
            graph.constant(name, to_onnx_layout(name, array))
        else:
            graph.external(name, external)


def _convolution(graph: GraphBuilder, layer: ConvLayer, source: str) -> str:
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


def _white_balance(graph: GraphBuilder, planes: str) -> str:
    """Add the white balance of ``planes``; see `balance.white_balanced` for the formula."""
    patch = INPUT_SIZE // PATCHES
    graph.constant("white/target", np.array(WHITE, np.float32))
    graph.constant("white/least", np.array(DARKEST_WHITE, np.float32))
    graph.constant("white/most", np.array(255, np.float32))
    sides = {"kernel_shape": [patch, patch], "strides": [patch, patch]}
    patches = graph.add("AveragePool", planes, output="white/patches", **sides)
    brightest = graph.add("GlobalMaxPool", patches, output="white/brightest")
    white = graph.add("Max", brightest, "white/least", output="white/white")
    gain = graph.add("Div", "white/target", white, output="white/gain")
    scaled = graph.add("Mul", planes, gain, output="white/scaled")
    return graph.add("Min", scaled, "white/most", output="white/balanced")


def _shrink(graph: GraphBuilder, planes: str, side: int) -> str:
    """Add the shrinking of ``planes`` to `side` pixels."""
    matrix = shrinking(side)
    graph.constant("shrink/rows", matrix)
    graph.constant("shrink/columns", np.ascontiguousarray(matrix.T))
    narrow = graph.add("MatMul", planes, "shrink/columns", output="shrink/narrow")
    return graph.add("MatMul", "shrink/rows", narrow, output="shrink/small")


def add_backbone(graph: GraphBuilder, side: int, *, white_balance: bool) -> None:
    """Add everything from ``images`` to ``features`` and ``feature_map``."""
    graph.constant("scale", np.array(1 / 127.5, np.float32))
    graph.constant("offset", np.array(-1, np.float32))
    graph.constant("relu6/min", np.array(0, np.float32))
    graph.constant("relu6/max", np.array(6, np.float32))
    planes = graph.add("Transpose", "images", output="planes", perm=[0, 3, 1, 2])
    floats = graph.add("Cast", planes, output="floats", to=TensorProto.FLOAT)
    if white_balance:
        floats = _white_balance(graph, floats)
    if side != INPUT_SIZE:
        floats = _shrink(graph, floats, side)
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


def add_head(graph: GraphBuilder, head: Head) -> None:
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


def add_novelty(graph: GraphBuilder, novelty: Novelty) -> None:
    """Add the distance to the nearest class; see `Novelty.score` for the formula."""
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
    """Add the square of how far (N, C) features go towards decoys."""
    graph.constant("novelty/direction", np.asarray(direction, np.float32))
    towards = graph.add("MatMul", scaled, "novelty/direction", output="novelty/towards")
    excess = graph.add("Relu", towards, output="novelty/excess")
    return graph.add("Mul", excess, excess, output="novelty/excess_squared")


def add_attention(graph: GraphBuilder, head: Head, side: int) -> None:
    """Add ``attention``, Grad-CAM of the most probable class; see `explain.grad_cam`."""
    last = len(head.layers) - 1
    graph.constant("attention/places", np.array((side // REDUCTION) ** 2, np.float32))
    graph.constant("attention/shape", np.array([0, FEATURES, 1, 1], np.int64))
    graph.constant("attention/axis", np.array([1], np.int64))
    best = graph.add("ArgMax", f"head/{last}", output="attention/class", axis=1, keepdims=0)
    column = graph.add("Gather", f"head/{last}/kernel", best, output="attention/column", axis=1)
    slope = graph.add("Transpose", column, output=f"attention/{last}", perm=[1, 0])
    for number in reversed(range(last)):
        name = f"attention/{number}"
        # The slope of a ReLU: 1 where it lets something through, else 0.
        passed = graph.add("Sign", f"head/{number}/relu", output=f"{name}/passed")
        slope = graph.add("Mul", slope, passed, output=f"{name}/masked")
        slope = graph.add("Gemm", slope, f"head/{number}/kernel", output=name, transB=1)
    slopes = graph.add("Reshape", slope, "attention/shape", output="attention/slopes")
    weighted = graph.add("Mul", f"{TOP.name}_relu", slopes, output="attention/weighted")
    total = graph.add("ReduceSum", weighted, "attention/axis", output="attention/total", keepdims=0)
    mean = graph.add("Div", total, "attention/places", output="attention/mean")
    graph.add("Relu", mean, output="attention")
