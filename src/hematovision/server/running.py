"""Runs the server, and stops it without dropping accepted requests."""

from __future__ import annotations

import logging
import math
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from hematovision.errors import ModelError
from hematovision.listening import listen
from hematovision.server.application import create_app
from hematovision.server.connections import Connections, affordable, limited
from hematovision.server.requests import LINGER, RequestGuard
from hematovision.server.settings import Settings

__all__ = ["Throttle", "serve", "throttled"]

_GRACE = 1.5  # seconds after the deadline, by which every request has a response
_AT_ONCE = 16  # connections that asyncio accepts before they are counted
_BACKLOG = 2048  # connections waiting to be accepted

_LOGGERS = ("asyncio", "uvicorn.error")
"""Loggers that write a line or a traceback for each failure caused by a client."""

_KINDS = 1000
"""Maximum number of distinct messages; beyond it, all counts start again."""


class _Server(uvicorn.Server):
    """A uvicorn server that rejects new requests as soon as it is stopped."""

    def __init__(
        self, config: uvicorn.Config, guard: RequestGuard, connections: Connections
    ) -> None:
        super().__init__(config)
        self._guard, self._connections = guard, connections

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Reject new requests; uvicorn waits for the accepted ones."""
        self._guard.engine.closing = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections, a few at a time, with a long backlog."""
        await super().startup(sockets)
        for one in sockets or []:
            one.listen(_BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop, also if the warm-up failed; called ten times a second."""
        if counter % 10 == 0:
            self._connections.sweep()
        return await super().on_tick(counter) or bool(self._guard.engine.failure)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals; unlike uvicorn, do not raise them again at the end."""
        wanted = (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.signal(one, self.handle_exit) for one in wanted}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def serve(
    settings: Settings, *, port: int = 8000, announce: Callable[[], object] = lambda: None
) -> bool:
    """Serve until SIGTERM or Ctrl-C.

    Requests accepted by then are processed within the deadline; new ones get status 503.

    `announce` is called once the port is bound, before the models are opened. Returns whether all
    threads have ended. If not, a thread is stuck in a decoder: end the process without waiting for
    it. Raises `ListeningError` if the port is in use, or the address is not this computer's. Raises
    `ModelNotFoundError` or `BundleError` if a model cannot be opened. Raises `ModelError` if a
    model fails its self-test.
    """
    with listen(settings.address, port) as opened:
        announce()
        guard = create_app(settings)
        connections = Connections(
            affordable(settings.max_connections),
            settings.header_timeout,
            settings.deadline + LINGER,
            guard.engine.metrics.refused,
        )
        config = _config(guard, connections, settings)
        with throttled():
            _Server(config, guard, connections).run([opened])
    if guard.engine.failure:
        raise ModelError(guard.engine.failure)
    return not guard.engine.queue.busy


def _config(guard: RequestGuard, connections: Connections, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        guard,
        http=limited(AutoHTTPProtocol, connections),
        ws="none",  # not used, and not covered by the limits
        loop="asyncio",  # `_AT_ONCE` relies on how it accepts connections
        backlog=_AT_ONCE,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # client addresses are not used
        timeout_graceful_shutdown=math.ceil(settings.deadline + _GRACE),
    )


@dataclass(slots=True)
class _Count:
    since: float
    written: int = 0
    left_out: int = 0


class Throttle(logging.Filter):
    """Limits how often a message is logged, so that clients cannot fill the log.

    The first message after the period includes the number of messages left out.

    At most `most` messages are written in a period of `seconds`.
    """

    def __init__(self, most: int = 5, seconds: float = 60.0) -> None:
        super().__init__()
        self._most, self._seconds = most, seconds
        self._counts: dict[tuple[object, ...], _Count] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        kind = record.exc_info[0] if record.exc_info else None
        # Only the first line: the others name sockets and addresses.
        key = (record.name, record.levelno, str(record.msg).partition("\n")[0], kind)
        if len(self._counts) > _KINDS:
            self._counts.clear()
        count = self._counts.setdefault(key, _Count(record.created))
        if record.created - count.since >= self._seconds:
            if count.left_out:
                record.msg = f"{record.getMessage()} ({count.left_out:,} more like this left out)"
                record.args = None
            count.since, count.written, count.left_out = record.created, 0, 0
        count.written += 1
        count.left_out += count.written > self._most
        return count.written <= self._most


@contextmanager
def throttled() -> Iterator[None]:
    """Throttle the logs of the server's libraries while the block runs."""
    throttle = Throttle()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(throttle)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(throttle)
