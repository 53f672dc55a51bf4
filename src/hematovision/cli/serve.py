"""``serve``: the HTTP server."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from hematovision.cli.log import notice
from hematovision.extras import needs_extra, require
from hematovision.limits import MAX_BYTES, MAX_PIXELS, UPLOAD_PIXELS
from hematovision.listening import LOCAL, url_of
from hematovision.model.registry import find_model

__all__ = ["API_KEY", "AllowedHostOption", "ModelsOption", "serve"]

API_KEY = "HEMATOVISION_API_KEY"
"""Environment variable for the API key, which as an option would appear in the process list."""


AllowedHostOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Additional host name to accept, such as that of a proxy; repeatable.",
        show_default=False,
    ),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODEL",
        help="Bundled model or run folder; repeatable, the first is the default.",
        show_default=False,
    ),
]


def serve(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    address: Annotated[
        str,
        typer.Option(
            "--address",
            "--host",
            help="Address to listen on: 127.0.0.1 (this computer) or 0.0.0.0 (all networks).",
        ),
    ] = LOCAL,
    allowed_host: AllowedHostOption = None,
    model: ModelsOption = None,
    threads: Annotated[
        int, typer.Option(min=0, help="Images processed at once; 0: number of CPUs plus one.")
    ] = 0,
    queue: Annotated[int, typer.Option(min=1, help="Maximum number of queued images.")] = 64,
    deadline: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Request timeout.")
    ] = 10.0,
    max_bytes: Annotated[
        int, typer.Option(min=1, max=MAX_BYTES, help="Largest request body, in bytes.")
    ] = 2**25,
    max_pixels: Annotated[
        int,
        typer.Option(
            min=224**2, max=MAX_PIXELS, help="Largest image, in pixels (width times height)."
        ),
    ] = UPLOAD_PIXELS,
    header_timeout: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="Timeout for the header of a request."),
    ] = 10.0,
    max_connections: Annotated[
        int, typer.Option(min=1, help="Maximum number of open connections.")
    ] = 1000,
) -> None:
    """Serve predictions over HTTP.

    If HEMATOVISION_API_KEY is set, requests must send this key. On Ctrl-C or SIGTERM, the server
    completes pending requests and stops.
    """
    require("serve")
    with needs_extra("serve", "The HTTP server"):
        from hematovision.server.running import serve as run
        from hematovision.server.settings import Settings

    try:
        settings = Settings(
            models=tuple(model) if model else Settings.models,
            threads=threads,
            queue=queue,
            deadline=deadline,
            max_bytes=max_bytes,
            max_pixels=max_pixels,
            max_connections=max_connections,
            header_timeout=header_timeout,
            api_key=os.environ.get(API_KEY),
            address=address,
            allowed_hosts=tuple(allowed_host or ()),
        )
    except ValueError as error:
        raise typer.BadParameter(_with_option_names(str(error))) from error
    for name in settings.models:  # before an address is printed
        find_model(name)
    url = url_of(address, port)
    where = f"{url} (documentation: {url}/docs). Press Ctrl-C to stop."
    if not run(settings, port=port, announce=lambda: notice(where)):
        # A decoder hangs in native code; a normal interpreter exit could crash.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _with_option_names(message: str) -> str:
    """Replace the name of a `Settings` field in a message with its option or variable."""
    name = message.partition("`")[2].partition("`")[0]
    special = {"api_key": API_KEY, "allowed_hosts": "--allowed-host"}
    option = special.get(name, "--" + name.replace("_", "-"))
    return message.replace(f"`{name}`", option)
