"""Optional dependencies: what an extra needs, and the command that installs it here.

The package is on no index, so ``pip install 'hematovision[serve]'`` finds nothing there. The
requirements of its extras are on one, and the installed metadata of this package lists them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["install_command", "missing_requirements"]

_DISTRIBUTION = "hematovision"


def install_command(extra: str, module: str) -> str:
    """Return a command that installs what `extra` still lacks into this environment.

    Parameters
    ----------
    extra : str
        An extra of this package, for instance ``"train"``.
    module : str
        The module that could not be imported; named where the package has no metadata.

    Returns
    -------
    str
        A line for this platform's shell.

    Examples
    --------
    >>> install_command("serve", "fastapi")  # doctest: +SKIP
    "python -m pip install 'fastapi>=0.121' 'uvicorn>=0.38'"
    """
    requirements = missing_requirements(extra) or [module]
    python = _python()
    if importlib.util.find_spec("pip") is not None:
        words = [python, "-m", "pip", "install", *requirements]
    else:  # environments made by uv have no pip of their own
        words = ["uv", "pip", "install", "--python", python, *requirements]
    return _joined(words)


def missing_requirements(extra: str) -> list[str]:
    """Return the requirements of `extra` that this environment does not meet, sorted.

    Empty where all are met, or where this package is not installed but merely on the path.
    """
    try:
        found = {str(_plain(one)) for one in _requirements(extra) if not _met(one)}
    except importlib.metadata.PackageNotFoundError:
        return []
    return sorted(found)


def _requirements(extra: str) -> Iterator[Requirement]:
    """Give the requirements of an extra on this platform; extras of our own are followed."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires(_DISTRIBUTION) or ():
        one = Requirement(text)
        if one.marker is None or not one.marker.evaluate({"extra": extra}):
            continue
        if one.name == _DISTRIBUTION:
            for further in sorted(one.extras):
                yield from _requirements(further)
        else:
            yield one


def _met(one: Requirement) -> bool:
    try:
        version = importlib.metadata.version(one.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return one.specifier.contains(version, prereleases=True)


def _plain(one: Requirement) -> Requirement:
    """Drop the marker, which this platform meets."""
    one.marker = None
    return one


def _python() -> str:
    """Return how to call this interpreter from here, as short as it can be."""
    named = shutil.which("python")
    if named and Path(named).absolute() == Path(sys.executable).absolute():
        return "python"
    try:
        return str(Path(sys.executable).relative_to(Path.cwd()))
    except (ValueError, OSError):  # not below the current folder, or that folder is gone
        return sys.executable


def _joined(words: Sequence[str]) -> str:
    if os.name == "nt":
        return " ".join(f'"{word}"' if set(word) & set(' <>[];"') else word for word in words)
    return shlex.join(words)
