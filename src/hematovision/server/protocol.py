"""``/v2``: the Open Inference Protocol, used by Triton, KServe and their clients.

The specification is KServe's ("Open Inference Protocol", version 2, HTTP/REST), with Triton's
extension ``binary_tensor_data``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hematovision import __version__
from hematovision.errors import RequestError
from hematovision.images import SIZE
from hematovision.model.classifier import Classifier
from hematovision.model.inference import ImageResult, Item, predict_image
from hematovision.server.engine import Engine
from hematovision.server.models import LoadedModel
from hematovision.server.problems import kind_of
from hematovision.validation import explained

__all__ = [
    "FILES", "IMAGES", "InferRequest", "ModelMetadata", "Port", "RequestedOutput", "ServerMetadata",
    "Tensor", "protocol_routes", "read_images", "read_request", "written",
]  # fmt: skip

_HEADER_LENGTH = "Inference-Header-Content-Length"
_MOST_OUTPUTS = 4

FILES = "files"
"""The input for encoded images, BYTES (N,)."""

IMAGES = "images"
"""The input for resized pixels, UINT8 (N, 224, 224, 3), RGB."""

_SIDES = [SIZE, SIZE, 3]

# Parsing JSON blocks the interpreter's lock, so even health checks wait, and each value uses ten to
# a hundred times its bytes of memory. These limits keep parsing below half a second and 100 MB.
_LONGEST_JSON = 2**24  # bytes
_MOST_VALUES = 2**19  # three images as numbers


class ServerMetadata(BaseModel):
    """The server's name, version and extensions."""

    name: str
    version: str
    extensions: list[str]


class Port(BaseModel):
    """An input or output; -1 means any number of images."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model's inputs, of which a request uses one, and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Port]
    outputs: list[Port]


def protocol_routes(engine: Engine, problems: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Return the routes under ``/v2``; see `classify_routes`."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])

    @router.get("")
    async def server() -> ServerMetadata:
        """Return the server's name and version."""
        return ServerMetadata(
            name="hematovision", version=__version__, extensions=["binary_tensor_data"]
        )

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """Return whether the process is alive."""
        return {"live": True}

    @router.get("/health/ready", responses={503: problems[503]})
    async def ready() -> dict[str, bool]:
        """Return whether requests are accepted: every model has passed its self-test."""
        engine.check_ready()
        return {"ready": True}

    @router.get("/models/{name}", responses={404: problems[404]})
    async def model(name: str) -> ModelMetadata:
        """Return a model's inputs and outputs."""
        return _metadata(engine.models.get(name))

    @router.get("/models/{name}/ready", responses={k: problems[k] for k in (404, 503)})
    async def model_ready(name: str) -> dict[str, bool]:
        """Return whether a model is ready."""
        engine.models.get(name)
        engine.check_ready()
        return {"ready": True}

    @router.post("/models/{name}/infer", responses=problems, openapi_extra=_body())
    async def infer(name: str, request: Request) -> Response:
        """Classify images: encoded files (BYTES) or pixels of the input size (UINT8)."""
        served = engine.models.get(name)
        classifier = _classifier(served)
        body, length = await request.body(), request.headers.get(_HEADER_LENGTH)
        # On a thread, and one at a time: parsing JSON blocks the interpreter's lock.
        async with engine.parsing:
            asked, items = await asyncio.to_thread(_read, engine, body, length)
        wanted = _wanted(asked, _outputs(classifier))
        works = [partial(predict_image, classifier, item) for item in items]
        results = await engine.queue.run(works)
        engine.metrics.predictions(served.name, results)
        _check_all(results)
        response = {"model_name": served.name, "model_version": served.hash}
        if asked.id:
            response["id"] = asked.id
        values = _values(results, len(classifier.classes))
        outputs = [(key, values[key].shape, values[key], binary) for key, binary in wanted]
        return _response(*written(response, outputs))

    return router


def _read(engine: Engine, body: bytes, length: str | None) -> tuple[InferRequest, list[Item]]:
    asked, tail = read_request(body, length)
    given = read_images(asked.inputs[0], tail, engine.settings.queue)
    name = FILES if isinstance(given, list) else IMAGES
    return asked, [Item(f"{name}[{i}]", source) for i, source in enumerate(given)]


