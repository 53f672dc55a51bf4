"""``/v2``: the Open Inference Protocol, which Triton, KServe and their clients speak.

The specification is that of KServe ("Open Inference Protocol", version 2, HTTP/REST), with the
extension ``binary_tensor_data`` of Triton.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel

from hematovision import __version__
from hematovision.errors import RequestError
from hematovision.images import SIZE
from hematovision.server.engine import Engine
from hematovision.server.serving import Seen, Served
from hematovision.server.tensors import (
    FILES,
    IMAGES,
    InferRequest,
    read_images,
    read_request,
    written,
)

__all__ = ["ModelMetadata", "Port", "ServerMetadata", "protocol_paths"]

_HEADER_LENGTH = "Inference-Header-Content-Length"


class ServerMetadata(BaseModel):
    """What the service is."""

    name: str
    version: str
    extensions: list[str]


class Port(BaseModel):
    """An input or output; -1 stands for any number of images."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives; of the inputs, a request has one."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Port]
    outputs: list[Port]


def protocol_paths(engine: Engine, problems: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Return the paths under ``/v2``; see `friendly_paths`."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])

    @router.get("")
    async def server() -> ServerMetadata:
        """Tell what this is."""
        return ServerMetadata(
            name="hematovision", version=__version__, extensions=["binary_tensor_data"]
        )

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """Tell that the process answers."""
        return {"live": True}

    @router.get("/health/ready", responses={503: problems[503]})
    async def ready() -> dict[str, bool]:
        """Return whether requests are accepted: every model has passed its self-test."""
        engine.check_ready()
        return {"ready": True}

    @router.get("/models/{name}", responses={404: problems[404]})
    async def model(name: str) -> ModelMetadata:
        """Tell what a model takes and gives."""
        return _metadata(engine.models.get(name))

    @router.get("/models/{name}/ready", responses={k: problems[k] for k in (404, 503)})
    async def model_ready(name: str) -> dict[str, bool]:
        """Tell whether a model answers."""
        engine.models.get(name)
        engine.check_ready()
        return {"ready": True}

    @router.post("/models/{name}/infer", responses=problems, openapi_extra=_body())
    async def infer(name: str, request: Request) -> Response:
        """Answer for images: encoded files (BYTES) or fitted pixels (UINT8)."""
        served = engine.models.get(name)
        body, length = await request.body(), request.headers.get(_HEADER_LENGTH)
        # On a thread, and one at a time: while JSON is read, no other thread runs for long.
        async with engine.reading:
            asked, works = await asyncio.to_thread(_read, served, engine, body, length)
        wanted = _wanted(asked, _outputs(served))
        seen = await engine.answer(served, works)
        _check_all(seen)
        answer = {"model_name": served.name, "model_version": served.hash}
        if asked.id:
            answer["id"] = asked.id
        values = _values(seen, len(served.classifier.classes))
        outputs = [(key, values[key].shape, values[key], binary) for key, binary in wanted]
        return _response(*written(answer, outputs))

    return router


def _read(
    served: Served, engine: Engine, body: bytes, length: str | None
) -> tuple[InferRequest, list[Callable[[], Seen]]]:
    asked, behind = read_request(body, length)
    given = read_images(asked.inputs[0], behind, engine.settings.queue)
    if isinstance(given, list):
        files = enumerate(given)
        return asked, [partial(served.look, data, f"{FILES}[{i}]") for i, data in files]
    arrays = enumerate(given)
    return asked, [partial(served.look_at, pixels, f"{IMAGES}[{i}]") for i, pixels in arrays]


def _outputs(served: Served) -> list[str]:
    novelty = ["novelty"] if served.classifier.scores_novelty else []
    return ["probabilities", *novelty, "label", "decision"]


def _wanted(asked: InferRequest, outputs: list[str]) -> list[tuple[str, bool]]:
    """Return which outputs are asked for, by default all, and whether each as bytes."""
    all_binary = asked.parameters.get("binary_data_output") is True
    names = {one.name for one in asked.outputs}
    if not names <= set(outputs) or len(names) < len(asked.outputs):
        raise RequestError(
            "malformed",
            f"The outputs are {', '.join(outputs)}, each once. Received: "
            f"{', '.join(one.name for one in asked.outputs)}.",
        )
    if not asked.outputs:
        return [(name, all_binary) for name in outputs]
    return [
        (one.name, one.parameters.get("binary_data", all_binary) is True) for one in asked.outputs
    ]


def _check_all(seen: list[Seen]) -> None:
    """Refuse a request with an image that cannot be used: a tensor has no place for the reason."""
    for one in seen:
        if one.kind:
            prediction = one.prediction
            raise RequestError(one.kind, f"{prediction.path}: {prediction.error}")


def _values(seen: list[Seen], classes: int) -> dict[str, NDArray[Any]]:
    rows = [one.prediction for one in seen]
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


def _metadata(served: Served) -> ModelMetadata:
    classes = len(served.classifier.classes)
    outputs = [
        Port(name="probabilities", datatype="FP32", shape=[-1, classes]),
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
        outputs=[port for port in outputs if port.name in _outputs(served)],
    )


def _body() -> dict[str, Any]:
    """Return what OpenAPI says of the body, which FastAPI is not to read: bytes may follow it."""
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
