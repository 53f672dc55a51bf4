"""Where results go: never over something that is there."""

from __future__ import annotations

from pathlib import Path

from hematovision.errors import OutputError
from hematovision.files import ensure_folder

__all__ = ["fresh_folder"]


def fresh_folder(path: Path, *, option: str = "--out") -> Path:
    """Make sure that `path` is an empty folder.

    Parameters
    ----------
    path : Path
    option : str
        What the command line calls it, for the error.

    Raises
    ------
    OutputError
        If something is in it, or it cannot be made.
    """
    ensure_folder(path)
    if any(path.iterdir()):
        raise OutputError(
            f"The folder {path} is not empty; nothing in it was touched. Choose a new one with "
            f"{option}, or move it away."
        )
    return path
