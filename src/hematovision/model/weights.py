"""The weights of MobileNetV2 and their file.

A weights file contains only little-endian float32 numbers: the tensors of
`architecture.weight_specs` in order, each aligned to 64 bytes and padded with zeros. The table
defines the offsets, so there is no header. For a network that sees images smaller than 224 pixels,
one more number at the end is its side. Kernels have ONNX layout (outputs, inputs, height, width):
the file is also the external data of an ONNX graph. In memory they have Keras' layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import WeightsError
from hematovision.files import sha256_bytes, write_bytes
from hematovision.model.architecture import FEATURES, network_layers, weight_specs
from hematovision.model.network import INPUT_SIZE, Layer, Network, kernel_axes

__all__ = [
    "BUNDLED_WEIGHTS", "MAX_WEIGHTS_BYTES", "WEIGHTS_BYTES", "BackboneWeights", "Slot", "Weights",
    "bundled_weights", "bundled_weights_path", "layout", "to_keras_layout", "to_onnx_layout",
]  # fmt: skip

BUNDLED_WEIGHTS = "hematology"
"""Name of the packaged weights."""

_ALIGNMENT = 64  # bytes: a cache line


@dataclass(frozen=True)
class Slot:
    """The place of one tensor in a weights file."""

    name: str  # the weight's name
    shape: tuple[int, ...]  # as stored, in ONNX' layout
    # in bytes
    offset: int
    length: int


def _onnx_axes(name: str, dimensions: int) -> tuple[int, ...]:
    """Return the permutation that transposes a Keras array to ONNX layout."""
    if dimensions != 4:
        return tuple(range(dimensions))
    return kernel_axes("depthwise" if name.endswith("depthwise/kernel") else "conv")


def to_onnx_layout(name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weight `name` in ONNX' layout, contiguous."""
    return np.ascontiguousarray(array.transpose(_onnx_axes(name, array.ndim)), dtype="<f4")


