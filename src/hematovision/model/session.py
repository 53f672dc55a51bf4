"""Opening and running ONNX graphs.

A session runs one image at a time on one thread, and several threads share the session. That is
the fastest way on few cores (decision 10 has the table of what else was tried), and it makes an
image's result independent of its neighbours: no kernel ever sees two images at once, so there is
nothing to choose by batch size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hematovision.errors import BundleError, ModelError
from hematovision.model.architecture import INPUT_SIZE, REDUCTION
from hematovision.model.devices import Provider, chosen_providers, note_processor
from hematovision.model.onnx_file import check_self_contained

__all__ = [
    "Port",
    "Session",
    "check_images",
    "check_ports",
    "feature_places",
    "open_session",
    "reading_threads",
    "run_each",
    "run_one",
    "usable_cpus",
]


# How ONNX Runtime and C++ say that memory does not suffice; they have no type of error for it.
_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "out of memory")


class Port(Protocol):
    """Name, element type and shape of an input or output."""

    name: str
    type: str
    shape: list[int | str | None]


class Session(Protocol):
    """What is used of ``onnxruntime.InferenceSession``, which has no types of its own."""

    def run(
        self, output_names: list[str], input_feed: dict[str, NDArray[np.uint8]]
    ) -> list[NDArray[np.float32]]:
        """Compute the named outputs."""

    def get_inputs(self) -> list[Port]:
        """List the inputs."""

    def get_outputs(self) -> list[Port]:
        """List the outputs."""


def reading_threads() -> int:
    """Return how many threads to read, decode and run images on: one more than processors.

    One of them is often waiting for the interpreter's lock: on two cores, three threads answered
    2 to 14 % more images a second than two (decision 10).
    """
    return usable_cpus() + 1


def usable_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(
    model: bytes, external: Mapping[str, bytes] | None = None, *, name: str = "The model"
) -> Session:
    """Open an ONNX graph held in memory, on the device that `devices.chosen_providers` names.

    Where a card was to be used and cannot, that is logged, and the processor does the work.

    Parameters
    ----------
    model : bytes
        The ONNX model.
    external : mapping of str to bytes, optional
        Content of the files of external data that the model names. No other file is read.
    name : str
        What to call the model in an error.

    Raises
    ------
    BundleError
        If it refers to other files (`onnx_file`), or ONNX Runtime does not accept it.
    ModelError
        If the environment asks for a device that there is not; see `devices.chosen_providers`.
    """
    given = dict(external or {})
    check_self_contained(model, given, name=name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Else a file that is also in ONNX Runtime's own form, which nobody checked, is read as that.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # Its own log repeats what the error below says.
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
            f"{name}: ONNX Runtime {onnxruntime.__version__} does not open it: {error}. The file "
            "is damaged or not a HematoVision model; train or fetch it again."
        ) from error


def _on_device(
    model: bytes, options: onnxruntime.SessionOptions, providers: Sequence[Provider]
) -> Session:
    """Open a graph on the first of `providers`, or say why on the last, the processor."""
    try:
        session = onnxruntime.InferenceSession(
            model,
            options,
            providers=[name for name, _ in providers],
            provider_options=[dict(settings) for _, settings in providers],
            enable_fallback=0,  # Else a model that fails is tried twice, and that is printed.
        )
    except Exception as error:  # ONNX Runtime's errors have no common base of their own
        if len(providers) == 1:
            raise
        note_processor(f"it cannot be used ({error})")
        return _on_device(model, options, providers[-1:])
    if providers[0][0] not in session.get_providers():
        note_processor("ONNX Runtime cannot load its libraries")
    opened: Session = session
    return opened


def check_ports(session: Session, outputs: Mapping[str, tuple[int, ...]], *, name: str) -> None:
    """Make sure that a session takes and gives what HematoVision's graphs do.

    Parameters
    ----------
    session : Session
    outputs : mapping of str to tuple of int
        Shapes, without N, of the outputs that must be there.
    name : str
        What to call the model in an error.

    Raises
    ------
    BundleError
        If the only input is not ``images``, uint8 (N, 224, 224, 3), or an output is missing, not
        float32 or of another shape.
    """
    expected = {"images": ("tensor(uint8)", (INPUT_SIZE, INPUT_SIZE, 3))}
    try:
        inputs, given = _kinds(session.get_inputs()), _kinds(session.get_outputs())
    except (UnicodeDecodeError, TypeError) as error:  # A name that is no text, or no shape at all.
        raise BundleError(f"{name}: the ONNX file's inputs or outputs are damaged.") from error
    if inputs != expected:
        raise BundleError(f"{name}: the ONNX file takes {inputs}, expected {expected}.")
    for output, shape in outputs.items():
        if given.get(output) != ("tensor(float)", shape):
            raise BundleError(
                f"{name}: the ONNX file's output {output!r} must be ('tensor(float)', {shape}) "
                f"after N. Received: {given.get(output)}. It does not belong to this bundle.json."
            )


def feature_places(session: Session) -> int:
    """Return how many places a side the feature map has: as many as the network's side allows."""
    shapes = [port.shape for port in session.get_outputs() if port.name == "feature_map"]
    sides = [shape[1] for shape in shapes if len(shape) == 4 and isinstance(shape[1], int)]
    return next(iter(sides), INPUT_SIZE // REDUCTION)


def _kinds(ports: list[Port]) -> dict[str, tuple[str, tuple[int | str | None, ...]]]:
    return {port.name: (port.type, tuple(port.shape[1:])) for port in ports}


def check_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `images`, contiguous, if they are what the graphs take.

    Raises
    ------
    ModelError
        If they are not uint8 of shape (N, 224, 224, 3).
    """
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[1:]
        != (
            INPUT_SIZE,
            INPUT_SIZE,
            3,
        )
    ):
        raise ModelError(
            f"Images must be uint8 RGB of shape (N, {INPUT_SIZE}, {INPUT_SIZE}, 3). Received: "
            f"{images.dtype} {images.shape}. Make them with `images.fit`; scaling is in the model."
        )
    return np.ascontiguousarray(images)


def run_one(
    session: Session, outputs: Sequence[str], image: NDArray[np.uint8]
) -> list[NDArray[np.float32]]:
    """Run one image (1, 224, 224, 3) and return the asked-for outputs, each with N = 1.

    May be called from several threads at once.

    Raises
    ------
    ModelError
        If the graph fails on it.
    MemoryError
        If there is not enough memory.
    """
    try:
        return session.run(list(outputs), {"images": image})
    except Exception as error:  # ONNX Runtime's errors have no common base of their own
        if isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise ModelError(
            f"The model failed on an image: {error}. Its ONNX file is not one of HematoVision's."
        ) from error


def run_each(
    session: Session, outputs: Sequence[str], images: NDArray[np.uint8], workers: int
) -> list[NDArray[np.float32]]:
    """Run `images` (N, 224, 224, 3), each for itself, on `workers` threads.

    Returns
    -------
    list of array
        The asked-for outputs, each (N, ...); for N = 0, empty arrays of the right shape.
    """
    checked = check_images(images)
    if len(checked) < 2:
        return run_one(session, outputs, checked)  # On the caller's thread: it may be one of many.
    with ThreadPoolExecutor(min(workers, len(checked))) as pool:
        singles = [checked[i : i + 1] for i in range(len(checked))]
        rows = list(pool.map(lambda image: run_one(session, outputs, image), singles))
    return [np.concatenate(column) for column in zip(*rows, strict=True)]
