"""Checks and limits for every request: id, host, key, size and deadline.

Headers are checked before the body is read, so a rejected request costs little.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hematovision.errors import RequestError
from hematovision.listening import Hosts
from hematovision.server.engine import Engine
from hematovision.server.models import LoadedModel
from hematovision.server.problems import headers_of, problem_body, status_of

__all__ = ["LINGER", "MODEL_HASH", "REQUEST_ID", "Body", "Key", "RequestGuard"]

REQUEST_ID = "X-Request-Id"
MODEL_HASH = "X-Model-Hash"
LINGER = 30.0
"""Maximum seconds spent reading the rest of a rejected body."""

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MODEL_PATH = re.compile(r"/v2/models/([^/]+)(/.*)?")
_CLIENT_CLOSED = 499  # As in nginx: the client closed the connection before the response.
_KEYLESS = ("/v2/health/live", "/v2/health/ready")
_SHORT_LINGER = 1.0  # replaces `LINGER` while this many other bodies are being read:
_MANY = 64

# If a server responds and closes while the client is sending, the client's system discards the
# response (RFC 9112, section 9.6), and most clients send the whole body before they read anything.
# So the rest of the body is read and discarded after the response, within these limits.
_SILENCE = 2.0  # seconds without a byte
_SHORT = 2**20  # the connection is reused if at most this many bytes remain


class RequestGuard:
    """ASGI middleware that checks and limits requests.

    `in_progress` is the number of requests with a body that are being read or processed.
    """

    def __init__(self, inner: ASGIApp, engine: Engine) -> None:
        self.inner = inner
        self.engine = engine
        self.in_progress = 0
        settings = engine.settings
        self._most = settings.queue + settings.workers
        self._hosts = settings.hosts
        self._key = None if settings.api_key is None else Key(settings.api_key)
        self._lingering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI request."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        body = Body(scope, receive, self.engine.settings.max_bytes)
        exchange = _Exchange(scope, body, send, self.engine)
        try:
            await self._handle(exchange, scope, body)
        except RequestError as problem:
            await exchange.reject(problem)
        finally:
            exchange.count()
            if exchange.unfinished:
                await self._linger(exchange, body)

    async def _linger(self, exchange: _Exchange, body: Body) -> None:
        """Read the rest of a body, so that the client receives the response."""
        seconds = LINGER if self._lingering < _MANY and not self.engine.closing else _SHORT_LINGER
        self._lingering += 1
        try:
            await body.linger(seconds)
        finally:
            self._lingering -= 1
        await exchange.finish()

    async def _handle(self, exchange: _Exchange, scope: Scope, body: Body) -> None:
        settings = self.engine.settings
        _check_host(self._hosts, scope)
        if self._key is not None and scope["path"] not in _KEYLESS:
            self._key.check(scope)
        if scope["method"] != "POST":
            await self.inner(scope, body.receive, exchange.send)
            return
        self.engine.check_open()
        self._check_capacity()
        body.check()
        self.in_progress += 1
        try:
            async with asyncio.timeout(settings.deadline), body.while_awaited():
                await self.inner(scope, body.receive, exchange.send)
        except TimeoutError as error:
            raise RequestError(
                "deadline",
                f"The request timed out after {settings.deadline:g} seconds, and its work was "
                "dropped. Try again later, send fewer or smaller images, or use the command line.",
            ) from error
        finally:
            self.in_progress -= 1

    def _check_capacity(self) -> None:
        if self.in_progress >= self._most:
            raise RequestError(
                "full", f"{self.in_progress} requests are in progress. Try again later."
            )


class _Exchange:
    """A request and its response."""

    def __init__(self, scope: Scope, body: Body, send: Send, engine: Engine) -> None:
        given = Headers(scope=scope).get(REQUEST_ID, "")
        self.request_id = given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(16)
        self.status = 0
        self.unfinished = False
        self._scope, self._body, self._send, self._engine = scope, body, send, engine
        self._began = time.monotonic()
        self._model = _requested_model(scope, engine)
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Send part of the response; add the headers for the request id and the model."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            if not self._body.respond():
                headers["Connection"] = "close"
            headers[REQUEST_ID] = self.request_id
            if self._model is not None:
                headers[MODEL_HASH] = self._model.hash
        elif not message.get("more_body", False) and not self._body.ended:
            # The content is sent now. The end, after which the server closes, is sent later.
            self.unfinished = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Send the end of the response."""
        await self._send({"type": "http.response.body", "body": b""})

    async def reject(self, problem: RequestError) -> None:
        """Respond with a problem, unless a response has started."""
        if self.status:
            return
        self._scope["state"]["problem"] = problem.kind
        body = json.dumps(problem_body(problem.message, self.request_id)).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers_of(problem, self._engine.queue.seconds_left),
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
        disconnected = self._body.disconnected
        status = self.status or (_CLIENT_CLOSED if disconnected else 500)
        metrics.request(route, status, time.monotonic() - self._began)
        kind = "deserted" if disconnected else self._scope["state"].get("problem")
        if kind is not None:
            metrics.refused(kind)


