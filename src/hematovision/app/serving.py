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

from hematovision.app.launch import Settings
from hematovision.listening import Hosts, listen

__all__ = ["AllowedHosts", "serve"]

_MAIN = Path(__file__).with_name("main.py")
_PING = 30  # seconds, as in Streamlit's own server
_GRACE = 3  # seconds for open connections to end


class AllowedHosts:
    """Middleware that accepts requests to allowed hosts from their own pages only.

    Streamlit checks ``Host`` only for its websocket. To check a foreign ``Origin``, it requests
    this computer's address from a server on the internet. See `listening.Hosts`.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or respond with 403."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            hosts, origins = headers.getlist("Host"), headers.getlist("Origin")
            if (problem := self._hosts.problem(hosts, origins)) is not None:
                await PlainTextResponse(f"{problem}\n", 403)(scope, receive, send)
                return
        if scope["type"] == "websocket":
            # Checked above; Streamlit would look up a proxy's name on the internet.
            scope = {**scope, "headers": list(scope["headers"])}
            del MutableHeaders(scope=scope)["origin"]
        await self._app(scope, receive, send)


def serve(settings: Settings, *, ready: Callable[[], None]) -> None:
    """Serve the web app until SIGTERM or Ctrl-C.

    `ready` is called when the server accepts requests. Raises `ListeningError` if the port is in
    use. Raises `KeyboardInterrupt` after Ctrl-C.
    """
    with listen(settings.address, settings.port) as listening:
        bootstrap.load_config_options(settings.streamlit())

        def started() -> None:
            ready()
            if settings.browser:
                _open_browser(settings.url)

        app = st.App(
            _MAIN,
            middleware=[Middleware(AllowedHosts, hosts=settings.hosts)],
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
    """Open a browser on a graphical desktop; a text browser would hide the messages."""
    has_window = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_window:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
