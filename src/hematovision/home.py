"""Where HematoVision keeps what a user made: the records of reviews and what belongs to them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["data_folder"]


def data_folder() -> Path:
    r"""Return the user's data folder: ``HEMATOVISION_HOME``, or the platform's folder for data.

    These are ``%LOCALAPPDATA%\hematovision`` on Windows, ``~/Library/Application
    Support/hematovision`` on macOS, and ``hematovision`` in ``XDG_DATA_HOME`` or
    ``~/.local/share`` elsewhere. Nothing is created.
    """
    if chosen := os.environ.get("HEMATOVISION_HOME"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "hematovision"
