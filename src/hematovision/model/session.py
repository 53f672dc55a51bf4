"""Open and run ONNX graphs on the CPU, or on an NVIDIA GPU if ONNX Runtime can use one.

Each image runs on one thread, and several threads share the session. This is fastest on few cores
(measured in decision 10), and an image's result does not depend on the rest of its batch.

A GPU needs the package ``onnxruntime-gpu`` instead of ``onnxruntime``, and matching versions of
CUDA and cuDNN. Its predictions should be within 1e-4 of the CPU's (not measured yet); the last bits
may differ between runs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hematovision.errors import BundleError, ModelError
from hematovision.model.manifest import INPUT_SIZES, Shapes
from hematovision.model.onnx_file import check_self_contained

__all__ = [
    "CPU", "CUDA", "DEVICE", "Port", "Ports", "Session", "check_images", "check_outputs",
    "chosen_providers", "input_size", "open_session", "read_detector_ports", "read_ports",
    "reading_threads", "run_each", "run_one", "usable_cpus",
]  # fmt: skip

DEVICE = "HEMATOVISION_DEVICE"
"""Environment variable for the device: ``cpu``, ``cuda`` or ``auto`` (the default)."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Provider: TypeAlias = tuple[str, Mapping[str, str]]

# TensorFloat-32 rounds factors to 10 bits, which would change predictions by more than 1e-4.
# Searching for the fastest convolution would delay the first image by seconds.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

# Out-of-memory messages of ONNX Runtime and C++, which have no exception type of their own.
_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "out of memory")

_LOG = logging.getLogger(__name__)


class Port(Protocol):
    """Name, element type and shape of an input or output."""

    name: str
    type: str
    shape: list[int | str | None]


class Session(Protocol):
    """The part of ``onnxruntime.InferenceSession`` used here; the class itself is untyped."""

    def run(
        self, output_names: list[str], input_feed: dict[str, NDArray[np.uint8]]
    ) -> list[NDArray[np.float32]]:
        """Compute the named outputs."""

    def get_inputs(self) -> list[Port]:
        """List the inputs."""

    def get_outputs(self) -> list[Port]:
        """List the outputs."""


