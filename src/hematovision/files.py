"""Writing so that nothing is ever half written, and the hashes that prove it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hematovision.errors import OutputError

__all__ = [
    "copy_file",
    "delete_held",
    "ensure_folder",
    "hold",
    "is_held",
    "open_own",
    "replacing",
    "sha256_bytes",
    "sha256_file",
    "sync",
    "try_hold",
    "try_hold_at",
    "write_bytes",
    "write_new",
    "write_text",
    "writing",
]


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

_LONGEST_NAME = 240
"""Bytes of a name that leave room for what a temporary name adds; the usual limit is 255."""


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def ensure_folder(path: Path) -> Path:
    """Create `path` and its parents if need be.

    Raises
    ------
    OutputError
        If it cannot be created, for instance because a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"Cannot create the folder {path}: {error.strerror or error}. Choose another place."
        ) from error
    except ValueError as error:  # a null character
        raise OutputError(f"Cannot create the folder {path}: {error}. Choose a name.") from error
    return path


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, byte by byte, into a folder that is made if need be.

    Raises
    ------
    OutputError
        If the source cannot be read or the target cannot be written.
    """
    ensure_folder(target.parent)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(
            f"Cannot copy {source} to {target}: {error.strerror or error}. Check the file and the "
            "free space."
        ) from error


def sync(path: Path) -> Path:
    """Have the content of a file, or the names in a folder, on disk before anything that follows.

    Raises
    ------
    OutputError
        If the system cannot.
    """
    if path.is_dir() and sys.platform == "win32":  # There folders cannot be opened.
        return path
    with writing(path):
        # Windows flushes only what is open for writing, elsewhere a file may be read-only.
        handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return path


@contextmanager
def writing(path: Path, size: int = 0) -> Iterator[None]:
    """Turn what the system says against writing `path`, inside the block, into an `OutputError`.

    Parameters
    ----------
    path : Path
    size : int
        How many bytes are written, where that is known, for the message.

    Raises
    ------
    OutputError
        If the place cannot be written (no permission, disk full, a folder of that name).
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. {_advice(path, error, size)}"
        ) from error


def _advice(path: Path, error: OSError, size: int) -> str:
    """Say what to do about an error of the system."""
    if error.errno in _NO_ROOM:
        needed = f"; {size:,} are needed" if size else ""
        return f"{_free(path)}{needed}. Free some space or choose another place, and run it again."
    if error.errno == errno.EFBIG:
        return (
            "The file system, or a limit of this session (`ulimit -f`), allows no larger file. "
            "Choose another place or raise the limit, and run it again."
        )
    if error.errno == errno.ENAMETOOLONG:
        return "Choose a shorter name."
    return "Check that the location is writable, or choose another place."


def _free(path: Path) -> str:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return "There is no room"
    return f"{free:,} bytes are free there"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a stream whose content takes the place of `path` when the block ends without an error.

    Until then, and after an error, whoever looks sees the old content: a file that is written for
    hours is never there half. A link of that name is replaced, and what it leads to stays. What
    goes wrong inside the block passes through as it is; put `writing` around writes to the stream.

    Raises
    ------
    OutputError
        If the file cannot be created or put in its place.
    """
    ensure_folder(path.parent)
    temporary = path.with_name(_temporary_name(path.name))
    with writing(path):
        stream = temporary.open("xb")
    try:
        yield stream
        with writing(path):
            stream.close()
            temporary.replace(path)
    finally:
        # What could not be written a moment ago cannot be written on closing, either.
        with suppress(OSError):
            stream.close()
        temporary.unlink(missing_ok=True)


def _temporary_name(name: str) -> str:
    """Return a hidden name beside `name`, no longer than file systems take."""
    kept = os.fsencode(name)[:_LONGEST_NAME].decode("utf-8", "ignore")
    return f".{kept}.{secrets.token_hex(4)}"


def open_own(path: Path) -> io.FileIO:
    """Open a file that the program keeps for itself, to read and to append; make it if need be.

    Never through a link: whoever may write into the folder could else have another file
    overwritten.

    Raises
    ------
    OutputError
        If a link or anything but a file has that name, or it cannot be opened.
    """
    never = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a link, or for ever
    with writing(path):
        linked = path.is_symlink()
    if linked:
        raise _not_own(path, "is a link")
    with writing(path):
        stream = io.FileIO(path, "a+", opener=lambda n, flags: os.open(n, flags | never, 0o666))
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return stream
    stream.close()
    raise _not_own(path, "is a link" if stat.S_ISREG(status.st_mode) else "is not a regular file")


def _not_own(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path} {what}; expected a file that HematoVision made. Nothing was written to it. Delete "
        "it, or choose another place with --out."
    )


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` to `path` at once: whoever looks sees the old content or the new, never half.

    Raises
    ------
    OutputError
        If the place cannot be written (no permission, disk full, a folder of that name).
    """
    with replacing(path) as stream, writing(path, len(data)):
        stream.write(data)
        stream.flush()
    return path


def write_new(path: Path, data: bytes) -> Path:
    """Write `data` to `path` at once, unless something is there: of two at once one is refused.

    Raises
    ------
    OutputError
        If something is there, or the place cannot be written.
    """
    taken = OutputError(f"{path} exists already; it was not touched. Choose another with --out.")
    ensure_folder(path.parent)
    temporary = path.with_name(_temporary_name(path.name))
    try:
        with writing(path, len(data)):
            with temporary.open("xb") as stream:
                stream.write(data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise taken from None
            except OSError:  # A file system without links: two at once are not told apart.
                if path.exists():
                    raise taken from None
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    r"""Write `text` as UTF-8 to `path` at once; see `write_bytes`.

    A lone surrogate, which UTF-8 cannot hold, is written as in JSON: ``\udce9``.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


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
