"""The built-in backbones, built by ``keras.applications`` for inputs in [-1, 1]."""

from __future__ import annotations

from functools import partial
from typing import Any

from hematovision.images import SIZE
from hematovision.model.registry import KerasBackbone
from hematovision.training.keras_import import import_keras

__all__ = ["MOBILENET_V2", "MOBILENET_V3_SMALL"]


def _built(name: str, weights: str | None, **options: object) -> Any:
    build = getattr(import_keras().applications, name)
    return build(include_top=False, weights=weights, input_shape=(SIZE, SIZE, 3), **options)


MOBILENET_V2 = KerasBackbone(
    partial(_built, "MobileNetV2"),
    download="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
)
MOBILENET_V3_SMALL = KerasBackbone(
    partial(_built, "MobileNetV3Small", include_preprocessing=False),
    download="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
)
