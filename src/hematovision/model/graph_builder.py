"""An ONNX graph under construction: what every graph of HematoVision has in common.

This module needs the ``onnx`` package (the extra ``train``); running a graph does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.extras import needs_extra
from hematovision.model.architecture import INPUT_SIZE
from hematovision.model.weights import layout

with needs_extra("train", "Writing an ONNX model"):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

__all__ = ["IR_VERSION", "OPSET", "GraphBuilder"]

OPSET = 17
"""The operators' version: every ONNX Runtime since 1.12 knows it."""

IR_VERSION = 8
"""The file format's version that belongs to opset 17; newer ones shut older runtimes out."""


@dataclass
class GraphBuilder:
    """A graph from ``images``, uint8 RGB (N, 224, 224, 3), to outputs that are added.

    Parameters
    ----------
    nodes, initializers, outputs : list
        What has been added so far.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str, **attributes: Any) -> str:
        """Add a node of one output, which gives the node its name; return that name."""
        node = helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add an array that the graph holds; return its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def external(self, name: str, location: str) -> str:
        """Add a weight of the backbone that lies in the weights file `location`.

        See `BackboneWeights.save`. Returns the weight's name.
        """
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
        """Make a node's result an output, float32 of shape (N, *shape)."""
        dimensions: list[str | int | None] = ["N", *shape]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions))

    def to_bytes(self, name: str, doc: str) -> bytes:
        """Return the model; the same for the same additions."""
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
