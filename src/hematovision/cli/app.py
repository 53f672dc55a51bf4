"""``app``: the web app."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hematovision.cli.log import notice
from hematovision.cli.serve import AllowedHostOption, ModelsOption
from hematovision.limits import UPLOAD_PIXELS
from hematovision.listening import LOCAL

__all__ = ["app"]


def app(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    address: Annotated[
        str, typer.Option(help="Address to listen on: 127.0.0.1 (this computer) or 0.0.0.0 (any).")
    ] = LOCAL,
    allowed_host: AllowedHostOption = None,
    model: ModelsOption = None,
    home: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for records and models.", file_okay=False),
    ] = None,
    max_upload: Annotated[
        int, typer.Option(min=1, metavar="MB", help="Largest file to upload, in megabytes.")
    ] = 200,
    max_images: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of images per upload.")
    ] = 2000,
    max_pixels: Annotated[
        int, typer.Option(min=1, metavar="N", help="Largest image, in pixels (width times height).")
    ] = UPLOAD_PIXELS,
    base_path: Annotated[
        str, typer.Option(metavar="PATH", help="URL path prefix behind a reverse proxy.")
    ] = "",
    browser: Annotated[bool, typer.Option(help="Open the app in a browser.")] = True,
) -> None:
    """Open the web app: classify, review, train.

    Records are stored in a SQLite file in your data folder, or in the database given by
    HEMATOVISION_DATABASE_URL. Ctrl-C stops the app.
    """
    from hematovision.app.launch import MAX_IMAGES, MAX_PIXELS, MODELS, Settings, launch

    environment = {MAX_IMAGES: str(max_images), MAX_PIXELS: str(max_pixels)}
    if model:
        environment[MODELS] = os.pathsep.join(model)
    if home is not None:
        environment["HEMATOVISION_HOME"] = str(home.resolve())
    settings = Settings(
        port=port,
        address=address,
        max_upload_mb=max_upload,
        browser=browser,
        base_path=base_path,
        allowed_hosts=tuple(allowed_host or ()),
    )

    def ready() -> None:
        notice(f"HematoVision: {settings.url} (Ctrl-C stops it)")

    raise typer.Exit(launch(settings, environment, ready=ready))
