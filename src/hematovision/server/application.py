"""The HTTP server as an ASGI application, for uvicorn or any other server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from hematovision import __version__
from hematovision.errors import RequestError
from hematovision.server.analyze import analyze_routes
from hematovision.server.classify import classify_routes
from hematovision.server.engine import Engine
from hematovision.server.models import Models
from hematovision.server.problems import described, headers_of, problem_body, status_of
from hematovision.server.protocol import protocol_routes
from hematovision.server.requests import RequestGuard
from hematovision.server.settings import Settings
from hematovision.validation import explained

__all__ = ["ProblemBody", "create_app"]

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;
color-scheme:light dark}}h2{{font-size:1.2rem;margin-top:2rem}}
code{{background:light-dark(#eee,#333);padding:.1em .3em}}
dl{{display:grid;grid-template-columns:3rem 1fr}}dd{{margin:0}}</style>
<h1>{title}</h1><p>Machine-readable: <a href="openapi.json">openapi.json</a>.</p>
"""


class ProblemBody(BaseModel):
    """The body of an error response."""

    error: str
    request_id: str


def create_app(settings: Settings | None = None, models: Models | None = None) -> RequestGuard:
    """Open the models and return the application.

    By default, the models are those named in the settings. Set the result's ``engine.closing`` to
    reject new requests. Raises `ModelNotFoundError` or `BundleError` if a model cannot be opened.
    """
    chosen = settings or Settings()
    engine = Engine(chosen, models or Models.load(chosen.models, chosen.max_pixels))
    app = FastAPI(
        title="HematoVision",
        version=__version__,
        description="Finds and classifies blood cells in microscope images. For research and "
        "teaching.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # FastAPI's redirects have no body, and repeat any host
        lifespan=_lifespan(engine),
    )
    problems = described(ProblemBody)
    app.include_router(classify_routes(engine, problems))
    app.include_router(analyze_routes(engine, problems))
    app.include_router(protocol_routes(engine, problems))
    _add_pages(app, engine)
    _add_problems(app, engine)
    return RequestGuard(app, engine)


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
        return HTMLResponse(_documentation(app.openapi()))

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("docs")


def _add_problems(app: FastAPI, engine: Engine) -> None:
    """Use one body for all errors; `RequestGuard` adds the request's id."""

    async def problem(request: Request, error: RequestError) -> JSONResponse:
        request.state.problem = error.kind
        headers = headers_of(error, engine.queue.seconds_left)
        return _response(request, status_of(error), error.message, headers)

    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        given = request.scope["path"]
        path = given.rstrip("/")
        if error.status_code == HTTPStatus.NOT_FOUND and path != given and _has(app, request, path):
            message = f"Use the path without a trailing slash: {path}"
            return _response(request, 307, message, {"Location": _location(request, path)})
        return _response(request, error.status_code, str(error.detail), dict(error.headers or {}))

    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        request.state.problem = "broken"
        return _response(request, 422, explained(error.errors()[0]), {})

    async def failed(request: Request, _: Exception) -> JSONResponse:
        return _response(request, 500, "Internal server error; see the server log.", {})

    handlers: dict[Any, Any] = {
        RequestError: problem,
        HTTPException: plain,
        RequestValidationError: wrong,
        Exception: failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _has(app: FastAPI, request: Request, path: str) -> bool:
    """Return whether a path has a route."""
    scope = {**request.scope, "path": path}
    return any(route.matches(scope)[0] is not Match.NONE for route in app.router.routes)


def _location(request: Request, path: str) -> str:
    """Return a path as a header's value, without a host."""
    query = quote(request.scope["query_string"], safe="/?:@!$&'()*+,;=%-._~")
    return quote("/" + path.lstrip("/")) + (f"?{query}" if query else "")


def _response(request: Request, status: int, message: str, headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(problem_body(message, request.state.request_id), status, headers)


def _documentation(schema: dict[str, Any]) -> str:
    """Return the routes of an OpenAPI document as plain HTML.

    FastAPI's own pages load scripts from the internet, which a hospital's computer may not reach.
    """
    title = f"{schema['info']['title']} {schema['info']['version']}"
    parts = [_HEAD.format(title=escape(title))]
    for path, methods in schema["paths"].items():
        parts += [_entry(path, method, about) for method, about in methods.items()]
    return "".join(parts) + "</html>\n"


def _entry(path: str, method: str, about: dict[str, Any]) -> str:
    statuses = "".join(
        f"<dt>{escape(status)}</dt><dd>{_text(response['description'])}</dd>"
        for status, response in about["responses"].items()
    )
    named = "".join(
        f"<li><code>{escape(one['name'])}</code> ({escape(one['in'])}) "
        f"{_text(one.get('description', ''))}</li>"
        for one in about.get("parameters", [])
    )
    kinds = ", ".join(about.get("requestBody", {}).get("content", {}))
    body = f"<p>Body: <code>{escape(kinds)}</code></p>" if kinds else ""
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{_text(about.get('description', ''))}</p><ul>{named}</ul>{body}<dl>{statuses}</dl>\n"
    )


def _text(text: str) -> str:
    """Return a description as HTML; text in backticks becomes code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
