"""Output folders that get their name only when they are complete."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hematovision.errors import DatasetError
from hematovision.files import ensure_folder, hold, is_held, writing

__all__ = ["appearing", "check_free", "check_outside"]

_MARK = ".importing-"
_LOCK = ".in-use"
_NEW = 60.0  # seconds; a folder this young may be about to get its lock


def check_free(dest: Path) -> None:
    """Refuse a destination that is there already and not empty.

    Raises
    ------
    DatasetError
        If `dest` is a file, or a folder with something in it.
    """
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise DatasetError(
            f"The destination {dest} already exists and is not empty. Choose a new folder, or "
            "remove it first."
        )


def check_outside(dest: Path, source: Path) -> None:
    """Refuse a destination inside the source: its images would be read with the source's next time.

    Raises
    ------
    DatasetError
        If `dest` is `source` or lies in it.
    """
    if dest.resolve().is_relative_to(source.resolve()):
        beside = source.resolve().with_name(dest.name)
        raise DatasetError(
            f"The destination {dest} is inside the source {source}, whose images would be mixed "
            f"with new ones. Choose a folder outside it, such as {beside}."
        )


@contextmanager
def appearing(dest: Path) -> Iterator[Path]:
    """Give a hidden folder beside `dest` to fill, which becomes `dest` if all goes well.

    A process that is killed leaves the hidden folder, ``.<dest>.importing-...``, never `dest`; the
    next call with the same `dest` removes it.

    Raises
    ------
    OutputError
        If the folder can't be created or renamed.
    """
    dest = dest.absolute()
    _remove_leftovers(dest)
    folder = dest.with_name(f".{dest.name}{_MARK}{secrets.token_hex(4)}")
    ensure_folder(folder)
    lock = folder / _LOCK
    try:
        with writing(lock):
            stream = lock.open("wb")
        with stream:
            with writing(lock):
                hold(stream)
            yield folder
        with writing(dest):
            lock.unlink()
            if dest.exists():
                dest.rmdir()  # renaming onto an empty folder fails on Windows
            folder.rename(dest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_leftovers(dest: Path) -> None:
    """Remove what killed processes have left beside `dest`; what a living one fills stays."""
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
