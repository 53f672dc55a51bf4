"""The web app's server: Streamlit in this process, for allowed host names only."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.web import bootstrap

from hematovision.app.settings import Settings
from hematovision.listening import Hosts, listen

__all__ = ["KnownHosts", "serve"]

_MAIN = Path(__file__).with_name("main.py")
_PING = 30  # Seconds; as Streamlit's own server has it.
_GRACE = 3  # Seconds that open connections have to end.


class KnownHosts:
    """Lets requests to known hosts in, from pages of the same; see `listening.Hosts`.

    Streamlit checks ``Host`` for its websocket only, and looks a foreign ``Origin`` up outside
    (it asks a server on the internet for this computer's address).

    Parameters
    ----------
    app : ASGI application
    hosts : Hosts
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            hosts, origins = headers.getlist("Host"), headers.getlist("Origin")
            if (problem := self._hosts.problem(hosts, origins)) is not None:
                await PlainTextResponse(f"{problem}\n", 403)(scope, receive, send)
                return
        if scope["type"] == "websocket":
            # Checked here: Streamlit would look a proxy's name up outside.
            scope = {**scope, "headers": list(scope["headers"])}
            del MutableHeaders(scope=scope)["origin"]
        await self._app(scope, receive, send)


def serve(settings: Settings, *, ready: Callable[[], None]) -> None:
    """Serve the page until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings : Settings
    ready : callable
        Called when it can be reached.

    Raises
    ------
    ListeningError
        If the port is taken.
    KeyboardInterrupt
        After Ctrl-C.
    """
    with listen(settings.address, settings.port) as listening:
        bootstrap.load_config_options(settings.streamlit())

        def started() -> None:
            ready()
            if settings.browser:
                _open_browser(settings.url)

        app = st.App(
            _MAIN,
            middleware=[Middleware(KnownHosts, hosts=settings.hosts)],
            lifespan=_once(started),
        )
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            ws="websockets-sansio",
            ws_ping_interval=_PING,
            ws_ping_timeout=_PING,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=_GRACE,
        )
        uvicorn.Server(config).run([listening])


def _once(started: Callable[[], None]) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        started()
        yield

    return lifespan


def _open_browser(url: str) -> None:
    """Open the page in a browser with a window; one in the terminal would hide the messages."""
    has_window = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_window:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
