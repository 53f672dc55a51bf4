"""The detector in PyTorch: centre-point heads on MobileNetV2.

Heat maps of cell centres and the distances to the sides of their boxes (Zhou et al. 2019, "Objects
as Points", arXiv:1904.07850) at stride 4, from features of strides 4 to 32 that are merged from the
top down (Lin et al. 2017, arXiv:1612.03144) by depthwise separable convolutions.
"""

from __future__ import annotations

import io
import math

import torch
from torch import nn
from torch.nn import functional

from hematovision.model.weights import BackboneWeights
from recipes.field_detector.fields import CLASSES
from recipes.hematology_backbone.network import MobileNetV2

__all__ = ["Detector", "onnx_bytes"]

_TAPS = {2: 24, 5: 32, 12: 96, 16: 320}  # blocks of MobileNetV2 and their channels
_WIDTH = 64
_UNIT = 16.0  # pixels: half a red cell, about the usual distance from centre to side
_RARE = 0.01  # initial probability of a centre, as in RetinaNet (arXiv:1708.02002)
OPSET = 17


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class Detector(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] to logits (N, 3, H/4, W/4) and distances (N, 4, H/4, W/4)."""

    def __init__(self, weights: BackboneWeights) -> None:
        super().__init__()
        self.backbone = MobileNetV2(weights)
        del self.backbone.top
        self.lateral = nn.ModuleList(nn.Conv2d(c, _WIDTH, 1) for c in _TAPS.values())
        self.merge = nn.ModuleList(_separable(_WIDTH, _WIDTH) for _ in range(len(_TAPS) - 1))
        self.heat = nn.Sequential(_separable(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, len(CLASSES), 1))
        self.sides = nn.Sequential(_separable(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, 4, 1))
        last = self.heat[1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, math.log(_RARE / (1 - _RARE)))
        self.to(memory_format=torch.channels_last)

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits of centres, and distances in pixels."""
        taps = []
        values = self.backbone.stem(values)
        for index, block in enumerate(self.backbone.blocks):
            values = block(values)
            if index in _TAPS:
                taps.append(values)
        found = self.lateral[-1](taps[-1])
        for level in range(len(taps) - 2, -1, -1):
            above = functional.interpolate(found, scale_factor=2.0, mode="nearest")
            found = self.merge[level](above + self.lateral[level](taps[level]))
        return self.heat(found), _UNIT * torch.exp(self.sides(found).clamp(-4.0, 4.0))


class _Shipped(nn.Module):
    """The graph of the bundle: uint8 (N, H, W, 3) to heat and distances, channels last."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``heat`` and ``distances``."""
        logits, distances = self.detector(images.permute(0, 3, 1, 2).float() / 127.5 - 1.0)
        return logits.sigmoid().permute(0, 2, 3, 1), distances.permute(0, 2, 3, 1)


def onnx_bytes(detector: Detector) -> bytes:
    """Export the detector; batch normalisation is folded into the convolutions."""
    graph = _Shipped(detector).eval()
    example = torch.zeros((1, 64, 96, 3), dtype=torch.uint8)
    sizes = {0: "N", 1: "H", 2: "W"}
    with io.BytesIO() as stream:
        torch.onnx.export(
            graph,
            (example,),
            stream,
            input_names=["images"],
            output_names=["heat", "distances"],
            dynamic_axes={
                "images": sizes,
                "heat": {0: "N", 1: "h", 2: "w"},
                "distances": {0: "N", 1: "h", 2: "w"},
            },
            opset_version=OPSET,
            dynamo=False,
        )
        return stream.getvalue()
