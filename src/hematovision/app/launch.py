"""The web app's settings and start, with a check of its libraries and models."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from hematovision.app.theme import THEME
from hematovision.extras import require
from hematovision.listening import LOCAL, Hosts, url_of
from hematovision.model.registry import find_model

__all__ = ["MAX_IMAGES", "MAX_PIXELS", "MODELS", "Settings", "launch"]

MAX_IMAGES = "HEMATOVISION_MAX_IMAGES"
"""Environment variable: maximum images per upload."""

MAX_PIXELS = "HEMATOVISION_MAX_PIXELS"
"""Environment variable: maximum pixels per image."""

MODELS = "HEMATOVISION_APP_MODELS"
"""Environment variable: models from ``--model``, joined as in ``PATH``."""


@dataclass(frozen=True)
class Settings:
    """Settings of the web app's server.

    Raises `ListeningError` if an allowed host is not a plain name.
    """

    port: int = 8501
    address: str = LOCAL  # the address to listen on; by default this computer only
    max_upload_mb: int = 200  # largest file to upload, in megabytes
    browser: bool = True  # whether to open a browser
    base_path: str = ""  # URL path behind a reverse proxy
    # additional host names that requests may use, such as a proxy's
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.hosts

    @property
    def hosts(self) -> Hosts:
        """The hosts that requests may use."""
        return Hosts(self.address, self.allowed_hosts)

    @property
    def url(self) -> str:
        """The URL for a browser on this computer."""
        return f"{url_of(self.address, self.port)}/{self.base_path.strip('/')}".rstrip("/")

    def streamlit(self) -> dict[str, object]:
        """Return Streamlit's options by name."""
        # Streamlit does not distinguish addresses from names; `AllowedHosts` does.
        hosts = ["*"] if self.hosts.anywhere else sorted(self.hosts.names)
        options: dict[str, object] = {
            "server.port": self.port,
            "server.address": self.address,
            "server.allowedHosts": hosts,
            "server.maxUploadSize": self.max_upload_mb,
            "server.baseUrlPath": self.base_path.strip("/"),
            # No telemetry, no requests to other computers, no advertisements, and no stack traces
            # (they show paths) in the browser.
            "server.headless": True,
            "server.showEmailPrompt": False,
            "logger.hideWelcomeMessage": True,
            "browser.gatherUsageStats": False,
            "client.showErrorDetails": "none",
            "client.showErrorLinks": False,
            "client.toolbarMode": "minimal",
            "client.showSidebarNavigation": False,
            # The package does not change at run time; watching it costs time and file handles.
            "server.fileWatcherType": "none",
            **THEME,
        }
        return {name: value for name, value in options.items() if value != ""}


def launch(
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    *,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve the web app in this process until it is stopped.

    `environment` is added to this process's environment; `ready` is called when the server accepts
    requests. Returns the exit code, 0 after Ctrl-C. Raises `MissingExtraError` if a library of the
    extra ``app`` is not installed. Raises `ListeningError` if the port is in use. Raises
    `ModelNotFoundError` if there is no such model, and `BundleError` if it is not a classifier.
    """
    require("app")
    os.environ.update(environment or {})
    _use_given_model()
    from hematovision.app.serving import serve

    with suppress(KeyboardInterrupt):
        serve(settings, ready=ready)
    return 0


def _use_given_model() -> None:
    """Use the first model from ``--model``, until somebody chooses another."""
    if not os.environ.get(MODELS):
        return
    from hematovision.app.state import library
    from hematovision.model.bundle import check_task, read_bundle
    from hematovision.review.store import ReviewStore

    given = [find_model(name) for name in os.environ[MODELS].split(os.pathsep)]
    for folder in given:
        check_task(read_bundle(folder), "classification")
    models, first = library(), given[0]
    with ReviewStore.open() as store:
        models.use(models.find(first.name), store, "--model")
