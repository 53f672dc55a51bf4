"""Backbones as plain data: layers, their connections and their weights.

A network needs neither Keras nor ONNX. `graph` writes it as ONNX; `training.keras_model` converts
it to and from a Keras model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import WeightsError
from hematovision.files import sha256_bytes

__all__ = ["INPUT", "INPUT_SIZE", "REDUCTION", "Layer", "Network", "Op", "kernel_axes"]

INPUT = "input"
"""The name that layers use for the scaled images."""

INPUT_SIZE = 224
"""Width and height of the input of models trained by HematoVision, in pixels."""

REDUCTION = 32
"""The factor by which five layers of stride 2 reduce width and height."""

Op = Literal[
    "conv",
    "depthwise",
    "norm",
    "relu",
    "relu6",
    "hard_sigmoid",
    "hard_swish",
    "sigmoid",
    "swish",
    "rescale",
    "add",
    "multiply",
    "concat",
    "pad",
    "max_pool",
    "average_pool",
    "pool",
]

_WEIGHTS = {"conv": (1, 2), "depthwise": (1, 2), "norm": (4,)}
_INPUTS = {"add": (2, 2), "multiply": (2, 2), "concat": (2, 1_000)}  # fewest and most; else one


@dataclass(frozen=True)
class Layer:
    """One layer of a network."""

    name: str
    # ``"norm"`` is batch normalisation in inference mode, ``"rescale"`` is ``x * scale +
    # offset``, ``"concat"`` joins channels, ``"pad"`` adds zeros, ``"pool"`` is the mean over all
    # places, and ``"average_pool"`` the mean over a window, without what was added around the image
    op: Op
    inputs: tuple[str, ...]  # names of earlier layers, or `INPUT`
    # names of its weights: kernel and, if any, bias; or gamma, beta, mean and variance
    weights: tuple[str, ...] = ()
    # of a convolution's kernel or a window, in both directions
    size: int = 1
    stride: int = 1
    # what is added around the image (top, left, bottom, right): zeros, or nothing by a window
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    epsilon: float = 0.0  # added to each variance of a batch normalisation
    # of a rescaling
    scale: float = 1.0
    offset: float = 0.0


def kernel_axes(op: str) -> tuple[int, int, int, int]:
    """Return the permutation that transposes a Keras kernel to ONNX layout.

    A depthwise kernel is (height, width, channels, 1) in Keras and (channels, 1, height, width) in
    ONNX; other kernels are (height, width, inputs, outputs) and (outputs, inputs, height, width).
    """
    return (2, 3, 0, 1) if op == "depthwise" else (3, 2, 0, 1)


@dataclass(frozen=True)
class Network:
    """A backbone without its top.

    Raises `WeightsError` if the layers are not connected, or weights are missing or not finite.
    """

    architecture: str  # its name in `registry.BACKBONES`
    # in topological order; the last layer's output is the feature map
    layers: tuple[Layer, ...]
    # every weight by name, in Keras' layout; copied and made read-only
    arrays: Mapping[str, NDArray[np.float32]]

    side = INPUT_SIZE
    """Width and height at which the network sees images, in pixels."""

    def __post_init__(self) -> None:
        known = {INPUT}
        for layer in self.layers:
            if (
                layer.op not in get_args(Op)
                or layer.name in known
                or not known.issuperset(layer.inputs)
                or not _fits(layer)
                or len(layer.weights) not in _WEIGHTS.get(layer.op, (0,))
            ):
                raise WeightsError(f"The network's layer {layer.name!r} is not connected: {layer}")
            known.add(layer.name)
        names = [name for layer in self.layers for name in layer.weights]
        missing = [name for name in names if name not in self.arrays]
        if missing:
            raise WeightsError(
                f"{len(missing)} of {len(names)} weights of {self.architecture} are missing "
                f"(first: {missing[:3]}). Use a file that Keras made for this architecture."
            )
        arrays = {name: np.array(self.arrays[name], np.float32, order="C") for name in names}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise WeightsError(f"The weight {name!r} has values that are not finite.")
            array.setflags(write=False)
        object.__setattr__(self, "arrays", MappingProxyType(arrays))

    @property
    def features(self) -> int:
        """The length of a feature vector: the channels of the last layer."""
        return self.channels[self.layers[-1].name]

    @cached_property
    def channels(self) -> Mapping[str, int]:
        """The number of channels of each layer's output, by name."""
        found = {INPUT: 3}
        for layer in self.layers:
            inputs = [found[name] for name in layer.inputs]
            if layer.op == "conv":
                found[layer.name] = int(self.arrays[layer.weights[0]].shape[-1])
            else:
                found[layer.name] = sum(inputs) if layer.op == "concat" else inputs[0]
        return found

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the layers and the weights."""
        content = [self.to_text().encode(), *(a.tobytes() for a in self.arrays.values())]
        return sha256_bytes(b"".join(content))

    def to_text(self) -> str:
        """Return architecture and layers as JSON, without the weights."""
        layers = [asdict(layer) for layer in self.layers]
        return json.dumps({"architecture": self.architecture, "layers": layers})

    @classmethod
    def from_text(cls, text: str, arrays: Mapping[str, NDArray[np.float32]]) -> Network:
        """Return the network described by `to_text`, with weights in ONNX layout.

        Raises `WeightsError` if the text or the weights are invalid.
        """
        try:
            root: dict[str, Any] = json.loads(text)
            layers = tuple(
                Layer(**{key: _frozen(value) for key, value in layer.items()})
                for layer in root["layers"]
            )
            turned = dict(arrays)
            for layer in layers:
                if layer.op in ("conv", "depthwise"):
                    kernel = layer.weights[0]
                    turned[kernel] = arrays[kernel].transpose(np.argsort(kernel_axes(layer.op)))
            return cls(str(root["architecture"]), layers, turned)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise WeightsError(f"The network's description is damaged: {error}.") from error


def _fits(layer: Layer) -> bool:
    fewest, most = _INPUTS.get(layer.op, (1, 1))
    return fewest <= len(layer.inputs) <= most


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
