"""Tensors of the Open Inference Protocol v2, in JSON and behind it as bytes."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from itertools import chain
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

# Reading JSON holds the interpreter's lock, so that health, too, waits for it; and each value takes
# ten to a hundred times its bytes. Both limits together keep it below half a second and 100 MB.
_LONGEST_JSON = 2**24  # Bytes.
_MOST_VALUES = 2**19  # Three images as numbers.
_OUTPUTS = 4


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
    outputs: list[Wanted] = Field(default=[], max_length=_OUTPUTS)


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
        If it is not what the protocol has, or too much JSON: its values are counted before any is
        read.
    """
    length = len(body) if header_length is None else _length(header_length, len(body))
    head = body[:length]
    _check_amount(head)
    try:
        return InferRequest.model_validate_json(head), body[length:]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise _malformed(f"{place}: {first['msg']}") from error


def read_images(tensor: Tensor, behind: bytes, most: int) -> list[bytes] | NDArray[np.uint8]:
    """Return the images of an input: contents of files, or fitted pixels (N, 224, 224, 3).

    Parameters
    ----------
    tensor : Tensor
    behind : bytes
        What came behind the JSON.
    most : int
        Images that are taken.

    Raises
    ------
    RequestError
        If name, type, shape and data do not belong together, or there are too many images.
    """
    size = tensor.parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size != len(behind)):
        raise _malformed(f"binary_data_size is {size!r}; {len(behind)} bytes came behind the JSON")
    if (size is None) == (tensor.data is None):
        raise _malformed(f"{tensor.name} needs either data or binary_data_size")
    shape = tensor.shape
    if shape and shape[0] > most:
        raise RequestError(
            "too large",
            f"The request has {shape[0]} images; at most {most} are accepted at once. Send them in "
            "several requests.",
        )
    if (tensor.name, tensor.datatype) == (FILES, "BYTES") and len(shape) == 1:
        return _files(shape[0], behind if tensor.data is None else tensor.data)
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


def _check_amount(head: bytes) -> None:
    """Refuse JSON of too many bytes or values; commas in texts count, too, which base64 lacks."""
    if len(head) > _LONGEST_JSON:
        raise RequestError(
            "too large",
            f"The JSON has {len(head):,} bytes; at most {_LONGEST_JSON:,} are accepted. Send "
            "images as bytes behind the JSON (binary_data_size), or as files to /v1/classify.",
        )
    if sum(map(head.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise RequestError(
            "too large",
            f"The JSON has more than {_MOST_VALUES:,} values, the limit. Send pixels as bytes "
            "behind the JSON (binary_data_size), or image files instead of pixels.",
        )


def _files(count: int, data: bytes | list[Any]) -> list[bytes]:
    if isinstance(data, bytes):
        found = _split(data, count)
        if len(found) == count:
            return found
        raise _malformed(f"shape {[count]} does not fit {len(found)} elements or more")
    if len(data) != count:
        raise _malformed(f"shape {[count]} does not fit {len(data)} elements")
    return [_decoded(one) for one in data]


def _split(data: bytes, most: int) -> list[bytes]:
    """Take elements apart, each with its length before it: four bytes, the lowest first.

    There are no more than one above `most`.
    """
    parts: list[bytes] = []
    place = 0
    while place < len(data) and len(parts) <= most:
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
    """Return whole numbers from 0 to 255, flat or nested, as bytes.

    Not by NumPy: in an array of numbers and one long text, each number would be as long.
    """
    for _ in range(len(_SIDES)):
        if not (data and isinstance(data[0], list)):
            break
        width = len(data[0])
        if not all(isinstance(row, list) and len(row) == width for row in data):
            raise _malformed(f"the data of {IMAGES!r} are not a tensor")
        data = list(chain.from_iterable(data))
    try:
        return bytes(data)
    except (TypeError, ValueError) as error:
        raise _malformed(f"the data of {IMAGES!r} must be whole numbers from 0 to 255") from error


def _pixels(shape: list[int], data: bytes) -> NDArray[np.uint8]:
    if shape[0] < 0 or math.prod(shape) != len(data):
        raise _malformed(f"shape {shape} does not fit {len(data)} numbers")
    return np.frombuffer(data, np.uint8).reshape(shape)
