"""``app``: the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]


def app(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")] = 8501,
    address: Annotated[
        str, typer.Option(help="By default only this computer reaches it; 0.0.0.0 is everybody.")
    ] = "127.0.0.1",
    home: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where records and models are kept."),
    ] = None,
    max_upload: Annotated[
        int, typer.Option(min=1, metavar="MB", help="The largest file that is taken.")
    ] = 200,
    max_images: Annotated[
        int, typer.Option(min=1, metavar="N", help="So many images are taken at once.")
    ] = 2000,
    base_path: Annotated[
        str, typer.Option(metavar="PATH", help="The path under which a reverse proxy shows it.")
    ] = "",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open the page: classify, review, learn again.

    Records are kept in a SQLite file in the user's data folder, or in the database that
    HEMATOVISION_DATABASE_URL names. Ctrl-C stops it.
    """
    from hematovision.app.launch import MAX_IMAGES, command, launch

    environment = {MAX_IMAGES: str(max_images)}
    if home is not None:
        environment["HEMATOVISION_HOME"] = str(home.resolve())
    arguments = command(
        port=port,
        address=address,
        max_upload_mb=max_upload,
        browser=browser,
        base_path=base_path,
    )
    raise typer.Exit(launch(arguments, environment))
