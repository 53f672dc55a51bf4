"""Where HematoVision keeps what a user made, and what it only remembers to be faster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder", "data_folder"]


def data_folder() -> Path:
    r"""Return where the records of reviews are: ``HEMATOVISION_HOME``, or the platform's folder.

    These are ``%LOCALAPPDATA%\hematovision`` on Windows, ``~/Library/Application
    Support/hematovision`` on macOS, and ``hematovision`` in ``XDG_DATA_HOME`` or
    ``~/.local/share`` elsewhere. Nothing is created.
    """
    return _folder("HEMATOVISION_HOME", "Application Support", ("XDG_DATA_HOME", ".local/share"))


def cache_folder() -> Path:
    r"""Return where caches are: ``HEMATOVISION_CACHE``, or the platform's folder for them.

    These are ``%LOCALAPPDATA%\hematovision`` on Windows, ``~/Library/Caches/hematovision`` on
    macOS, and ``hematovision`` in ``XDG_CACHE_HOME`` or ``~/.cache`` elsewhere. Nothing is created.
    """
    return _folder("HEMATOVISION_CACHE", "Caches", ("XDG_CACHE_HOME", ".cache"))


def _folder(variable: str, library: str, xdg: tuple[str, str]) -> Path:
    """Return what `variable` says, or our folder where the platform has such things.

    Parameters
    ----------
    variable : str
    library : str
        The folder of macOS, in ``~/Library``.
    xdg : tuple of str
        The variable of the XDG Base Directory Specification, and its default below the home.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / library
    else:
        base = Path(os.environ.get(xdg[0]) or Path.home() / xdg[1])
    return base / "hematovision"