def _classifier(served: LoadedModel) -> Classifier:
    """Return a model's classifier; other predictors do not return one row per image."""
    if not isinstance(served.predictor, Classifier):
        raise RequestError("unknown model", f"{served.name} is served under /v1 only.")
    return served.predictor


def _outputs(classifier: Classifier) -> list[str]:
    novelty = ["novelty"] if classifier.scores_novelty else []
    return ["probabilities", *novelty, "label", "decision"]


def _wanted(asked: InferRequest, outputs: list[str]) -> list[tuple[str, bool]]:
    """Return the requested outputs, by default all, and whether to send each as bytes."""
    all_binary = asked.parameters.get("binary_data_output") is True
    names = {one.name for one in asked.outputs}
    if not names <= set(outputs) or len(names) < len(asked.outputs):
        raise RequestError(
            "malformed",
            f"Request the outputs {', '.join(outputs)} at most once each. Received: "
            f"{', '.join(one.name for one in asked.outputs)}.",
        )
    if not asked.outputs:
        return [(name, all_binary) for name in outputs]
    return [
        (one.name, one.parameters.get("binary_data", all_binary) is True) for one in asked.outputs
    ]


def _check_all(results: list[ImageResult[Any]]) -> None:
    """Raise the first image's error, since tensors cannot contain errors."""
    for result in results:
        if result.error is not None:
            raise RequestError(kind_of(result.error), f"{result.name}: {result.error.reason}")


def _values(results: list[ImageResult[Any]], classes: int) -> dict[str, NDArray[Any]]:
    rows = [result.prediction for result in results]
    probabilities = np.array([row.probabilities for row in rows], np.float32)
    return {
        "probabilities": probabilities.reshape(len(rows), classes),
        "novelty": np.array([row.novelty for row in rows], np.float32),
        "label": np.array([(row.label or "").encode() for row in rows], np.object_),
        "decision": np.array([row.decision.encode() for row in rows], np.object_),
    }


def _response(body: bytes, header_length: int | None) -> Response:
    if header_length is None:
        return Response(body, media_type="application/json")
    headers = {_HEADER_LENGTH: str(header_length)}
    return Response(body, headers=headers, media_type="application/octet-stream")


def _metadata(served: LoadedModel) -> ModelMetadata:
    classifier = _classifier(served)
    outputs = [
        Port(name="probabilities", datatype="FP32", shape=[-1, len(classifier.classes)]),
        Port(name="novelty", datatype="FP32", shape=[-1]),
        Port(name="label", datatype="BYTES", shape=[-1]),
        Port(name="decision", datatype="BYTES", shape=[-1]),
    ]
    return ModelMetadata(
        name=served.name,
        versions=[served.hash],
        platform="onnxruntime_onnx",
        inputs=[
            Port(name=FILES, datatype="BYTES", shape=[-1]),
            Port(name=IMAGES, datatype="UINT8", shape=[-1, SIZE, SIZE, 3]),
        ],
        outputs=[port for port in outputs if port.name in _outputs(classifier)],
    )


def _body() -> dict[str, Any]:
    """Return the OpenAPI description of the body; FastAPI cannot parse its binary end."""
    schema = InferRequest.model_json_schema()
    definitions = schema.pop("$defs")

    def inlined(value: Any) -> Any:
        if isinstance(value, dict):
            name = value.get("$ref", "").rpartition("/")[2]
            found = definitions[name] if name else value
            return {key: inlined(item) for key, item in found.items()}
        return [inlined(item) for item in value] if isinstance(value, list) else value

    content = {"application/json": {"schema": inlined(schema)}}
    return {"requestBody": {"required": True, "content": content}}


class Tensor(BaseModel):
    """An input: ``data`` in JSON, or `binary_data_size` bytes after it."""

    model_config = ConfigDict(strict=True)
    name: str
    datatype: str
    shape: list[int] = Field(max_length=8)
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class RequestedOutput(BaseModel):
    """A requested output."""

    model_config = ConfigDict(strict=True)
    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """An inference request."""

    model_config = ConfigDict(strict=True)
    id: str = ""
    parameters: dict[str, Any] = {}
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] = Field(default=[], max_length=_MOST_OUTPUTS)


