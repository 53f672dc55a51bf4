"""Telling whether a process lives by a lock that dies with it.

A number of a process tells nothing: after its end the number is given to another, and a process
that nobody waited for keeps its number without living.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

__all__ = ["delete_held", "hold", "is_held", "try_hold", "try_hold_at"]

if sys.platform == "win32":  # pragma: no cover - another system
    import msvcrt

    _PLACE = 2**30  # Windows keeps others from reading what is locked: a byte behind the content.

    def _lock(stream: BinaryIO) -> None:
        stream.seek(_PLACE)
        msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)

    def _try(stream: BinaryIO) -> None:
        stream.seek(_PLACE)
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)

    _try_alone = _try

else:
    import fcntl

    def _lock(stream: BinaryIO) -> None:
        fcntl.flock(stream, fcntl.LOCK_EX)

    def _try(stream: BinaryIO) -> None:
        # Shared: two who look at once do not take each other for the one who works.
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _try_alone(stream: BinaryIO) -> None:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def hold(stream: BinaryIO) -> None:
    """Lock an open file until it is closed or this process ends; wait if another holds it."""
    _lock(stream)


def try_hold(stream: BinaryIO) -> bool:
    """Lock an open file as `hold` does, unless another holds it: then return False at once."""
    try:
        _try_alone(stream)
    except (BlockingIOError, PermissionError):  # the latter is what Windows says
        return False
    return True


def try_hold_at(path: Path, stream: BinaryIO) -> bool:
    """Lock the open file of `path` as `try_hold` does; False, too, if it was deleted meanwhile.

    For a file that its holder deletes at the end (`delete_held`): who opened it before would else
    hold a file that nobody sees.
    """
    if not try_hold(stream):
        return False
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def delete_held(path: Path, stream: BinaryIO) -> None:
    """Delete a file while it is held, so that nobody holds what is then deleted."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:  # Windows deletes no open file.
        stream.close()
        path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Tell whether a living process holds the lock on a file; False where there is no file."""
    try:
        with path.open("rb") as stream:
            _try(stream)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
