"""The backbone's weights and the one plain file they live in.

A weights file is nothing but little-endian float32 numbers: every tensor of
`architecture.weight_specs`, in that order, each beginning at a multiple of 64 bytes, the gaps
filled with zeros. Offsets follow from the table, so the file needs no header and nothing in it is
ever interpreted. Weights of a network that sees images smaller than 224 pixels end with one more
number, its side. Kernels lie in ONNX' layout (outputs, inputs, height, width), so that the same
file is the external data of an ONNX graph; in memory they have Keras' layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import WeightsError
from hematovision.files import sha256_bytes, write_bytes
from hematovision.model.architecture import INPUT_SIZE, weight_specs

__all__ = [
    "BUNDLED_WEIGHTS",
    "MAX_WEIGHTS_BYTES",
    "WEIGHTS_BYTES",
    "BackboneWeights",
    "Slot",
    "bundled_weights",
    "bundled_weights_path",
    "layout",
    "to_keras_layout",
    "to_onnx_layout",
]

BUNDLED_WEIGHTS = "hematology"
"""Name of the weights that the package ships."""

_ALIGNMENT = 64  # A cache line: what vector instructions and ONNX Runtime like best.


@dataclass(frozen=True)
class Slot:
    """Where one tensor lies in a weights file.

    Parameters
    ----------
    name : str
        The weight's name.
    shape : tuple of int
        Its shape as stored, that is in ONNX' layout.
    offset, length : int
        In bytes.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    length: int


def _onnx_axes(name: str, dimensions: int) -> tuple[int, ...]:
    """Tell which of Keras' axes each of ONNX' axes is."""
    if dimensions != 4:
        return tuple(range(dimensions))
    # A depthwise kernel is (height, width, channels, 1) in Keras and (channels, 1, height, width)
    # in ONNX: the channels are "inputs" there and "outputs" here.
    return (2, 3, 0, 1) if name.endswith("depthwise/kernel") else (3, 2, 0, 1)


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
"""Length in bytes of a weights file, about 9 MB, without the side at its end."""

MAX_WEIGHTS_BYTES = WEIGHTS_BYTES + _ALIGNMENT
"""Length in bytes with the side at its end."""

_SIDES = range(64, INPUT_SIZE + 1, 32)  # Every layer of stride 2 halves an even side.


@dataclass(frozen=True)
class BackboneWeights:
    """All weights of a MobileNetV2 without its top.

    Parameters
    ----------
    arrays : mapping of str to array of float32
        Every weight of `architecture.weight_specs` by its name, in Keras' layout. They are copied
        and made read-only.
    side : int
        At how many pixels a side the network sees images (`shrink.shrinking`): what it was trained
        at. A multiple of 32 from 64 to 224.

    Raises
    ------
    WeightsError
        If a weight is missing or unknown, has another shape, or holds values that are not finite,
        or a variance is negative, or there is no such side.
    """

    arrays: Mapping[str, NDArray[np.float32]]
    side: int = INPUT_SIZE

    def __post_init__(self) -> None:
        if self.side not in _SIDES:
            raise WeightsError(
                f"A network sees images at one of {[*_SIDES]} pixels a side. Received: {self.side}."
            )
        _check_names(self.arrays)
        checked = {
            spec.name: _checked(spec.name, spec.shape, self.arrays) for spec in weight_specs()
        }
        object.__setattr__(self, "arrays", MappingProxyType(checked))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of `to_bytes`, which is that of the file that `save` writes."""
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

        Parameters
        ----------
        data : bytes
            What `to_bytes` gave.
        name : str
            What to call it in an error.

        Raises
        ------
        WeightsError
            If the length is wrong or the numbers cannot be weights.
        """
        if len(data) not in (WEIGHTS_BYTES, MAX_WEIGHTS_BYTES):
            raise WeightsError(
                f"{name}: {len(data):,} bytes, but weights of MobileNetV2 are {WEIGHTS_BYTES:,} or "
                f"{MAX_WEIGHTS_BYTES:,}. The file is cut or of another kind; fetch or "
                "write it again."
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
        """Write the weights file `path` at once.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        return write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path, sha256: str | None = None) -> BackboneWeights:
        """Read the weights file `path`.

        Parameters
        ----------
        path : Path
            A file that `save` wrote.
        sha256 : str, optional
            What its hash has to be.

        Raises
        ------
        WeightsError
            If it cannot be read, has the wrong length or another hash, or holds no weights.
        """
        try:
            # One byte more than expected tells a longer file without reading all of it.
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
                "belongs to another model; fetch it again."
            )
        return cls.from_bytes(data, str(path))


def _check_names(arrays: Mapping[str, NDArray[np.float32]]) -> None:
    expected = {spec.name for spec in weight_specs()}
    missing, unknown = sorted(expected - set(arrays)), sorted(set(arrays) - expected)
    if missing or unknown:
        raise WeightsError(
            f"The weights do not fit MobileNetV2 (width 1.0, without top): {len(missing)} of "
            f"{len(expected)} are missing (first: {missing[:3]}), {len(unknown)} are unknown "
            f"(first: {unknown[:3]}). Use a file made by keras.applications.MobileNetV2."
        )


def _checked(
    name: str, shape: tuple[int, ...], arrays: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # What overflows is infinite, and refused below.
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
    """Return where the package keeps the weights `BUNDLED_WEIGHTS`."""
    return Path(__file__).resolve().parent.parent / "models" / f"{BUNDLED_WEIGHTS}.weights"


@cache
def bundled_weights() -> BackboneWeights:
    """Return the weights that the package ships: MobileNetV2 adapted to blood cells.

    Raises
    ------
    WeightsError
        If the package was installed without them.
    """
    return BackboneWeights.load(bundled_weights_path())
