"""Output folders that appear only when complete, and safe names for their files."""

from __future__ import annotations

import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hematovision.errors import DatasetError
from hematovision.files import ensure_folder, is_held, wait_for_lock, writing
from hematovision.paths import is_reserved

__all__ = ["appearing", "check_free", "check_outside", "safe_folder", "safe_name", "unique_names"]

_MARK = ".importing-"
_LOCK = ".in-use"
_NEW = 60.0  # seconds; a newer folder may not have its lock yet
_LONGEST = 80


def check_free(dest: Path) -> None:
    """Raise a `DatasetError` if a destination is a file, or a folder that is not empty."""
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise DatasetError(
            f"The destination {dest} already exists and is not empty. Choose a new folder, or "
            "remove it first."
        )


def check_outside(dest: Path, source: Path) -> None:
    """Raise a `DatasetError` if a destination is inside the source."""
    if dest.resolve().is_relative_to(source.resolve()):
        outside = source.resolve().with_name(dest.name)
        raise DatasetError(
            f"The destination {dest} is inside the source {source}, whose images would be mixed "
            f"with new ones. Choose a folder outside it, such as {outside}."
        )


@contextmanager
def appearing(dest: Path) -> Iterator[Path]:
    """Yield a hidden folder next to `dest`, which is renamed to `dest` if the block succeeds.

    A killed process leaves only the hidden folder, ``.<dest>.importing-...``; the next call with
    the same `dest` removes it.

    Raises `OutputError` if the folder can't be created or renamed.
    """
    dest = dest.absolute()
    _remove_leftovers(dest)
    folder = dest.with_name(f".{dest.name}{_MARK}{secrets.token_hex(4)}")
    ensure_folder(folder)
    try:
        with wait_for_lock(folder / _LOCK):
            yield folder
        with writing(dest):
            if dest.exists():
                dest.rmdir()  # renaming onto an empty folder fails on Windows
            folder.rename(dest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_leftovers(dest: Path) -> None:
    """Remove the hidden folders of killed processes, but not those of running ones."""
    if not dest.parent.is_dir():
        return
    for folder in dest.parent.iterdir():
        if folder.name.startswith(f".{dest.name}{_MARK}") and folder.is_dir():
            lock = folder / _LOCK
            if lock.exists():
                dead = not is_held(lock)
            else:
                dead = time.time() - folder.stat().st_mtime > _NEW
            if dead:
                shutil.rmtree(folder, ignore_errors=True)


def safe_name(text: str) -> str:
    """Reduce `text` to at most 80 ASCII letters, digits, ``.``, ``_`` and ``-``.

    Everything else becomes ``_``. Windows device names, hidden names and names that look like
    options get a prefix.

    >>> safe_name("patient 7/cell (3)")
    'patient_7_cell_3'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", plain)[:_LONGEST].strip("_").rstrip(".")
    if not name or name[0] in ".-" or is_reserved(name):
        name = f"image_{name.lstrip('.-')}".rstrip("_")
    return name


def safe_folder(label: str) -> str:
    """Return a class name as a valid folder name; `normalise` ignores the change.

    >>> safe_folder("RBC/normal?")
    'RBC_normal'
    """
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", label).strip(" ._")
    return f"_{name}" if is_reserved(name) else name


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names, with a number appended to repeated ones.

    Case is ignored, as in file names on Windows and macOS.

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
