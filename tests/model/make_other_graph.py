"""A model of another program: 160 pixels, probabilities alone, no features and no novelty."""

import math
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from hematovision.model.bundle import ONNX, Bundle, seal_self_test, write_bundle
from hematovision.model.manifest import BackboneRef, Manifest
from hematovision.model.thresholds import Thresholds
from hematovision.taxonomy import Taxonomy


def other_graph(size: int = 160, *, free: bool = False, dtype: int = TensorProto.UINT8) -> bytes:
    """Classify by the largest of the mean colours; `free` leaves the size of the input open."""
    node = helper.make_node
    nodes = [
        node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
        node("Mul", ["means", "factor"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    sides = ["H", "W"] if free else [size, size]
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("images", dtype, ["batch", *sides, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.array(0.1, np.float32), "factor")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def other_manifest(size: int = 160) -> Manifest:
    return Manifest(
        name="largest-colour",
        taxonomy=Taxonomy("colours", ("red", "green", "blue")),
        thresholds=Thresholds(min_confidence=0.9, max_novelty=math.inf),
        backbone=BackboneRef("none", "0" * 64),
        input_size=size,
        scaling="none",
    )


def other_bundle(folder: Path) -> Bundle:
    return seal_self_test(write_bundle(folder, other_manifest(), {ONNX: other_graph()}))
