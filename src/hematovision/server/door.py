"""What every request passes first, whatever it asks for.

Identity, host, key, room, size and deadline: all of it before the body is read, so that a request
that is not taken costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hematovision.errors import RequestError
from hematovision.listening import Hosts
from hematovision.server.body import Body
from hematovision.server.engine import Engine
from hematovision.server.keys import Key
from hematovision.server.problems import headers_of, problem_body, status_of
from hematovision.server.serving import Served

__all__ = ["LINGER", "MODEL_HASH", "REQUEST_ID", "Door"]

REQUEST_ID = "X-Request-Id"
MODEL_HASH = "X-Model-Hash"
LINGER = 30.0
"""Seconds for which the rest of a refused body is read."""

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MODEL_PATH = re.compile(r"/v2/models/([^/]+)(/.*)?")
_DESERTED = 499  # As nginx counts it: the caller closed the connection before there was an answer.
_KEYLESS = ("/v2/health/live", "/v2/health/ready")
_HURRY = 1.0  # `LINGER`, where so many requests are being read like this already:
_MANY = 64


class Door:
    """Wraps the paths of a service.

    Parameters
    ----------
    inner : ASGI application
    engine : Engine

    Attributes
    ----------
    in_hand : int
        Requests with a body that are being read or worked on.
    """

    def __init__(self, inner: ASGIApp, engine: Engine) -> None:
        self.inner = inner
        self.engine = engine
        self.in_hand = 0
        settings = engine.settings
        self._most = settings.queue + settings.workers
        self._hosts = settings.hosts
        self._key = None if settings.api_key is None else Key(settings.api_key)
        self._lingering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        body = Body(scope, receive, self.engine.settings.max_bytes)
        visit = _Visit(scope, body, send, self.engine)
        try:
            await self._let_in(visit, scope, body)
        except RequestError as problem:
            await visit.refuse(problem)
        finally:
            visit.count()
            if visit.unfinished:
                await self._linger(visit, body)

    async def _linger(self, visit: _Visit, body: Body) -> None:
        """Read what a caller still sends, though it has its answer, so that it will see that."""
        seconds = LINGER if self._lingering < _MANY and not self.engine.closing else _HURRY
        self._lingering += 1
        try:
            await body.linger(seconds)
        finally:
            self._lingering -= 1
        await visit.finish()

    async def _let_in(self, visit: _Visit, scope: Scope, body: Body) -> None:
        settings = self.engine.settings
        _check_host(self._hosts, scope)
        if self._key is not None and scope["path"] not in _KEYLESS:
            self._key.check(scope)
        if scope["method"] != "POST":
            await self.inner(scope, body.receive, visit.send)
            return
        self.engine.check_open()
        self._check_room()
        body.check()
        self.in_hand += 1
        try:
            async with asyncio.timeout(settings.deadline), body.while_awaited():
                await self.inner(scope, body.receive, visit.send)
        except TimeoutError as error:
            raise RequestError(
                "deadline",
                f"The request timed out after {settings.deadline:g} seconds, and the work was "
                "dropped. Try again later, or send fewer images.",
            ) from error
        finally:
            self.in_hand -= 1

    def _check_room(self) -> None:
        if self.in_hand >= self._most:
            raise RequestError("full", f"{self.in_hand} requests are in progress. Try again later.")


class _Visit:
    """One request: its identity, and what was answered."""

    def __init__(self, scope: Scope, body: Body, send: Send, engine: Engine) -> None:
        given = Headers(scope=scope).get(REQUEST_ID, "")
        self.request_id = given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(16)
        self.status = 0
        self.unfinished = False
        self._scope, self._body, self._send, self._engine = scope, body, send, engine
        self._began = time.monotonic()
        self._model = _asked(scope, engine)
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Send a part of the answer; at its beginning, who asked and which model was meant."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            if not self._body.answer():
                headers["Connection"] = "close"
            headers[REQUEST_ID] = self.request_id
            if self._model is not None:
                headers[MODEL_HASH] = self._model.hash
        elif not message.get("more_body", False) and not self._body.ended:
            # All of it is sent now. Its end, by which the server closes, is kept back.
            self.unfinished = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Send the end of the answer."""
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, problem: RequestError) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.status:
            return
        self._scope["state"]["problem"] = problem.kind
        body = json.dumps(problem_body(problem.message, self.request_id)).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers_of(problem),
        }
        raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
        await self.send(
            {"type": "http.response.start", "status": status_of(problem), "headers": raw}
        )
        await self.send({"type": "http.response.body", "body": body})

    def count(self) -> None:
        """Count the request."""
        route = getattr(self._scope.get("route"), "path", "other")
        metrics = self._engine.metrics
        deserted = self._body.deserted
        status = self.status or (_DESERTED if deserted else 500)
        metrics.request(route, status, time.monotonic() - self._began)
        kind = "deserted" if deserted else self._scope["state"].get("problem")
        if kind is not None:
            metrics.refused(kind)


def _check_host(hosts: Hosts, scope: Scope) -> None:
    headers = Headers(scope=scope)
    given = headers.getlist("Host")
    if not given and scope.get("http_version") == "1.0":  # It knew no such header.
        return
    problem = hosts.problem(given, headers.getlist("Origin"))
    if problem is not None:
        raise RequestError("forbidden" if len(given) == 1 else "malformed", problem)


def _asked(scope: Scope, engine: Engine) -> Served | None:
    """Return the model a request is about: the first one where it names none."""
    match = _MODEL_PATH.fullmatch(scope["path"])
    if match:
        return engine.models.find(unquote(match[1]))
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    names = query.get("model", []) if scope["path"] == "/v1/classify" else []
    return engine.models.find(names[-1] if names else None)
