"""``/v1``: images in, rows out, in the words of ``hematovision classify``."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from hematovision.errors import RequestError
from hematovision.server.engine import Engine
from hematovision.server.form import read_form
from hematovision.server.serving import Seen, Served
from hematovision.uploads.receiving import display_name

__all__ = ["Classified", "ModelNamed", "ModelsListed", "friendly_paths"]

Row: TypeAlias = dict[str, str | float | None]

_SHORT = 2**18
"""Bytes of a form that are read sooner than another thread could begin."""

_LENIENT = "Give an only image that cannot be used a row with its `error`, too, not a status."

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            }
        },
    }
}


class ModelNamed(BaseModel):
    """A model: its name here, the SHA-256 of its ONNX file, and what it can say."""

    name: str
    hash: str
    classes: list[str]
    explains: bool


class ModelsListed(BaseModel):
    """All models of the service; the first one answers where none is asked for."""

    models: list[ModelNamed]


class Classified(BaseModel):
    """Answers, one row for each file in its order."""

    request_id: str
    model: ModelNamed
    rows: list[Row]


def friendly_paths(engine: Engine, problems: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Return the paths under ``/v1``.

    Parameters
    ----------
    engine : Engine
    problems : dict
        What OpenAPI says of the statuses of problems.
    """
    router = APIRouter(prefix="/v1", tags=["classify"])

    @router.get("/models")
    async def models() -> ModelsListed:
        """List the models."""
        return ModelsListed(models=[_named(served) for served in engine.models.all])

    @router.post("/classify", response_model=Classified, responses=problems, openapi_extra=_BODY)
    async def classify(
        request: Request,
        model: Annotated[str | None, Query(description="One of /v1/models.")] = None,
        explain: Annotated[bool, Query(description="Add `heat_map`, a PNG in base64.")] = False,  # noqa: FBT002 - a parameter of the query
        lenient: Annotated[bool, Query(description=_LENIENT)] = False,  # noqa: FBT002 - as above
    ) -> JSONResponse:
        """Answer for images of any format that is read, in parts named `files`."""
        served = engine.models.get(model)
        if explain and not served.classifier.explains:
            raise RequestError(
                "broken", f"{served.name} has no explanation maps; leave out explain."
            )
        files = await _files(request, engine)
        works = [partial(served.look, data, name, explain=explain) for name, data in files]
        seen = await engine.answer(served, works)
        if not lenient:
            _check_single(seen)
        answer = Classified(
            request_id=request.state.request_id,
            model=_named(served),
            rows=[_row(one, explain=explain) for one in seen],
        )
        return JSONResponse(answer.model_dump())

    return router


async def _files(request: Request, engine: Engine) -> list[tuple[str, bytes]]:
    """Read the parts named ``files`` into memory: names for people, and contents."""
    kind = request.headers.get("Content-Type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise RequestError(
            "not an image", "Send images as multipart/form-data, in parts named files."
        )
    body = await request.body()
    reading = partial(read_form, body, kind, engine.settings.queue)
    found = reading() if len(body) < _SHORT else await asyncio.to_thread(reading)
    return [(display_name(name), content) for name, content in found]


def _check_single(seen: list[Seen]) -> None:
    """Turn the refusal of an only image into a status; of several, each row has its own."""
    if len(seen) == 1 and seen[0].kind:
        only = seen[0].prediction
        raise RequestError(seen[0].kind, f"{only.path}: {only.error}")


def _named(served: Served) -> ModelNamed:
    classifier = served.classifier
    return ModelNamed(
        name=served.name,
        hash=served.hash,
        classes=list(classifier.classes),
        explains=classifier.explains,
    )


def _row(seen: Seen, *, explain: bool) -> Row:
    row = seen.prediction.values()
    return {**row, "heat_map": seen.heat_map} if explain else row
