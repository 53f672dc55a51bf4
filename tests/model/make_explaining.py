"""The model that predicts the strongest colour, with explanation maps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hematovision.model.bundle import ONNX, read_bundle, write_bundle
from model.make_bundle_v1 import tiny_graph

OLD = Path(__file__).parent / "data" / "bundle_v1"


def explaining_graph(*, size: int = 7) -> bytes:
    """`tiny_graph` with ``attention``: the strength of the predicted colour at each place."""
    model = onnx.load_from_string(tiny_graph())
    node = helper.make_node
    model.graph.node.extend(
        [
            node("ArgMax", ["logits"], ["class"], axis=1, keepdims=0),
            node("Gather", ["choose", "class"], ["columns"], axis=1),
            node("Transpose", ["columns"], ["slopes"], perm=[1, 0]),
            node("Reshape", ["slopes", "as_planes"], ["planes_of_class"]),
            node("Mul", ["feature_map", "planes_of_class"], ["weighted"]),
            node("ReduceSum", ["weighted", "last"], ["total"], keepdims=0),
            node("Div", ["total", "places"], ["attention"]),
        ]
    )
    constants = {
        "as_planes": np.array([0, 1, 1, 1280], np.int64),
        "last": np.array([3], np.int64),
        "places": np.array(49, np.float32),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    shape = ["N", size, size]
    output = helper.make_tensor_value_info("attention", TensorProto.FLOAT, shape)
    model.graph.output.append(output)
    return model.SerializeToString(deterministic=True)


def explaining_bundle(folder: Path) -> Path:
    """Write a bundle of schema 1 with this model."""
    manifest = replace(read_bundle(OLD).manifest, files={})
    return write_bundle(folder, manifest, {ONNX: explaining_graph()}).folder
