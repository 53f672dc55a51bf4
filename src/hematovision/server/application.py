"""The HTTP server as an ASGI application, for uvicorn or any other server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from hematovision import __version__
from hematovision.errors import RequestError
from hematovision.server.door import Door
from hematovision.server.engine import Engine
from hematovision.server.friendly import friendly_paths
from hematovision.server.page import documentation
from hematovision.server.problems import described, headers_of, problem_body, status_of
from hematovision.server.protocol import protocol_paths
from hematovision.server.serving import Models
from hematovision.server.settings import Settings

__all__ = ["ProblemBody", "create_app"]


class ProblemBody(BaseModel):
    """What a request is told that is not answered."""

    error: str
    request_id: str


def create_app(settings: Settings | None = None) -> Door:
    """Open the models and return the service.

    Parameters
    ----------
    settings : Settings, optional

    Returns
    -------
    Door
        An ASGI application; its ``engine.closing`` makes it take no more requests.

    Raises
    ------
    ModelNotFoundError, BundleError
        If a model cannot be opened.
    """
    chosen = settings or Settings()
    engine = Engine(chosen, Models.load(chosen.models, chosen.max_pixels))
    app = FastAPI(
        title="HematoVision",
        version=__version__,
        description="Recognises blood cells in microscope images: for research and teaching.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # FastAPI's own redirects have no body, and repeat any host.
        lifespan=_lifespan(engine),
    )
    problems = described(ProblemBody)
    app.include_router(friendly_paths(engine, problems))
    app.include_router(protocol_paths(engine, problems))
    _add_pages(app, engine)
    _add_problems(app)
    return Door(app, engine)


def _lifespan(engine: Engine) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(engine.warm_up())
        yield
        await warming
        await asyncio.to_thread(engine.close)

    return lifespan


def _add_pages(app: FastAPI, engine: Engine) -> None:
    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(engine.metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documentation(app.openapi()))


def _add_problems(app: FastAPI) -> None:
    """Give every failure the same body; the door adds the request's identity to all."""

    async def problem(request: Request, error: RequestError) -> JSONResponse:
        request.state.problem = error.kind
        return _said(request, status_of(error), error.message, headers_of(error))

    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        given = request.scope["path"]
        path = given.rstrip("/")
        if error.status_code == HTTPStatus.NOT_FOUND and path != given and _has(app, request, path):
            message = f"Use the path without a trailing slash: {path}"
            return _said(request, 307, message, {"Location": _location(request, path)})
        return _said(request, error.status_code, str(error.detail), dict(error.headers or {}))

    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        request.state.problem = "broken"
        return _said(request, 422, f"{place}: {first['msg']}", {})

    async def failed(request: Request, _: Exception) -> JSONResponse:
        return _said(request, 500, "Internal server error; see the server log.", {})

    handlers: dict[Any, Any] = {
        RequestError: problem,
        HTTPException: plain,
        RequestValidationError: wrong,
        Exception: failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _has(app: FastAPI, request: Request, path: str) -> bool:
    """Tell whether there is something at a path."""
    scope = {**request.scope, "path": path}
    return any(route.matches(scope)[0] is not Match.NONE for route in app.router.routes)


def _location(request: Request, path: str) -> str:
    """Return a path as the value of a header: of this host, whatever the request calls it."""
    query = quote(request.scope["query_string"], safe="/?:@!$&'()*+,;=%-._~")
    return quote("/" + path.lstrip("/")) + (f"?{query}" if query else "")


def _said(request: Request, status: int, message: str, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(problem_body(message, request.state.request_id), status, headers)