class Body:
    """The body of a request.

    Parameters
    ----------
    scope : dict
    receive : callable
        As in ASGI.
    most : int
        Maximum number of bytes.

    Attributes
    ----------
    disconnected : bool
        Whether the client disconnected before a response started.
    ended : bool
        Whether the body is complete.
    """

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        self._headers = Headers(scope=scope)
        self._receive, self._most = receive, most
        self._taken = 0
        self.disconnected = self._responded = False
        self._whole = asyncio.Event()
        # Without either of these there is no body (RFC 9112, section 6.3).
        self.ended = not {"content-length", "transfer-encoding"} & set(self._headers.keys())
        declared = self._headers.get("Content-Length", "")
        self._declared = int(declared) if declared.isdecimal() and len(declared) < 20 else None
        # The client waits for 100 Continue before it sends the body.
        self._waits = self._headers.get("Expect", "").lower() == "100-continue"

    def check(self) -> None:
        """Raise a `RequestError` if the header shows that the body will be rejected."""
        if self._headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError(
                "not an image", "Compressed bodies are not accepted. Send it uncompressed."
            )
        if self._declared is not None and self._declared > self._most:
            raise self._too_large()

    async def receive(self) -> Message:
        """Receive the next chunk.

        Raises `RequestError` if the body is too long. Raises `CancelledError`, which
        `while_awaited` handles, if the client disconnects before the end.
        """
        message = await self._next()
        if message["type"] == "http.disconnect":
            self._disconnect(asyncio.current_task())
            await asyncio.sleep(0)  # raises CancelledError
        if self.ended:
            self._whole.set()
        return message

    @asynccontextmanager
    async def while_awaited(self) -> AsyncIterator[None]:
        """Cancel the block if the client disconnects; the code after it runs normally."""
        task = asyncio.current_task()
        watching = asyncio.create_task(self._watch(task))
        try:
            yield
        except asyncio.CancelledError:
            # The deadline or the end of the process may also have cancelled it.
            if not self.disconnected or task is None or task.uncancel():
                raise
        finally:
            watching.cancel()

    def respond(self) -> bool:
        """Record that a response starts; return whether the connection can be reused."""
        self._responded = True
        if not self.ended and self._waits:
            self.ended = True
            return False
        left = math.inf if self._declared is None else self._declared - self._taken
        return self.ended or left <= _SHORT

    async def linger(self, seconds: float) -> None:
        """Read and discard the rest of the body after a response, for up to `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended:
                    async with asyncio.timeout(_SILENCE):
                        message = await self._receive()
                    self.ended = not message.get("more_body", False)

    async def _next(self) -> Message:
        self._waits = False
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self._taken > self._most:
            raise self._too_large()
        return message

    async def _watch(self, task: asyncio.Task[Any] | None) -> None:
        """Wait until the client disconnects, the only message after the body."""
        await self._whole.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._responded:
            self._disconnect(task)

    def _disconnect(self, task: asyncio.Task[Any] | None) -> None:
        self.disconnected = True
        if task is not None:
            task.cancel()

    def _too_large(self) -> RequestError:
        return RequestError(
            "too large",
            f"The body has more than {self._most:,} bytes, the limit of this server "
            "(option --max-bytes). Send fewer images at once, or compress large ones.",
        )


class Key:
    """The API key, which requests send as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

    Headers are bytes. Clients encode a key that is not ASCII as UTF-8 or, if possible, as Latin-1;
    both are accepted.
    """

    def __init__(self, key: str) -> None:
        self._written = [key.encode("utf-8", "surrogateescape")]
        if not key.isascii() and all(ord(one) < 256 for one in key):
            self._written.append(key.encode("latin-1"))

    def check(self, scope: Scope) -> None:
        """Raise a `RequestError` unless a request has the key."""
        for sent in _sent_keys(scope):
            for written in self._written:
                if hmac.compare_digest(sent, written):
                    return
        raise RequestError(
            "key", "This server requires an API key: Authorization: Bearer KEY, or X-API-Key: KEY."
        )


def _sent_keys(scope: Scope) -> list[bytes]:
    """Return the keys in a request; the scheme is not case-sensitive (RFC 9110, 11.1)."""
    keys = []
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            keys.append(value.strip())
        elif name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                keys.append(key.strip())
    return keys


def _check_host(hosts: Hosts, scope: Scope) -> None:
    headers = Headers(scope=scope)
    given = headers.getlist("Host")
    if not given and scope.get("http_version") == "1.0":  # HTTP/1.0 has no Host header
        return
    problem = hosts.problem(given, headers.getlist("Origin"))
    if problem is not None:
        raise RequestError("forbidden" if len(given) == 1 else "malformed", problem)


def _requested_model(scope: Scope, engine: Engine) -> LoadedModel | None:
    """Return the model that a request names, or the default."""
    match = _MODEL_PATH.fullmatch(scope["path"])
    if match:
        return engine.models.find(unquote(match[1]))
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    names = query.get("model", []) if scope["path"] in ("/v1/classify", "/v1/analyze") else []
    name = names[-1] if names else None
    if scope["path"] == "/v1/analyze":
        return engine.models.find_detector(name)
    return engine.models.find(name)
