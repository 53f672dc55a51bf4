"""File names that are safe on every system and unique in their folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from hematovision.paths import is_reserved

__all__ = ["safe_folder", "safe_name", "unique_names"]

_LONGEST = 80


def safe_name(text: str) -> str:
    """Reduce `text` to letters, digits, ``.``, ``_`` and ``-`` of ASCII, at most 80 of them.

    Everything else becomes ``_``. Names that Windows keeps for devices, and names that would be
    hidden or begin like an option, are prefixed.

    >>> safe_name("patient 7/cell (3)")
    'patient_7_cell_3'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)[:_LONGEST].strip("_").rstrip(".")
    if not name or name[0] in ".-" or is_reserved(name):
        name = f"image_{name.lstrip('.-')}".rstrip("_")
    return name


def safe_folder(label: str) -> str:
    """Make a class name fit to be a folder's name, in any script; `normalise` does not see it.

    >>> safe_folder("RBC/normal?")
    'RBC_normal'
    """
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", label).strip(" ._")
    return f"_{name}" if is_reserved(name) else name


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names; those that are taken already, whatever the case, get a number.

    Case counts for nothing, since it does not on the disks of Windows and macOS.

    >>> unique_names(["cell", "other", "Cell"])
    ['cell', 'other', 'Cell-2']
    """
    unique: list[str] = []
    taken: set[str] = set()
    last: dict[str, int] = {}
    for name in names:
        new, key = name, name.casefold()
        while new.casefold() in taken:
            last[key] = last.get(key, 1) + 1
            new = f"{name}-{last[key]}"
        taken.add(new.casefold())
        unique.append(new)
    return unique
