"""The ONNX graphs, written from the architecture table.

One function writes the backbone alone (for the feature cache), one the whole classifier. Both
take uint8 images, so that scaling cannot be forgotten or done twice, and keep every weight of
Keras as an initializer of the same name: `read_classifier_graph` gets them back exactly.

This module needs the ``onnx`` package (the extra ``train``); running a graph does not.

.. code-block:: text

    graph.py           whole graphs, written and read back
    graph_layers.py    their parts: backbone, head, novelty, attention
    graph_builder.py   nodes, constants, external data, bytes
"""

from __future__ import annotations

from dataclasses import dataclass

from hematovision.errors import BundleError
from hematovision.extras import needs_extra
from hematovision.model.architecture import FEATURES, INPUT_SIZE, REDUCTION, weight_specs
from hematovision.model.graph_builder import GraphBuilder
from hematovision.model.graph_layers import (
    add_attention,
    add_backbone,
    add_head,
    add_novelty,
    add_weights,
)
from hematovision.model.head import Head
from hematovision.model.novelty import Novelty
from hematovision.model.weights import BackboneWeights, to_keras_layout

with needs_extra("train", "Reading an ONNX model"):
    import onnx
    from onnx import TensorProto, numpy_helper

__all__ = [
    "ClassifierParts",
    "backbone_graph",
    "classifier_graph",
    "read_classifier_graph",
]


def backbone_graph(
    weights: BackboneWeights, *, external: str | None = None, white_balance: bool = True
) -> bytes:
    """Write the graph from images to features.

    Its input is ``images``, uint8 RGB (N, 224, 224, 3); its outputs are ``features``,
    float32 (N, 1280), and ``feature_map``, float32 (N, M, M, 1280). N is free, M
    a 32nd of the side at which the network sees.

    Parameters
    ----------
    weights : BackboneWeights
        The weights.
    external : str, optional
        Name of the weights file (`BackboneWeights.save`) to refer to, beside the graph's own file;
        without it the graph holds the weights itself.
    white_balance : bool
        Whether images are balanced first (`balance.white_balanced`).

    Returns
    -------
    bytes
        An ONNX model; the same for the same arguments.
    """
    graph = GraphBuilder()
    add_weights(graph, weights, external)
    add_backbone(graph, weights.side, white_balance=white_balance)
    graph.output("features", FEATURES)
    graph.output("feature_map", *_map_shape(weights), FEATURES)
    return graph.to_bytes("mobilenet_v2", "MobileNetV2 without its top, from RGB uint8 images.")


def classifier_graph(
    weights: BackboneWeights,
    head: Head,
    novelty: Novelty,
    *,
    external: str | None = None,
    white_balance: bool = True,
) -> bytes:
    """Write the graph from images to answers.

    Its input is ``images``, uint8 RGB (N, 224, 224, 3); its outputs are ``probabilities``,
    float32 (N, C), ``novelty``, float32 (N,), ``features``, float32 (N, 1280), ``feature_map``,
    float32 (N, M, M, 1280), and ``attention``, float32 (N, M, M): Grad-CAM of the most probable
    class (`explain.grad_cam`). N is free, M
    a 32nd of the side at which the network sees.

    Parameters
    ----------
    weights : BackboneWeights
        The backbone.
    head : Head
        The dense layers, the calibration already in the last of them (`Calibration.fold`).
    novelty : Novelty
        What the features of cells look like.
    external : str, optional
        As in `backbone_graph`.
    white_balance : bool
        As in `backbone_graph`.

    Returns
    -------
    bytes
        An ONNX model; the same for the same arguments.
    """
    graph = GraphBuilder()
    add_weights(graph, weights, external)
    add_backbone(graph, weights.side, white_balance=white_balance)
    add_head(graph, head)
    add_novelty(graph, novelty)
    add_attention(graph, head, weights.side)
    graph.output("probabilities", head.n_classes)
    graph.output("novelty")
    graph.output("features", FEATURES)
    graph.output("feature_map", *_map_shape(weights), FEATURES)
    graph.output("attention", *_map_shape(weights))
    return graph.to_bytes("hematovision", "Blood cells with MobileNetV2, from RGB uint8 images.")


def _map_shape(weights: BackboneWeights) -> tuple[int, int]:
    return weights.side // REDUCTION, weights.side // REDUCTION


@dataclass(frozen=True)
class ClassifierParts:
    """What a classifier's graph was written from.

    `white_balance` is False for models of the first version.
    """

    weights: BackboneWeights
    head: Head
    novelty: Novelty
    white_balance: bool = True


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
            {s.name: to_keras_layout(s.name, arrays[s.name]) for s in weight_specs()},
            arrays["shrink/rows"].shape[0] if "shrink/rows" in arrays else INPUT_SIZE,
        )
        depth = sum(name.startswith("head/") and name.endswith("/kernel") for name in arrays)
        head = Head(
            tuple((arrays[f"head/{i}/kernel"], arrays[f"head/{i}/bias"]) for i in range(depth))
        )
        novelty = Novelty(
            arrays["novelty/means"],
            arrays["novelty/inv_std"],
            # The first version's models have neither; they are what they were.
            arrays.get("novelty/basis"),
            arrays.get("novelty/direction"),
        )
    except KeyError as error:
        raise BundleError(
            f"The ONNX model has no weight {error}; it was not written by HematoVision, or its "
            "weights are in another file."
        ) from error
    return ClassifierParts(weights, head, novelty, "white/target" in arrays)
