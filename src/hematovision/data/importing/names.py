"""File names that are safe on every system and unique in their folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["safe_name", "unique_names"]

_LONGEST = 80
_PORTS = (f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))
_DEVICES = frozenset({"con", "prn", "aux", "nul", *_PORTS})


def safe_name(text: str) -> str:
    """Reduce `text` to letters, digits, ``.``, ``_`` and ``-`` of ASCII, at most 80 of them.

    Everything else becomes ``_``. Names that Windows keeps for devices, and names that would be
    hidden or begin like an option, are prefixed.

    >>> safe_name("patient 7/cell (3)")
    'patient_7_cell_3'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)[:_LONGEST].strip("_").rstrip(".")
    if not name or name[0] in ".-" or name.partition(".")[0].casefold() in _DEVICES:
        name = f"image_{name.lstrip('.-')}".rstrip("_")
    return name


def unique_names(texts: Sequence[str]) -> list[str]:
    """Return a safe name for each text; those that would be equal, whatever the case, get a number.

    >>> unique_names(["a/cell", "a cell", "A_CELL"])
    ['a_cell', 'a_cell-2', 'A_CELL-3']
    """
    names: list[str] = []
    taken: set[str] = set()
    last: dict[str, int] = {}
    for text in texts:
        name = base = safe_name(text)
        while name.casefold() in taken:
            number = last.get(base.casefold(), 1) + 1
            last[base.casefold()] = number
            name = f"{base}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
