"""Tensors of the Open Inference Protocol v2, in JSON and behind it as bytes."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hematovision.errors import RequestError
from hematovision.images import SIZE

__all__ = [
    "FILES",
    "IMAGES",
    "InferRequest",
    "Tensor",
    "Wanted",
    "read_images",
    "read_request",
    "written",
]

FILES = "files"
"""The input that takes encoded images, BYTES (N,)."""

IMAGES = "images"
"""The input that takes fitted pixels, UINT8 (N, 224, 224, 3), RGB."""

_SIDES = [SIZE, SIZE, 3]


class Tensor(BaseModel):
    """An input: ``data`` in JSON, or `binary_data_size` bytes behind it."""

    model_config = ConfigDict(strict=True)
    name: str
    datatype: str
    shape: list[int] = Field(max_length=8)
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class Wanted(BaseModel):
    """An output that is asked for."""

    model_config = ConfigDict(strict=True)
    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """What is asked of a model."""

    model_config = ConfigDict(strict=True)
    id: str = ""
    parameters: dict[str, Any] = {}
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[Wanted] = []


def read_request(body: bytes, header_length: str | None) -> tuple[InferRequest, bytes]:
    """Split a body into the request and the bytes behind it.

    Parameters
    ----------
    body : bytes
    header_length : str or None
        The value of ``Inference-Header-Content-Length``, if given: where the JSON ends.

    Raises
    ------
    RequestError
        If it is not what the protocol has.
    """
    length = len(body) if header_length is None else _length(header_length, len(body))
    try:
        return InferRequest.model_validate_json(body[:length]), body[length:]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise _malformed(f"{place}: {first['msg']}") from error


def read_images(tensor: Tensor, behind: bytes) -> list[bytes] | NDArray[np.uint8]:
    """Return the images of an input: contents of files, or fitted pixels (N, 224, 224, 3).

    Raises
    ------
    RequestError
        If name, type, shape and data do not belong together.
    """
    size = tensor.parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size != len(behind)):
        raise _malformed(f"binary_data_size is {size!r}; {len(behind)} bytes came behind the JSON")
    if (size is None) == (tensor.data is None):
        raise _malformed(f"{tensor.name} needs either data or binary_data_size")
    shape = tensor.shape
    if (tensor.name, tensor.datatype) == (FILES, "BYTES") and len(shape) == 1:
        files = _split(behind) if tensor.data is None else [_decoded(one) for one in tensor.data]
        if shape != [len(files)]:
            raise _malformed(f"shape {shape} does not fit {len(files)} elements")
        return files
    if (tensor.name, tensor.datatype) == (IMAGES, "UINT8") and shape[1:] == _SIDES:
        return _pixels(shape, behind if tensor.data is None else _numbers(tensor.data))
    raise _malformed(
        f"there is no input {tensor.name!r} of type {tensor.datatype} and shape {shape}; expected "
        f"{FILES!r}, BYTES [N], or {IMAGES!r}, UINT8 [N, {SIZE}, {SIZE}, 3]"
    )


def written(
    answer: dict[str, Any], outputs: Sequence[tuple[str, Sequence[Any], NDArray[Any], bool]]
) -> tuple[bytes, int | None]:
    """Write an answer.

    Parameters
    ----------
    answer : dict
        What stands before the outputs.
    outputs : sequence of (name, shape, values, binary)
        Values are float32, or objects: bytes.

    Returns
    -------
    body : bytes
    header_length : int or None
        Where the JSON ends, if bytes follow.
    """
    tensors, tail = [], b""
    for name, shape, values, binary in outputs:
        is_text = values.dtype == np.object_
        tensor: dict[str, Any] = {
            "name": name,
            "datatype": "BYTES" if is_text else "FP32",
            "shape": list(shape),
        }
        if binary:
            data = _joined(values) if is_text else values.astype("<f4").tobytes()
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            flat = values.ravel().tolist()
            tensor["data"] = [one.decode() for one in flat] if is_text else flat
        tensors.append(tensor)
    head = json.dumps({**answer, "outputs": tensors}).encode()
    binary_part = any(binary for *_, binary in outputs)
    return head + tail, len(head) if binary_part else None


def _malformed(what: str) -> RequestError:
    return RequestError("malformed", f"Not a request of the Open Inference Protocol v2: {what}.")


def _length(text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= most):
        raise _malformed(f"Inference-Header-Content-Length is {text!r}; the body has {most} bytes")
    return int(text)


def _split(data: bytes) -> list[bytes]:
    """Take elements apart, each with its length before it: four bytes, the lowest first."""
    parts, place = [], 0
    while place < len(data):
        start = place + 4
        end = start + int.from_bytes(data[place:start], "little")
        if end > len(data):
            raise _malformed(f"the bytes of {FILES!r} end within an element")
        parts.append(data[start:end])
        place = end
    return parts


def _joined(values: NDArray[Any]) -> bytes:
    return b"".join(struct.pack("<I", len(one)) + one for one in values.ravel())


def _decoded(element: object) -> bytes:
    try:
        if isinstance(element, str):
            return base64.b64decode(element, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise _malformed(f"in JSON, each element of {FILES!r} is an image file in base64")


def _numbers(data: list[Any]) -> bytes:
    """Return whole numbers from 0 to 255, flat or nested, as bytes."""
    try:
        values = np.asarray(data)
    except ValueError as error:  # Rows of different lengths.
        raise _malformed(f"the data of {IMAGES!r} are no tensor") from error
    if values.size and (values.dtype.kind != "i" or values.min() < 0 or values.max() > 255):
        raise _malformed(f"the data of {IMAGES!r} must be whole numbers from 0 to 255")
    return values.astype(np.uint8).tobytes()


def _pixels(shape: list[int], data: bytes) -> NDArray[np.uint8]:
    if shape[0] < 0 or math.prod(shape) != len(data):
        raise _malformed(f"shape {shape} does not fit {len(data)} numbers")
    return np.frombuffer(data, np.uint8).reshape(shape)