def reading_threads() -> int:
    """Return the number of threads that read, decode and run images: one more than CPUs.

    Threads often wait for the interpreter lock: on two cores, three threads classified 2 to 14%
    more images per second than two (decision 10).
    """
    return usable_cpus() + 1


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(
    model: bytes,
    external: Mapping[str, bytes] | None = None,
    *,
    name: str = "The model",
    any_size: bool = False,
) -> Session:
    """Open an ONNX graph held in memory, on the device of `chosen_providers`.

    If a GPU should be used and cannot, that is logged and the graph runs on the CPU.

    `external` has the content of the files of external data that the model names; no other file is
    read. `any_size` is for inputs of many sizes: ONNX Runtime would plan memory for each, which
    took a third more and saved no time. Errors call the model `name`. Raises `BundleError` if it
    refers to other files (`onnx_file`), or ONNX Runtime does not accept it. Raises `ModelError` if
    `DEVICE` has an invalid value.
    """
    given = dict(external or {})
    check_self_contained(model, given, name=name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = not any_size
    # Otherwise files in ONNX Runtime's own format would be accepted unchecked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # Its own log repeats the error below.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        if given:
            options.add_external_initializers_from_files_in_memory(
                list(given), list(given.values()), [len(data) for data in given.values()]
            )
        return _on_device(model, options, chosen_providers())
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common base of their own
        raise BundleError(
            f"{name}: ONNX Runtime {onnxruntime.__version__} cannot open it: {error}. The file "
            "is damaged or not a HematoVision model; copy it again, or train again."
        ) from error


def _on_device(
    model: bytes, options: onnxruntime.SessionOptions, providers: Sequence[Provider]
) -> Session:
    """Open a graph on the first of `providers`; if that fails, log why and use the CPU."""
    try:
        session = onnxruntime.InferenceSession(
            model,
            options,
            providers=[name for name, _ in providers],
            provider_options=[dict(settings) for _, settings in providers],
            enable_fallback=0,  # otherwise a failing model is retried, with printed messages
        )
    except Exception as error:  # ONNX Runtime's errors have no common base of their own
        if len(providers) == 1:
            raise
        _log_cpu(f"it cannot be used ({error})")
        return _on_device(model, options, providers[-1:])
    if providers[0][0] not in session.get_providers():
        _log_cpu("ONNX Runtime cannot load its libraries")
    _LOG.debug("ONNX Runtime %s uses %s.", onnxruntime.__version__, session.get_providers()[0])
    opened: Session = session
    return opened


def chosen_providers() -> list[Provider]:
    """Return ONNX Runtime's execution providers, the preferred one first and the CPU last.

    Raises `ModelError` if the environment variable `DEVICE` has an invalid value.
    """
    chosen = os.environ.get(DEVICE, "").strip().lower() or "auto"
    if chosen not in ("auto", "cpu", "cuda"):
        raise ModelError(
            f"The environment variable {DEVICE} is {chosen!r}; expected auto, cpu or cuda. "
            "Change or unset it."
        )
    if chosen == "cpu":
        return [(CPU, {})]
    if CUDA in onnxruntime.get_available_providers():
        return [(CUDA, _CUDA_OPTIONS), (CPU, {})]
    if chosen == "cuda":
        _log_cpu("this installation of ONNX Runtime does not support it")
    return [(CPU, {})]


def _log_cpu(reason: str) -> None:
    _LOG.warning(
        "The NVIDIA GPU is not used: %s. The model runs on the CPU. Install onnxruntime-gpu "
        "instead of onnxruntime, with the CUDA and cuDNN it requires; or set %s=cpu.",
        reason,
        DEVICE,
    )


@dataclass(frozen=True)
class Ports:
    """Input and outputs of a classifier's graph."""

    size: int  # width and height of the input in pixels
    outputs: Shapes  # shapes, without N, of the outputs that HematoVision uses


_OUTPUT_RANKS = {
    "probabilities": 1,
    "novelty": 0,
    "field": 0,
    "features": 1,
    "feature_map": 3,
    "attention": 2,
}


def read_ports(session: Session, *, name: str) -> Ports:
    """Check the input and outputs of a classifier's graph.

    The only input is ``images``, uint8 RGB (N, S, S, 3). The output ``probabilities`` (N, C) is
    required; ``novelty`` (N,), ``field`` (N,), ``features`` (N, D), ``feature_map`` (N, H, W, D)
    and ``attention`` (N, H, W) are optional; others are ignored. Outputs are float32.

    Errors call the model `name`. Raises `BundleError` if the graph does not fit; the message has
    the expected and the received ports.
    """
    try:
        inputs, given = _ports(session.get_inputs()), _ports(session.get_outputs())
    except (UnicodeDecodeError, TypeError) as error:  # undecodable name or missing shape
        raise BundleError(f"{name}: the ONNX file's inputs or outputs are damaged.") from error
    kind, shape = inputs.get("images", ("", ()))
    size = shape[0] if shape else None
    fits = kind == "tensor(uint8)" and shape == (size, size, 3) and isinstance(size, int)
    if len(inputs) != 1 or not fits or size not in INPUT_SIZES:
        raise BundleError(
            f"{name}: the ONNX file must have one input, images: uint8 (N, S, S, 3), with S from "
            f"{INPUT_SIZES[0]} to {INPUT_SIZES[-1]}. Received: {_shown(inputs)}."
        )
    outputs = {}
    for output, rank in _OUTPUT_RANKS.items():
        if output not in given and output != "probabilities":
            continue
        kind, shape = given.get(output, ("", ()))
        fixed = tuple(n for n in shape if isinstance(n, int) and n > 0)
        if kind != "tensor(float)" or len(shape) != rank or fixed != shape:
            raise BundleError(
                f"{name}: the ONNX file's output {output!r} must be float32 with {rank} fixed "
                f"dimensions after N. Received: {_shown(given)}."
            )
        outputs[output] = fixed
    assert isinstance(size, int)
    return Ports(size, outputs)


def read_detector_ports(session: Session, classes: int, *, name: str) -> Shapes:
    """Check the input and outputs of a detector's graph; return the channels of its outputs.

    The only input is ``images``, uint8 RGB (N, H, W, 3), with free H and W. The outputs ``heat``
    (N, H', W', classes) and ``distances`` (N, H', W', 4) are required, float32; others are ignored.
    Errors call the model `name`. Raises `BundleError` if the graph does not fit.
    """
    try:
        inputs, given = _ports(session.get_inputs()), _ports(session.get_outputs())
    except (UnicodeDecodeError, TypeError) as error:  # undecodable name or missing shape
        raise BundleError(f"{name}: the ONNX file's inputs or outputs are damaged.") from error
    kind, shape = inputs.get("images", ("", ()))
    free = len(shape) == 3 and not any(isinstance(side, int) for side in shape[:2])
    if len(inputs) != 1 or kind != "tensor(uint8)" or not free or shape[2] != 3:
        raise BundleError(
            f"{name}: the ONNX file of a detector must have one input, images: uint8 (N, H, W, 3), "
            f"with free H and W. Received: {_shown(inputs)}."
        )
    for output, channels in (("heat", classes), ("distances", 4)):
        kind, shape = given.get(output, ("", ()))
        if kind != "tensor(float)" or len(shape) != 3 or shape[2] != channels:
            raise BundleError(
                f"{name}: the ONNX file's output {output!r} must be float32 (N, H, W, {channels}). "
                f"Received: {_shown(given)}."
            )
    return {"heat": (classes,), "distances": (4,)}


def check_outputs(ports: Ports, expected: Shapes, *, name: str) -> None:
    """Check that outputs have the `expected` shapes, and that all outputs fit one another.

    Shapes are without N. Errors call the model `name`. Raises `BundleError` if one has another
    shape or is missing.
    """
    implied: Shapes = {}
    if "feature_map" in ports.outputs:
        *place, depth = ports.outputs["feature_map"]
        shapes = {"attention": tuple(place), "features": (depth,)}
        implied = {output: shapes[output] for output in shapes if output in ports.outputs}
    for output, shape in (*expected.items(), *implied.items()):
        if ports.outputs.get(output) != shape:
            raise BundleError(
                f"{name}: the ONNX file's output {output!r} must have the shape {shape} after N. "
                f"Received: {ports.outputs.get(output, 'no such output')}. It does not belong to "
                "this bundle.json."
            )


def _ports(ports: list[Port]) -> dict[str, tuple[str, tuple[int | str | None, ...]]]:
    return {port.name: (port.type, tuple(port.shape[1:])) for port in ports}


def _shown(ports: Mapping[str, tuple[str, tuple[int | str | None, ...]]]) -> str:
    texts = (
        f"{name}: {kind} ({', '.join(['N', *map(str, shape)])})"
        for name, (kind, shape) in ports.items()
    )
    return "; ".join(texts) or "none"


def input_size(session: Session) -> int:
    """Return the width and height of a checked graph's input in pixels."""
    size = session.get_inputs()[0].shape[1]
    assert isinstance(size, int)
    return size


def check_images(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return `images`, made contiguous, for a graph of the given input size.

    Raises `ModelError` if they are not uint8 of shape (N, size, size, 3).
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise ModelError(
            f"Images must be uint8 RGB of shape (N, {size}, {size}, 3). Received: "
            f"{images.dtype} {images.shape}. Use `images.fit`; scaling is part of the model."
        )
    return np.ascontiguousarray(images)


def run_one(
    session: Session, outputs: Sequence[str], image: NDArray[np.uint8]
) -> list[NDArray[np.float32]]:
    """Run one image (1, S, S, 3) and return the requested outputs, each with N = 1. Thread-safe.

    Raises `ModelError` if the graph fails. Raises `MemoryError` if memory runs out.
    """
    try:
        return session.run(list(outputs), {"images": image})
    except Exception as error:  # ONNX Runtime's errors have no common base of their own
        if isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise ModelError(
            f"The model failed on an image: {error}. HematoVision cannot run its ONNX file."
        ) from error


def run_each(
    session: Session, outputs: Sequence[str], images: NDArray[np.uint8], workers: int
) -> list[NDArray[np.float32]]:
    """Run `images` (N, S, S, 3) one by one, on `workers` threads.

    Returns the requested outputs, each (N, ...); for N = 0, empty arrays of the right shape.
    """
    checked = check_images(images, input_size(session))
    if len(checked) < 2:
        return run_one(session, outputs, checked)
    with ThreadPoolExecutor(min(workers, len(checked))) as pool:
        singles = [checked[i : i + 1] for i in range(len(checked))]
        rows = list(pool.map(lambda image: run_one(session, outputs, image), singles))
    return [np.concatenate(column) for column in zip(*rows, strict=True)]
