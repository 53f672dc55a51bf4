"""Settings files: where ``hematovision.toml`` is looked for, and what it contains."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hematovision.errors import ConfigurationError
from hematovision.paths import config_folder

__all__ = [
    "MAX_BYTES", "NAME", "VARIABLE", "Place", "SettingsFile", "files_in_use", "in_home",
    "places", "places_in_use",
]  # fmt: skip

NAME = "hematovision.toml"
"""The name of a settings file."""

VARIABLE = "HEMATOVISION_CONFIG"
"""Environment variable: the only settings file to read."""

MAX_BYTES = 2**20
"""Far more than all settings take."""


@dataclass(frozen=True)
class Place:
    """Where a settings file may be.

    Parameters
    ----------
    path : Path
        The file.
    own : bool
        Whether the user chose it. Otherwise it was found in the current folder or above, which may
        come from somebody else.
    required : bool
        Whether a missing file is an error.
    """

    path: Path
    own: bool
    required: bool = False


@dataclass(frozen=True)
class SettingsFile:
    """The content of a settings file."""

    place: Place
    text: str
    tables: dict[str, Any]

    def where(self, section: Sequence[str], key: str | None = None) -> str:
        """Return the file and, if it can be found, the line of a key, or of a section."""
        current: tuple[str, ...] = ()
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[([^\[\]]+)\]", line):
                current = tuple(part.strip(" \t\"'") for part in header[1].split("."))
                found = key is None and current == tuple(section)
            else:
                name = line.partition("=")[0].strip(" \t\"'")
                found = "=" in line and current == tuple(section) and name == key
            if found:
                return f"{self.place.path}, line {number}"
        return str(self.place.path)


def places() -> list[Place]:
    """Return where settings files are looked for, those with precedence first.

    The file that `VARIABLE` names is the only one. Otherwise: `NAME` in the current folder and the
    folders above, up to a repository or the user's home; and in the user's folder of settings.
    Outside repositories and the home, folders above are left out: others may write to them.
    """
    if chosen := os.environ.get(VARIABLE):
        return [Place(in_home(chosen), own=True, required=True)]
    user = Place(config_folder() / NAME, own=True)
    found = [Place(folder / NAME, own=False) for folder in _folders()]
    if not user.path.is_absolute():  # there is no home; the current folder must not replace it
        return found
    return [*(place for place in found if place.path != user.path), user]


def in_home(path: str) -> Path:
    """Return a path whose leading ``~`` or ``~user`` is their home, or as it is without one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser fails without a home


def _folders() -> list[Path]:
    try:
        current = Path.cwd()
    except OSError:  # deleted, or not accessible
        return []
    home = in_home("~")
    folders: list[Path] = []
    for folder in (current, *current.parents):
        folders.append(folder)
        if folder == home or os.path.exists(folder / ".git"):  # noqa: PTH110 - never raises
            return folders
    return [current]


def places_in_use() -> list[Place]:
    """Return the places of the files that have an effect, the one with precedence first.

    Of the files in the current folder and above, only the nearest is used.
    """
    found: list[Place] = []
    for place in places():
        is_there = place.required or os.path.isfile(place.path)  # noqa: PTH113 - never raises
        if is_there and (place.own or not found):
            found.append(place)
    return found


def files_in_use() -> list[SettingsFile]:
    """Read the files that have an effect, the one with precedence first.

    Raises `ConfigurationError` if one cannot be read.
    """
    return [_read(place) for place in places_in_use()]


def _read(place: Place) -> SettingsFile:
    import tomllib

    path = place.path
    try:
        # Not `path.is_file()`, so that the null device stands for no settings; reading a pipe may
        # never end.
        if not path.exists() or path.is_fifo() or path.is_dir():
            raise ConfigurationError(
                f"{path} is not a file. {VARIABLE} must name a settings file; create the file, "
                "or unset the variable."
            )
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror or error}.") from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(
            f"{path} has more than {MAX_BYTES:,} bytes: it is not a settings file. Rename it."
        )
    try:
        text = data.decode("utf-8-sig")  # editors on Windows may begin with a mark
        return SettingsFile(place, text, tomllib.loads(text))
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} is not encoded in UTF-8 (byte {error.start + 1}). Save it as UTF-8."
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return "too many levels" if isinstance(error, RecursionError) else str(error).rstrip(".")
