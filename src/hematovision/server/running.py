"""Serving until told to stop, and stopping without dropping what was taken."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from hematovision.errors import ModelError
from hematovision.server.application import create_app
from hematovision.server.door import Door
from hematovision.server.settings import LOCAL, Settings

__all__ = ["serve"]

_GRACE = 2  # Seconds beyond the deadline, by which every request has an answer.


class _Server(uvicorn.Server):
    """A server that says to its service at once when it is told to stop, and then ends well."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self._door = door

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no more; uvicorn waits for what was taken."""
        self._door.engine.closing = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Tell, ten times a second, whether to end: also where the service will never be ready."""
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


def serve(settings: Settings, *, address: str = LOCAL, port: int = 8000) -> None:
    """Answer until SIGTERM or Ctrl-C.

    Requests that were taken by then are answered, within the deadline; new ones get 503.

    Parameters
    ----------
    settings : Settings
    address : str
    port : int

    Raises
    ------
    ModelNotFoundError, BundleError
        If a model cannot be opened.
    ModelError
        If a model does not give its golden answer.
    OSError
        If the port is taken.
    """
    door = create_app(settings)
    config = uvicorn.Config(
        door,
        host=address,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # Nobody asks here where a request came from.
        timeout_graceful_shutdown=int(settings.deadline) + _GRACE,
    )
    with config.bind_socket() as listening:
        _Server(config, door).run([listening])
    if door.engine.failure:
        raise ModelError(door.engine.failure)
