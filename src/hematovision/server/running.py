"""Serving until told to stop, and stopping without dropping what was taken."""

from __future__ import annotations

import math
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from hematovision.errors import ModelError
from hematovision.listening import listen
from hematovision.server.application import create_app
from hematovision.server.door import LINGER, Door
from hematovision.server.gate import Gate, affordable, guarded
from hematovision.server.logs import throttled
from hematovision.server.settings import Settings

__all__ = ["serve"]

_GRACE = 1.5  # Seconds beyond the deadline, by which every request has an answer.
_AT_ONCE = 16  # Connections that asyncio accepts before any of them passes the gate.
_BACKLOG = 2048  # Connections that the system holds until they are accepted.


class _Server(uvicorn.Server):
    """A server that says to its service at once when it is told to stop, and then ends well."""

    def __init__(self, config: uvicorn.Config, door: Door, gate: Gate) -> None:
        super().__init__(config)
        self._door, self._gate = door, gate

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more; uvicorn waits for what was taken."""
        self._door.engine.closing = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, few at once, while many may wait for it."""
        await super().startup(sockets)
        for one in sockets or []:
            one.listen(_BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Tell, ten times a second, whether to end: also where the service will never be ready."""
        if counter % 10 == 0:
            self._gate.sweep()
        return await super().on_tick(counter) or bool(self._door.engine.failure)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals; unlike uvicorn's own, do not die of them after all is done."""
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
    """Answer until SIGTERM or Ctrl-C.

    Requests that were taken by then are answered, within the deadline; new ones get 503.

    Parameters
    ----------
    settings : Settings
    port : int
    announce : callable
        Called once the port is ours, before the models are opened.

    Returns
    -------
    bool
        Whether all threads have ended. If not, one is stuck in a decoder, and the process should
        end without waiting for it.

    Raises
    ------
    ListeningError
        If the port is taken, or the address is not one of this computer.
    ModelNotFoundError, BundleError
        If a model cannot be opened.
    ModelError
        If a model fails its self-test.
    """
    with listen(settings.address, port) as opened:
        announce()
        door = create_app(settings)
        gate = Gate(
            affordable(settings.max_connections),
            settings.header_timeout,
            settings.deadline + LINGER,
            door.engine.metrics.refused,
        )
        config = _config(door, gate, settings)
        with throttled():
            _Server(config, door, gate).run([opened])
    if door.engine.failure:
        raise ModelError(door.engine.failure)
    return not door.engine.workers.busy


def _config(door: Door, gate: Gate, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        door,
        http=guarded(AutoHTTPProtocol, gate),
        ws="none",  # There are none here, and such a connection would leave the gate.
        loop="asyncio",  # Its way to accept connections is the one that `_AT_ONCE` is about.
        backlog=_AT_ONCE,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # Nobody asks here where a request came from.
        timeout_graceful_shutdown=math.ceil(settings.deadline + _GRACE),
    )
