"""On what a graph runs: an NVIDIA card where ONNX Runtime can use one, else the processor.

The card needs the package ``onnxruntime-gpu`` in the place of ``onnxruntime``, and CUDA with cuDNN
of the versions it was built for. Its answers are meant to be a processor's within 1e-4, which
no card has shown yet; unlike those of a processor they may differ in the last bits from run to run.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TypeAlias

import onnxruntime

from hematovision.errors import ModelError

__all__ = ["CPU", "CUDA", "DEVICE", "Provider", "chosen_providers", "note_processor"]

DEVICE = "HEMATOVISION_DEVICE"
"""The environment variable that chooses: ``cpu``, ``cuda``, or ``auto``, which is the default."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Provider: TypeAlias = tuple[str, Mapping[str, str]]

# TensorFloat-32 rounds factors to 10 bits: answers would differ by more than 1e-4. Searching for
# the fastest convolution would take seconds at the first image.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

_LOG = logging.getLogger(__name__)


def chosen_providers() -> list[Provider]:
    """Return ONNX Runtime's execution providers, the preferred first; the processor is the last.

    Raises
    ------
    ModelError
        If the environment variable `DEVICE` has another value.
    """
    chosen = os.environ.get(DEVICE, "").strip().lower() or "auto"
    if chosen not in ("auto", "cpu", "cuda"):
        raise ModelError(
            f"The environment variable {DEVICE} is {chosen!r}; expected auto, cpu or cuda. "
            "Set it anew, or unset it."
        )
    if chosen == "cpu":
        return [(CPU, {})]
    if CUDA in onnxruntime.get_available_providers():
        return [(CUDA, _CUDA_OPTIONS), (CPU, {})]
    if chosen == "cuda":
        note_processor("this installation of ONNX Runtime has no part for it")
    return [(CPU, {})]


def note_processor(reason: str) -> None:
    """Say that a card was to be used, why it is not, and what to do."""
    _LOG.warning(
        "No NVIDIA card is used, but the processor: %s. Install onnxruntime-gpu in the place of "
        "onnxruntime, and CUDA with cuDNN as its page says; or set %s=cpu.",
        reason,
        DEVICE,
    )
