"""MobileNetV2 in PyTorch, from the same table as the Keras model and the ONNX graph.

PyTorch trains this network about twice as fast on a processor as Keras on TensorFlow does, and as
it stands on a GPU. `load` and `weights` go to and from `BackboneWeights`; a test holds the features
to those of the ONNX graph.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hematovision.model.architecture import (
    BATCH_NORM_EPSILON,
    BLOCKS,
    STEM,
    TOP,
    Block,
    ConvLayer,
    block_layers,
)
from hematovision.model.preprocessing import DARKEST_WHITE, PATCHES, WHITE, shrinking
from hematovision.model.weights import BackboneWeights

__all__ = ["MobileNetV2", "scaled"]

# Share of the newest batch in the running statistics: of the last 30 batches or so.
_MOMENTUM = 0.03


def scaled(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Turn pixels (N, 224, 224, 3) uint8 into the network's input (N, 3, side, side), -1 to 1."""
    values = pixels.permute(0, 3, 1, 2).float()
    patches = functional.avg_pool2d(values, values.shape[-1] // PATCHES)
    white = patches.amax(dim=(2, 3), keepdim=True).clamp(min=DARKEST_WHITE)
    balanced = (values * (WHITE / white)).clamp(max=255.0)
    if side != balanced.shape[-1]:
        matrix = torch.tensor(shrinking(side), device=balanced.device)
        balanced = matrix @ balanced @ matrix.T
    return (balanced / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


class _Layer(nn.Module):
    """A convolution, its batch normalisation and its activation."""

    def __init__(self, table: ConvLayer) -> None:
        super().__init__()
        self.table = table
        top, left, bottom, right = table.pads
        # Keras pads a stride of 2 on two sides only, which PyTorch's convolution cannot.
        self.pads = () if top == bottom else (left, right, top, bottom)
        depthwise = table.kind == "depthwise"
        self.convolution = nn.Conv2d(
            table.inputs,
            table.outputs,
            table.size,
            table.stride,
            padding=0 if self.pads else top,
            groups=table.inputs if depthwise else 1,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(table.outputs, eps=BATCH_NORM_EPSILON, momentum=_MOMENTUM)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.pads:
            values = functional.pad(values, self.pads)
        values = self._normalised(values)
        return functional.relu6(values, inplace=True) if self.table.activated else values

    def _normalised(self, values: torch.Tensor) -> torch.Tensor:
        layer, norm = self.convolution, self.norm
        if norm.training:
            return norm(layer(values))
        # With fixed statistics both are one convolution, a fifth faster in training.
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = layer.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return functional.conv2d(
            values, weight, bias, layer.stride, layer.padding, groups=layer.groups
        )

    def arrays(self) -> dict[str, torch.Tensor]:
        """Return the weights under Keras' names, still in PyTorch's layout."""
        name, norm = self.table.name, self.table.norm
        return {
            f"{name}/kernel": self.convolution.weight,
            f"{norm}/gamma": self.norm.weight,
            f"{norm}/beta": self.norm.bias,
            f"{norm}/moving_mean": self.norm.running_mean,
            f"{norm}/moving_variance": self.norm.running_var,
        }


class _Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, table: Block) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_Layer(layer) for layer in block_layers(table)))
        self.is_residual = table.is_residual

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found = self.layers(values)
        return values + found if self.is_residual else found


class MobileNetV2(nn.Module):
    """The backbone: input as of `scaled`, features (N, 1280) out.

    Parameters
    ----------
    weights : BackboneWeights
        Where it starts from.
    """

    def __init__(self, weights: BackboneWeights) -> None:
        super().__init__()
        self.stem = _Layer(STEM)
        self.blocks = nn.Sequential(*(_Block(block) for block in BLOCKS))
        self.top = _Layer(TOP)
        with torch.no_grad():
            for name, tensor in self._arrays().items():
                array = torch.from_numpy(np.array(weights.arrays[name]))
                tensor.copy_(_to_torch(name, array))
        self.to(memory_format=torch.channels_last)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the features (N, 1280)."""
        return self.top(self.blocks(self.stem(values))).mean((2, 3))

    def freeze(self, blocks: int) -> None:
        """Keep the weights of the first layer and of the first `blocks` blocks."""
        for part in (self.stem, *self.blocks[:blocks]):
            part.requires_grad_(requires_grad=False)

    def weights(self, side: int) -> BackboneWeights:
        """Return a copy of the weights, to see images at `side` pixels."""
        return BackboneWeights(
            {
                name: _to_keras(name, tensor.detach().cpu()).contiguous().numpy().copy()
                for name, tensor in self._arrays().items()
            },
            side,
        )

    def _arrays(self) -> dict[str, torch.Tensor]:
        layers = (module for module in self.modules() if isinstance(module, _Layer))
        return {name: tensor for layer in layers for name, tensor in layer.arrays().items()}


def _to_torch(name: str, array: torch.Tensor) -> torch.Tensor:
    if array.ndim != 4:
        return array
    return array.permute((2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1))


def _to_keras(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.ndim != 4:
        return tensor
    return tensor.permute((2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0))
