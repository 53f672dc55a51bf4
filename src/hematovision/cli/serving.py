"""``serve``: answers over HTTP."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from hematovision.cli.terminal import say
from hematovision.errors import needs_extra
from hematovision.extras import require

__all__ = ["API_KEY", "serve"]

API_KEY = "HEMATOVISION_API_KEY"
"""The environment variable with the key that callers have to show: no flag, which others see."""


def serve(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")] = 8000,
    address: Annotated[
        str, typer.Option(help="By default only this computer reaches it; 0.0.0.0 is everybody.")
    ] = "127.0.0.1",
    model: Annotated[
        list[str] | None,
        typer.Option(help="A bundled model or a run folder; again for more.", show_default=False),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=0, help="Images worked on at once; 0: processors and one.")
    ] = 0,
    queue: Annotated[int, typer.Option(min=1, help="Images that may wait.")] = 64,
    deadline: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Until when there is an answer.")
    ] = 10.0,
    max_bytes: Annotated[
        int, typer.Option(min=1, max=2**28, help="The longest body of a request.")
    ] = 2**25,
) -> None:
    """Answer over HTTP: for programs and other computers.

    If HEMATOVISION_API_KEY is set, callers have to show it. Ctrl-C or SIGTERM ends it after what
    was taken is answered.
    """
    require("serve")
    with needs_extra("serve", "The service"):
        from hematovision.server.running import serve as run
        from hematovision.server.settings import Settings

    chosen = {"models": tuple(model)} if model else {}
    settings = Settings(
        threads=threads,
        queue=queue,
        deadline=deadline,
        max_bytes=max_bytes,
        api_key=os.environ.get(API_KEY),
        **chosen,
    )
    say(f"http://{address}:{port} (its paths: /docs). Ctrl-C ends it.", err=True)
    run(settings, address=address, port=port)
