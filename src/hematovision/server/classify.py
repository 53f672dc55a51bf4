"""``/v1``: takes images in multipart forms; returns the rows of ``hematovision classify``."""

from __future__ import annotations

import asyncio
import base64
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hematovision import images
from hematovision.errors import RequestError
from hematovision.model.explain import draw_overlay
from hematovision.model.inference import ImageResult, Item, Predictor, predict_image
from hematovision.plurals import counted
from hematovision.rows import Value
from hematovision.server.engine import Engine
from hematovision.server.models import LoadedModel
from hematovision.server.problems import kind_of
from hematovision.uploads.receiving import display_name

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = [
    "FORM", "LENIENT", "Classified", "ModelNamed", "ModelsListed", "Values", "check_single",
    "classify_routes", "name_model", "read_form", "read_items",
]  # fmt: skip

Values: TypeAlias = dict[str, Value]

_SHORT = 2**18
"""Forms of up to this many bytes are parsed faster than a thread could start."""

_FURTHER_PARTS = 64
"""Maximum number of parts that are not files; they are parsed and ignored."""

LENIENT = "Return a row with the `error` even if there is only one image and it cannot be read."
"""The description of the parameter ``lenient``."""

_FILES = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
_FORM = {"type": "object", "required": ["files"], "properties": {"files": _FILES}}
FORM: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}
}
"""The OpenAPI description of a request's body."""


class ModelNamed(BaseModel):
    """A model: name, SHA-256 of its ONNX file, classes, whether it returns heat maps, and task."""

    name: str
    hash: str
    classes: list[str]
    explains: bool
    task: Literal["classification", "detection"] = "classification"


class ModelsListed(BaseModel):
    """All models of the server; the first is the default."""

    models: list[ModelNamed]


class Classified(BaseModel):
    """The rows of all files, in order."""

    request_id: str
    model: ModelNamed
    rows: list[Values]


def classify_routes(engine: Engine, problems: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Return the routes under ``/v1``.

    `problems` are the OpenAPI descriptions of the error responses.
    """
    router = APIRouter(prefix="/v1", tags=["classify"])

    @router.get("/models")
    async def models() -> ModelsListed:
        """List the models."""
        return ModelsListed(models=[name_model(served) for served in engine.models.all])

    @router.post("/classify", response_model=Classified, responses=problems, openapi_extra=FORM)
    async def classify(
        request: Request,
        model: Annotated[str | None, Query(description="One of /v1/models.")] = None,
        explain: Annotated[bool, Query(description="Add `heat_map`, a PNG in base64.")] = False,  # noqa: FBT002 - a parameter of the query
        lenient: Annotated[bool, Query(description=LENIENT)] = False,  # noqa: FBT002 - as above
    ) -> JSONResponse:
        """Classify images of any supported format, in parts named `files`."""
        served = engine.models.get(model)
        if explain and not served.predictor.explains:
            raise RequestError("broken", f"{served.name} has no explanation maps; omit explain.")
        items = await read_items(request, engine)
        works = [partial(_predict, served.predictor, item, explain=explain) for item in items]
        found = await engine.queue.run(works)
        results = [result for result, _ in found]
        engine.metrics.predictions(served.name, results)
        if not lenient:
            check_single(results)
        response = Classified(
            request_id=request.state.request_id,
            model=name_model(served),
            rows=[values for _, rows in found for values in rows],
        )
        return JSONResponse(response.model_dump())

    return router


async def read_items(request: Request, engine: Engine) -> list[Item]:
    """Read the parts named ``files`` into memory.

    Raises `RequestError` if the body is not a form, or has no files or too many.
    """
    kind = request.headers.get("Content-Type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise RequestError(
            "not an image", "Send images as multipart/form-data, in parts named files."
        )
    body = await request.body()
    reading = partial(read_form, body, kind, engine.settings.queue)
    found = reading() if len(body) < _SHORT else await asyncio.to_thread(reading)
    return [Item(display_name(name), content) for name, content in found]


def _predict(
    predictor: Predictor[Any], item: Item, *, explain: bool
) -> tuple[ImageResult[Any], list[Values]]:
    """Predict an image; return the result and its rows, with the heat map if requested."""
    result = predict_image(predictor, item, explain=explain)
    rows: list[Values] = [row.values() for row in result.rows]
    if not explain:
        return result, rows
    heat_map = _heat_map(result)
    return result, [{**values, "heat_map": heat_map} for values in rows]


def _heat_map(result: ImageResult[Any]) -> str | None:
    """Return the image overlaid with its explanation map, a PNG in base64."""
    if result.attention is None or not isinstance(result.source, bytes):
        return None
    overlay = draw_overlay(images.read(result.source), result.attention)
    return base64.b64encode(images.encode_png(overlay)).decode("ascii")


def check_single(results: list[ImageResult[Any]]) -> None:
    """Raise the error of a single image; with several images, errors are in the rows."""
    if len(results) == 1 and (error := results[0].error) is not None:
        raise RequestError(kind_of(error), f"{results[0].name}: {error.reason}")


def name_model(served: LoadedModel) -> ModelNamed:
    """Return what a response states about its model."""
    return ModelNamed(
        name=served.name,
        hash=served.hash,
        classes=list(served.predictor.classes),
        explains=served.predictor.explains,
        task=served.task,
    )


def read_form(body: bytes, content_type: str, most: int) -> list[tuple[str, bytes]]:
    """Return the names and contents of the files in parts named ``files``.

    `content_type` is the header ``Content-Type``. Raises `RequestError` if the form is malformed,
    or has no such file or more than `most`.
    """
    _, options = parse_options_header(content_type)
    if not options.get(b"boundary"):
        raise _malformed("its Content-Type has no boundary")
    found = _FormFiles(most)
    try:
        parser = MultipartParser(options[b"boundary"], found.callbacks())
        parser.write(body)
    except FormParserError as error:
        raise _malformed(str(error)) from error
    if not found.ended:
        raise _malformed("it ends before its closing boundary. Send it again")
    if not found.files:
        raise RequestError(
            "broken", "The form has no file in a part named files. Send one or more."
        )
    return found.files


class _FormFiles:
    """The parser's callbacks, and the files so far."""

    def __init__(self, most: int) -> None:
        self.files: list[tuple[str, bytes]] = []
        self.ended = False
        self._most = most
        self._parts = 0
        self._field, self._value, self._disposition = b"", b"", b""
        self._file: str | None = None
        self._content: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        """Return the methods that the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._most + _FURTHER_PARTS:
            raise RequestError(
                "too large", f"A form may have at most {counted(self._most, 'file')}."
            )
        self._disposition = b""
        self._content = []

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed('a part has no "name" in its Content-Disposition')
        is_file = options[b"name"] == b"files" and b"filename" in options
        self._file = _text(options[b"filename"]) if is_file else None
        if is_file and len(self.files) >= self._most:
            raise RequestError(
                "too large",
                f"The form has more than {counted(self._most, 'image')}; at most {self._most} are "
                "accepted at once. Send them in several requests.",
            )

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._content.append(data[start:end])

    def _end_part(self) -> None:
        if self._file is not None:
            self.files.append((self._file, b"".join(self._content)))

    def _end(self) -> None:
        self.ended = True


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _malformed(what: str) -> RequestError:
    return RequestError("malformed", f"The body is not a valid multipart form: {what}.")
