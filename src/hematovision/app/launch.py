"""Starting the page: Streamlit in a process of its own, with what the page promises set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hematovision.app.theme import THEME
from hematovision.extras import require

__all__ = ["LOCAL", "MAX_IMAGES", "command", "launch"]

LOCAL = "127.0.0.1"
"""The address at which only this computer reaches the page."""

MAX_IMAGES = "HEMATOVISION_MAX_IMAGES"
"""The environment variable by which the page learns how many images one upload may bring."""

_MAIN = Path(__file__).with_name("main.py")


def command(
    *,
    port: int = 8501,
    address: str = LOCAL,
    max_upload_mb: int = 200,
    browser: bool = True,
    base_path: str = "",
) -> list[str]:
    """Return the command that serves the page.

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
    """
    options: dict[str, object] = {
        "server.port": port,
        "server.address": address,
        "server.headless": not browser,
        "server.showEmailPrompt": False,
        "server.maxUploadSize": max_upload_mb,
        "server.baseUrlPath": base_path,
        # Nothing is reported to anybody; and no stack traces, which show paths, on the page.
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        # The program's files do not change while it runs: watching them costs time and handles.
        "server.fileWatcherType": "none",
        **THEME,
    }
    flags = [f"--{name}={_shown(value)}" for name, value in options.items() if value != ""]
    return [sys.executable, "-m", "streamlit", "run", str(_MAIN), *flags]


def launch(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Serve the page until it is stopped.

    Parameters
    ----------
    arguments : sequence of str
        What `command` gave.
    environment : mapping of str to str, optional
        Added to this process' own.

    Returns
    -------
    int
        The exit code; 0 after Ctrl-C.

    Raises
    ------
    MissingExtraError
        If a library of the extra ``app`` is not installed.
    """
    require("app")
    try:
        return subprocess.run(  # noqa: S603 - this program's own command
            arguments, env=os.environ | dict(environment or {}), check=False
        ).returncode
    except KeyboardInterrupt:
        return 0


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
