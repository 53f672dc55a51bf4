"""How the page is served, and what it learns from whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass

from hematovision.app.theme import THEME
from hematovision.listening import LOCAL, Hosts, url_of

__all__ = ["MAX_IMAGES", "MAX_PIXELS", "MODELS", "Settings"]

MAX_IMAGES = "HEMATOVISION_MAX_IMAGES"
"""The environment variable by which the page learns how many images one upload may bring."""

MAX_PIXELS = "HEMATOVISION_MAX_PIXELS"
"""The environment variable by which the page learns how many pixels one image may have."""

MODELS = "HEMATOVISION_APP_MODELS"
"""The environment variable with the models that were given, joined as in ``PATH``."""


@dataclass(frozen=True)
class Settings:
    """How the page is served.

    Parameters
    ----------
    port : int
    address : str
        Where it listens; by default on this computer only.
    max_upload_mb : int
        The largest file that is taken, in megabytes.
    browser : bool
        Whether to open a browser.
    base_path : str
        The path under which a reverse proxy shows it.
    allowed_hosts : tuple of str
        Names under which it is reached besides those of this computer, such as a proxy's.

    Raises
    ------
    ListeningError
        If an allowed host is not a plain name.
    """

    port: int = 8501
    address: str = LOCAL
    max_upload_mb: int = 200
    browser: bool = True
    base_path: str = ""
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.hosts

    @property
    def hosts(self) -> Hosts:
        """The hosts by which the page is reached."""
        return Hosts(self.address, self.allowed_hosts)

    @property
    def url(self) -> str:
        """The address for a browser on this computer."""
        return f"{url_of(self.address, self.port)}/{self.base_path.strip('/')}".rstrip("/")

    def _streamlit_hosts(self) -> list[str]:
        """Return the host names as Streamlit has them, which does not tell addresses from names."""
        return ["*"] if self.hosts.anywhere else sorted(self.hosts.names)

    def streamlit(self) -> dict[str, object]:
        """Return Streamlit's options, by their names."""
        options: dict[str, object] = {
            "server.port": self.port,
            "server.address": self.address,
            "server.allowedHosts": self._streamlit_hosts(),
            "server.maxUploadSize": self.max_upload_mb,
            "server.baseUrlPath": self.base_path.strip("/"),
            # Nothing is reported to anybody, asked of other computers, or advertised; and no stack
            # traces, which show paths, on the page.
            "server.headless": True,
            "server.showEmailPrompt": False,
            "logger.hideWelcomeMessage": True,
            "browser.gatherUsageStats": False,
            "client.showErrorDetails": "none",
            "client.showErrorLinks": False,
            "client.toolbarMode": "minimal",
            "client.showSidebarNavigation": False,
            # The program's files do not change while it runs: watching costs time and handles.
            "server.fileWatcherType": "none",
            **THEME,
        }
        return {name: value for name, value in options.items() if value != ""}
