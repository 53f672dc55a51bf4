"""Limits on open connections and on the time for a request header.

uvicorn waits for the end of a header without a limit, and accepts any number of connections. A
thousand connections with half a header would use up the process's open files, and even health
checks would fail. Here a header must arrive within a time limit. If too many connections are open,
the oldest without a complete header is closed.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from importlib import import_module
from typing import Any

from hematovision.server.problems import problem_body

__all__ = ["Connections", "affordable", "limited"]

_LONGEST_HEADER = 2**16
"""Maximum size of an incomplete header in bytes; httptools has no limit."""

_RESERVE = 100
"""Open files kept for models, the event loop, libraries and connections being accepted."""


def affordable(connections: int) -> int:
    """Return `connections`, reduced to what the limit on open files allows, at least one.

    The soft limit (256 on macOS) is raised as far as needed and allowed. If connections use up all
    files, no further connection is accepted, not even to reject it.
    """
    try:
        resource = import_module("resource")  # not on Windows, which has no such limit
    except ModuleNotFoundError:
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = math.inf if hard == resource.RLIM_INFINITY else hard
    wanted = min(connections + _RESERVE, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(wanted), hard))
        soft = int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, int(soft) - _RESERVE))


class Connections:
    """The open connections of a server; used on the event loop only.

    Parameters
    ----------
    most : int
        Maximum number of open connections.
    header_timeout : float
        Seconds from the start of a connection, or from its last response, to a complete header.
    longest : float
        Maximum seconds from a complete header to the end of the response.
    on_refused : callable
        Called with the reason why a connection was rejected or closed.
    """

    def __init__(
        self,
        most: int,
        header_timeout: float,
        longest: float,
        on_refused: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._most, self._header_timeout, self._longest = most, header_timeout, longest
        self._on_refused = on_refused
        # Start times, oldest first, without a complete header or with a request in progress.
        self._waiting: dict[Any, float] = {}
        self._busy: dict[Any, float] = {}

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._waiting) + len(self._busy)

    def enter(self, connection: Any) -> None:
        """Add a new connection; if it exceeds the limit, close another or reject it."""
        self._waiting[connection] = time.monotonic()
        if self.connections > self._most:
            oldest = next(iter(self._waiting))
            self._on_refused("connections")
            if oldest is connection:  # all others have a request in progress
                self.refuse(connection, 503, "Too many connections are open. Try again later.")
            else:
                self._abort(oldest)

    def leave(self, connection: Any) -> None:
        """Remove a closed connection."""
        self._waiting.pop(connection, None)
        self._busy.pop(connection, None)

    def received(self, connection: Any, size: int) -> None:
        """Record that `size` bytes were received and parsed."""
        if connection.refused or connection not in self._waiting:
            return
        if _in_progress(connection):
            del self._waiting[connection]
            self._busy[connection] = time.monotonic()
            connection.unparsed = 0
            return
        connection.unparsed += size
        if connection.unparsed > _LONGEST_HEADER and not connection.transport.is_closing():
            self._on_refused("header size")
            self.refuse(connection, 431, f"A header may have at most {_LONGEST_HEADER:,} bytes.")

    def responded(self, connection: Any) -> None:
        """Record that a response is complete; the next request may be in progress."""
        if connection in self._busy:
            del self._busy[connection]
            home = self._busy if _in_progress(connection) else self._waiting
            home[connection] = time.monotonic()

    def malformed(self, connection: Any) -> None:
        """Reject a request that the parser cannot read."""
        self._on_refused("no http")
        self.refuse(connection, 400, "This is not a well-formed HTTP/1.1 request.")

    def sweep(self) -> None:
        """Close connections that have timed out; call this about once a second."""
        now = time.monotonic()
        for connection, since in list(self._waiting.items()):
            if now - since < self._header_timeout:
                break
            self._give_up(connection)
        for connection, since in list(self._busy.items()):
            if now - since < self._longest:
                break
            self._on_refused("unread response")
            self._abort(connection)

    def refuse(self, connection: Any, status: int, message: str) -> None:
        """Respond in place of the application, and close the connection."""
        connection.refused = True
        cycle = connection.cycle
        in_progress = _in_progress(connection)
        if not (in_progress and cycle.response_started):
            connection.transport.write(_response(status, message))
        if in_progress or not connection.transport.can_write_eof():
            connection.transport.close()
        else:
            # The client may keep sending until it closes or times out: closing at once would
            # make its system discard the response (RFC 9112, section 9.6).
            connection.transport.write_eof()

    def _give_up(self, connection: Any) -> None:
        if connection.refused or connection.transport.is_closing():
            self._abort(connection)  # the client does not read
        elif connection.unparsed:
            self._on_refused("header timeout")
            seconds = f"{self._header_timeout:g}"
            self.refuse(connection, 408, f"The header was not complete within {seconds} seconds.")
            del self._waiting[connection]
            self._waiting[connection] = time.monotonic()
        else:
            self._abort(connection)

    def _abort(self, connection: Any) -> None:
        self.leave(connection)
        connection.transport.abort()


def limited(base: Any, connections: Connections) -> type[asyncio.Protocol]:
    """Return a subclass of a uvicorn protocol with limited connections.

    `base` is uvicorn's protocol for h11 or httptools.
    """

    class Limited(base):  # type: ignore[misc]
        """A connection."""

        unparsed = 0
        refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            connections.enter(self)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.leave(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self.refused:
                super().data_received(data)
                connections.received(self, len(data))

        def on_response_complete(self) -> None:
            super().on_response_complete()
            connections.responded(self)

        def send_400_response(self, _: str) -> None:
            connections.malformed(self)

    return Limited


def _in_progress(connection: Any) -> bool:
    """Return whether a header is complete and the response is not."""
    cycle = connection.cycle
    return cycle is not None and not cycle.response_complete


def _response(status: int, message: str) -> bytes:
    request_id = secrets.token_hex(16)
    body = json.dumps(problem_body(message, request_id)).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
        "Connection: close",
        *(["Retry-After: 1"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