def to_keras_layout(name: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weight `name`, given in ONNX' layout, as a view in Keras' layout."""
    return array.transpose(np.argsort(_onnx_axes(name, array.ndim)))


@cache
def layout() -> Mapping[str, Slot]:
    """Return the place of every weight in a weights file, in the file's order."""
    slots: dict[str, Slot] = {}
    offset = 0
    for spec in weight_specs():
        shape = tuple(spec.shape[axis] for axis in _onnx_axes(spec.name, len(spec.shape)))
        length = 4 * int(np.prod(shape))
        slots[spec.name] = Slot(spec.name, shape, offset, length)
        offset += -(-length // _ALIGNMENT) * _ALIGNMENT
    return MappingProxyType(slots)


def _file_size() -> int:
    last = list(layout().values())[-1]
    return last.offset + -(-last.length // _ALIGNMENT) * _ALIGNMENT


WEIGHTS_BYTES = _file_size()
"""Length in bytes of a weights file without the side at its end, about 9 MB."""

MAX_WEIGHTS_BYTES = WEIGHTS_BYTES + _ALIGNMENT
"""Length in bytes with the side at its end."""

_SIDES = range(64, INPUT_SIZE + 1, 32)  # each of five layers halves the side


@dataclass(frozen=True)
class BackboneWeights:
    """All weights of a MobileNetV2 without its top.

    Raises `WeightsError` if a weight is missing, unknown, of the wrong shape or not finite, a
    variance is negative, or the side is invalid.
    """

    # every weight of `architecture.weight_specs` by name, in Keras' layout; copied and made
    # read-only
    arrays: Mapping[str, NDArray[np.float32]]
    # width and height at which the network sees images (`preprocessing.shrinking`), in pixels; a
    # multiple of 32 from 64 to 224
    side: int = INPUT_SIZE

    def __post_init__(self) -> None:
        if self.side not in _SIDES:
            raise WeightsError(
                f"The side of a network's input must be one of {[*_SIDES]} pixels. "
                f"Received: {self.side}."
            )
        _check_names(self.arrays)
        checked = {
            spec.name: _checked(spec.name, spec.shape, self.arrays) for spec in weight_specs()
        }
        object.__setattr__(self, "arrays", MappingProxyType(checked))

    architecture = "mobilenetv2"
    """Its name in `registry.BACKBONES`."""

    features = FEATURES
    """The length of a feature vector."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, as `network.Network.layers`."""
        return network_layers()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the weights file."""
        return sha256_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the content of a weights file."""
        data = bytearray(WEIGHTS_BYTES)
        for name, slot in layout().items():
            stored = to_onnx_layout(name, self.arrays[name])
            data[slot.offset : slot.offset + slot.length] = stored.tobytes()
        if self.side != INPUT_SIZE:
            data += np.array(self.side, "<f4").tobytes().ljust(_ALIGNMENT, b"\0")
        return bytes(data)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "The weights") -> BackboneWeights:
        """Read the content of a weights file.

        Errors call the file `name`. Raises `WeightsError` if the length or a number is impossible.
        """
        if len(data) not in (WEIGHTS_BYTES, MAX_WEIGHTS_BYTES):
            raise WeightsError(
                f"{name}: {len(data):,} bytes, but weights of MobileNetV2 are {WEIGHTS_BYTES:,} or "
                f"{MAX_WEIGHTS_BYTES:,}. The file is truncated or of another "
                "kind; copy it again."
            )
        arrays = {}
        for slot in layout().values():
            flat = np.frombuffer(data, "<f4", count=slot.length // 4, offset=slot.offset)
            stored = flat.reshape(slot.shape)
            arrays[slot.name] = to_keras_layout(slot.name, stored)
        if len(data) == WEIGHTS_BYTES:
            return cls(arrays)
        side = float(np.frombuffer(data, "<f4", 1, WEIGHTS_BYTES)[0])
        return cls(arrays, int(side) if side in _SIDES else 0)

    def save(self, path: Path) -> Path:
        """Write the weights file `path` atomically.

        Raises `OutputError` if it cannot be written.
        """
        return write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path, sha256: str | None = None) -> BackboneWeights:
        """Read the weights file `path`.

        `sha256` is the expected hash, if known. Raises `WeightsError` if it cannot be read, has the
        wrong length or another hash, or does not hold weights.
        """
        try:
            # Reading one extra byte detects a longer file without reading all of it.
            with path.open("rb") as stream:
                data = stream.read(MAX_WEIGHTS_BYTES + 1)
        except OSError as error:
            raise WeightsError(
                f"Cannot read the weights {path}: {error.strerror or error}. Check the path."
            ) from error
        found = sha256_bytes(data)
        if sha256 is not None and found != sha256:
            raise WeightsError(
                f"{path}: the SHA-256 is {found}, expected {sha256}. The file was altered or "
                "belongs to another model; copy it again."
            )
        return cls.from_bytes(data, str(path))


Weights: TypeAlias = BackboneWeights | Network
"""The weights of any backbone."""


def _check_names(arrays: Mapping[str, NDArray[np.float32]]) -> None:
    expected = {spec.name for spec in weight_specs()}
    missing, unknown = sorted(expected - set(arrays)), sorted(set(arrays) - expected)
    if missing or unknown:
        raise WeightsError(
            f"The weights do not match MobileNetV2 (width 1.0, without top): {len(missing)} of "
            f"{len(expected)} are missing (first: {missing[:3]}), {len(unknown)} are unknown "
            f"(first: {unknown[:3]}). Use a file made by keras.applications.MobileNetV2."
        )


def _checked(
    name: str, shape: tuple[int, ...], arrays: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # overflow becomes infinity and is rejected below
        array = np.array(arrays[name], dtype=np.float32, order="C")
    if array.shape != shape:
        raise WeightsError(
            f"The weight {name!r} must have shape {shape}. Received: {array.shape}. Use weights "
            "of MobileNetV2 at width 1.0."
        )
    if not np.isfinite(array).all():
        raise WeightsError(f"The weight {name!r} has values that are not finite; train again.")
    if name.endswith("moving_variance") and (array < 0).any():
        raise WeightsError(f"The weight {name!r} has negative variances; the file is damaged.")
    array.setflags(write=False)
    return array


def bundled_weights_path() -> Path:
    """Return the path of `BUNDLED_WEIGHTS`."""
    return Path(__file__).resolve().parent.parent / "models" / f"{BUNDLED_WEIGHTS}.weights"


@cache
def bundled_weights() -> BackboneWeights:
    """Return the packaged weights: MobileNetV2 trained on blood cells.

    Raises `WeightsError` if the package was installed without them.
    """
    return BackboneWeights.load(bundled_weights_path())
