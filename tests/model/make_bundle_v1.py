"""How the folder ``data/bundle_v1`` was made; kept to be read, not to be run again.

Its model is not a MobileNetV2 but predicts which of red, green and blue is strongest: small enough
to be committed, with predictions that can be computed by hand. When the schema changes, this folder
stays as it is and another one is added.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from hematovision.model.bundle import ONNX, write_bundle
from hematovision.model.manifest import BackboneRef, Manifest
from hematovision.model.thresholds import Thresholds
from hematovision.taxonomy import Taxonomy


def tiny_graph(
    *, input_name: str = "images", classes: int = 3, size: int = 224, leave_out: str = ""
) -> bytes:
    """A graph with the inputs and outputs of a classifier, or, by the options, not quite."""
    widen = np.zeros((3, 1280), np.float32)
    widen[[0, 1, 2], [0, 1, 2]] = 1
    choose = np.zeros((1280, classes), np.float32)
    choose[[0, 1], [0, 1]] = 1
    choose[2, -1] = 1
    constants = {"widen": widen, "choose": choose, "full": np.array(255, np.float32)}
    node = helper.make_node
    nodes = [
        node("Cast", [input_name], ["floats"], to=TensorProto.FLOAT),
        node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        node("AveragePool", ["planes"], ["tiles"], kernel_shape=[32, 32], strides=[32, 32]),
        node("Transpose", ["tiles"], ["tiles_last"], perm=[0, 2, 3, 1]),
        node("MatMul", ["tiles_last", "widen"], ["feature_map"]),
        node("ReduceMean", ["feature_map"], ["features"], axes=[1, 2], keepdims=0),
        node("MatMul", ["features", "choose"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ReduceMax", ["features"], ["strongest"], axes=[1], keepdims=0),
        node("Div", ["strongest", "full"], ["novelty"]),
    ]
    shapes: dict[str, list[str | int]] = {
        "probabilities": ["N", classes],
        "novelty": ["N"],
        "features": ["N", 1280],
        "feature_map": ["N", size // 32, size // 32, 1280],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, TensorProto.UINT8, ["N", size, size, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
            if name != leave_out
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return model.SerializeToString(deterministic=True)


def main() -> None:
    """Write the folder."""
    manifest = Manifest(
        name="strongest-colour",
        taxonomy=Taxonomy("colours", ("red", "green", "blue"), {"red": ("rouge",)}),
        temperature=1.5,
        thresholds=Thresholds(min_confidence=0.75, max_novelty=0.8),
        backbone=BackboneRef("none", "0" * 64),
        data={"fingerprint": "0" * 64, "splits": {"train": 7, "valid": 2, "test": 1}},
        seed=3,
        options={"epochs": 15},
        versions={"hematovision": "0.1.0"},
        created="2026-01-01T00:00:00+00:00",
    )
    folder = Path(__file__).parent / "data" / "bundle_v1"
    write_bundle(folder, manifest, {ONNX: tiny_graph(), "MODEL_CARD.md": b"# Strongest colour\n"})


if __name__ == "__main__":
    main()