def read_request(body: bytes, header_length: str | None) -> tuple[InferRequest, bytes]:
    """Split a body into the request and the bytes after it.

    `header_length` is the value of ``Inference-Header-Content-Length``, if given: where the JSON
    ends. Raises `RequestError` if the body does not follow the protocol, or has too much JSON.
    Values are counted before parsing.
    """
    length = len(body) if header_length is None else _length(header_length, len(body))
    head = body[:length]
    _check_amount(head)
    try:
        return InferRequest.model_validate_json(head), body[length:]
    except ValidationError as error:
        raise _malformed(explained(error.errors(include_url=False)[0])[:-1]) from error


def read_images(tensor: Tensor, tail: bytes, most: int) -> list[bytes] | NDArray[np.uint8]:
    """Return the images of an input: file contents, or resized pixels (N, 224, 224, 3).

    `tail` are the bytes after the JSON. Raises `RequestError` if name, type, shape and data do not
    match, or there are more than `most` images.
    """
    size = tensor.parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size != len(tail)):
        raise _malformed(f"binary_data_size is {size!r}; {len(tail)} bytes follow the JSON")
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
        return _files(shape[0], tail if tensor.data is None else tensor.data)
    if (tensor.name, tensor.datatype) == (IMAGES, "UINT8") and shape[1:] == _SIDES:
        return _pixels(shape, tail if tensor.data is None else _numbers(tensor.data))
    raise _malformed(
        f"there is no input {tensor.name!r} of type {tensor.datatype} and shape {shape}; expected "
        f"{FILES!r}, BYTES [N], or {IMAGES!r}, UINT8 [N, {SIZE}, {SIZE}, 3]"
    )


def written(
    response: dict[str, Any], outputs: Sequence[tuple[str, Sequence[Any], NDArray[Any], bool]]
) -> tuple[bytes, int | None]:
    """Serialise a response.

    `outputs` are (name, shape, values, binary), with values of float32 or bytes objects; `response`
    has the fields before them. Returns the body, and where the JSON ends if bytes follow.
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
    head = json.dumps({**response, "outputs": tensors}).encode()
    binary_part = any(binary for *_, binary in outputs)
    return head + tail, len(head) if binary_part else None


def _malformed(what: str) -> RequestError:
    return RequestError("malformed", f"Not a request of the Open Inference Protocol v2: {what}.")


def _length(text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= most):
        raise _malformed(f"Inference-Header-Content-Length is {text!r}; the body has {most} bytes")
    return int(text)


def _check_amount(head: bytes) -> None:
    """Reject JSON with too many bytes or values (commas; base64 strings have none)."""
    if len(head) > _LONGEST_JSON:
        raise RequestError(
            "too large",
            f"The JSON has {len(head):,} bytes; at most {_LONGEST_JSON:,} are accepted. Send "
            "images as bytes after the JSON (binary_data_size), or as files to /v1/classify.",
        )
    if sum(map(head.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise RequestError(
            "too large",
            f"The JSON has more than {_MOST_VALUES:,} values, the limit. Send pixels as bytes "
            "after the JSON (binary_data_size), or image files instead of pixels.",
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
    """Split elements, each after its length (four bytes, little-endian); at most `most` + 1."""
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
    """Return integers from 0 to 255, flat or nested, as bytes.

    NumPy is not used: given numbers and a long string, it would pad each number to that length.
    """
    for _ in range(len(_SIDES)):
        if not (data and isinstance(data[0], list)):
            break
        width = len(data[0])
        if not all(isinstance(row, list) and len(row) == width for row in data):
            raise _malformed(f"the data of {IMAGES!r} is not a tensor")
        data = list(chain.from_iterable(data))
    try:
        return bytes(data)
    except (TypeError, ValueError) as error:
        raise _malformed(f"the data of {IMAGES!r} must be integers from 0 to 255") from error


def _pixels(shape: list[int], data: bytes) -> NDArray[np.uint8]:
    if shape[0] < 0 or math.prod(shape) != len(data):
        raise _malformed(f"shape {shape} does not fit {len(data)} numbers")
    return np.frombuffer(data, np.uint8).reshape(shape)
