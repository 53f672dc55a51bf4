"""A detector of a few operations: the colours of a pixel are the heat of its place.

Red is the heat of red cells, green of white cells, blue of platelets, each divided by 255. Every
box is 36 pixels wide and 24 high.
"""

import math
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from hematovision.model.bundle import ONNX, Bundle, seal_self_test, write_bundle
from hematovision.model.manifest import BackboneRef, Detection, Manifest
from hematovision.model.thresholds import Thresholds
from hematovision.taxonomy import RBC_WBC_PLATELETS

CLASSES = RBC_WBC_PLATELETS.classes
DETECTION = Detection(
    thresholds={"RBC": 0.4, "WBC": 0.3, "Platelets": 0.2},
    calibration={"RBC": (1.0, 0.0), "WBC": (1.0, 0.0), "Platelets": (2.0, 0.5)},
)
MANIFEST = Manifest(
    name="tiny",
    taxonomy=RBC_WBC_PLATELETS,
    thresholds=Thresholds(0.5, math.inf),
    backbone=BackboneRef("none", "0" * 64),
    detection=DETECTION,
    scaling="none",
)


def tiny_graph(sides: tuple[object, object] = ("H", "W")) -> bytes:
    node = helper.make_node
    sizes = np.array([18, 12, 18, 12], np.float32).reshape(1, 4, 1, 1)
    nodes = [
        node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        node("AveragePool", ["planes"], ["places"], kernel_shape=[4, 4], strides=[4, 4]),
        node("Mul", ["places", "scale"], ["shares"]),
        node("Transpose", ["shares"], ["heat"], perm=[0, 2, 3, 1]),
        node("Slice", ["shares", "zero", "one", "axis"], ["first"]),
        node("Mul", ["first", "none"], ["nothing"]),
        node("Add", ["nothing", "sizes"], ["sides"]),
        node("Transpose", ["sides"], ["distances"], perm=[0, 2, 3, 1]),
    ]
    constants = {
        "scale": np.array(1 / 255, np.float32),
        "none": np.array(0, np.float32),
        "sizes": sizes,
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("images", TensorProto.UINT8, ["batch", *sides, 3])],
        [
            value("heat", TensorProto.FLOAT, ["batch", "h", "w", 3]),
            value("distances", TensorProto.FLOAT, ["batch", "h", "w", 4]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def tiny_bundle(folder: Path) -> Bundle:
    return seal_self_test(write_bundle(folder, MANIFEST, {ONNX: tiny_graph()}))
