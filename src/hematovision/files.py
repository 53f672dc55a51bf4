"""Atomic writes, hashes and file locks; every failed write raises `OutputError`."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hematovision.errors import OutputError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = [
    "copy_file", "delete_all_leftovers", "delete_leftovers", "ensure_folder", "hold_lock",
    "is_held", "open_own", "replacing", "sha256_bytes", "sha256_file", "sync", "wait_for_lock",
    "write_bytes", "write_new", "write_text", "writing",
]  # fmt: skip


_LOG = logging.getLogger(__name__)

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}")

_CHECK_SECONDS = 0.2  # a check of a lock holds it for a few microseconds
_POLL_SECONDS = 0.01

_LONGEST_NAME = 240  # bytes; allows for a temporary suffix within the usual limit of 255


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def ensure_folder(path: Path) -> Path:
    """Create `path` and its parents if they do not exist."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
        raise OutputError(
            f"Cannot create the folder {path}: {file} is not a folder. Choose another folder."
        ) from error
    except OSError as error:
        raise OutputError(
            f"Cannot create the folder {path}: {error.strerror or error}. Choose another folder."
        ) from error
    except ValueError as error:  # a null character
        raise OutputError(
            f"Cannot create the folder {path}: {error}. Choose another name."
        ) from error
    return path


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content into a folder, which is created if it does not exist."""
    ensure_folder(target.parent)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(
            f"Cannot copy {source} to {target}: {error.strerror or error}. Check the file and the "
            "free space."
        ) from error


def sync(path: Path) -> Path:
    """Flush the content of a file, or the entries of a folder, to disk."""
    if path.is_dir() and sys.platform == "win32":  # Windows cannot open folders
        return path
    with writing(path):
        # Windows flushes only files open for writing; elsewhere a file may be read-only.
        handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return path


@contextmanager
def writing(path: Path, size: int = 0) -> Iterator[None]:
    """Convert an `OSError` in the block to an `OutputError` about `path`.

    `size` is the number of bytes to write, if known, for the message.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. {_advice(path, error, size)}"
        ) from error


def _advice(path: Path, error: OSError, size: int) -> str:
    """Return advice on what to do about a failed write."""
    if error.errno in _DISK_FULL:
        needed = f"; {size:,} are needed" if size else ""
        return f"{_free(path)}{needed}. Free some space or choose another disk, and try again."
    if error.errno == errno.EFBIG:
        return (
            "The file exceeds the largest size that the file system or this session (`ulimit -f`) "
            "allows. Choose another disk or raise the limit, and try again."
        )
    if error.errno == errno.ENAMETOOLONG:
        return "Choose a shorter name."
    return "Check that the location is writable, or choose another one."


def _free(path: Path) -> str:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return "The disk is full"
    return f"The disk has {free:,} free bytes"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a stream whose content replaces `path` when the block ends without an error.

    Until then, and after an error, readers see the old content. A link at `path` is replaced; its
    target is not changed. Errors in the block pass through unchanged: put `writing` around writes
    to the stream.
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
        _LOG.debug("Wrote %s.", path)
    finally:
        # After a failed write, closing fails too.
        with suppress(OSError):
            stream.close()
        temporary.unlink(missing_ok=True)


def delete_leftovers(path: Path) -> None:
    """Delete, where possible, temporary files of `replacing` that killed processes left.

    Hold a lock: the file of a process that is writing `path` would be deleted too.
    """
    leftover = re.compile(re.escape(f".{path.name}.") + "[0-9a-f]{8}")
    with suppress(OSError):
        for found in path.parent.iterdir():
            if leftover.fullmatch(found.name):
                found.unlink(missing_ok=True)


def delete_all_leftovers(folder: Path) -> None:
    """Delete, where possible, the leftovers of all files in and below a folder.

    Hold a lock, as for `delete_leftovers`.
    """
    with suppress(OSError):
        for found in folder.rglob(".*"):
            if _LEFTOVER.fullmatch(found.name) and found.is_file():
                found.unlink(missing_ok=True)


def _temporary_name(name: str) -> str:
    """Return a hidden name for a file next to `name`, short enough for file systems."""
    kept = os.fsencode(name)[:_LONGEST_NAME].decode("utf-8", "ignore")
    return f".{kept}.{secrets.token_hex(4)}"


def open_own(path: Path) -> io.FileIO:
    """Open a file that only this program uses for reading and appending; create it if missing.

    Links are rejected: otherwise anyone who can write to the folder could redirect the writes to
    another file.
    """
    never = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # no link, no waiting
    _check_own(path)
    with writing(path):
        stream = io.FileIO(path, "a+", opener=lambda n, flags: os.open(n, flags | never, 0o666))
    try:
        _check_status(path, os.fstat(stream.fileno()))
    except OutputError:
        stream.close()
        raise
    return stream


def _check_own(path: Path) -> None:
    """Raise an `OutputError` if something other than our own file is at `path`."""
    with writing(path), suppress(FileNotFoundError):
        _check_status(path, path.lstat())


def _check_status(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
        raise _not_own(path, "is not a regular file")
    if stat.S_ISLNK(status.st_mode) or status.st_nlink > 1:
        raise _not_own(path, "is a link")


def _not_own(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path} {what}; expected a file created by HematoVision. Nothing was written. Delete "
        "it, or choose another path with --out."
    )


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` to `path` atomically."""
    with replacing(path) as stream, writing(path, len(data)):
        stream.write(data)
        stream.flush()
    return path


def write_new(path: Path, data: bytes) -> Path:
    """Write `data` to `path` atomically; raise `OutputError` if the path exists."""
    taken = OutputError(
        f"{path} already exists and was not changed. Choose another path with --out."
    )
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
            except OSError:  # a file system without links: simultaneous writes are not detected
                if path.exists():
                    raise taken from None
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    r"""Write `text` as UTF-8 to `path` atomically.

    A lone surrogate, which UTF-8 cannot encode, is written as in JSON: ``\udce9``.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


@contextmanager
def hold_lock(lock: Path, taken: str) -> Iterator[None]:
    """Hold a lock file during the block; an `OutputError` of text `taken` if it is held already.

    The system releases the lock of a process that ends in any way, also if it is killed. The file
    of a killed process stays; others are deleted at the end of the block. An `OutputError` is
    raised too if the file cannot be created, is a link, or its file system has no locks (NFS
    without a lock server).
    """
    with _holding(lock, wait=False) as held:
        if not held:
            raise OutputError(taken)
        yield


@contextmanager
def wait_for_lock(lock: Path) -> Iterator[None]:
    """Like `hold_lock`, but wait for the process that holds the lock."""
    with _holding(lock, wait=True):
        yield


def is_held(lock: Path) -> bool:
    """Return whether a running process holds a lock file; False if the file is missing.

    The lock file of a process that was killed is deleted.
    """
    if not lock.exists():
        return False
    try:
        with _holding(lock, wait=False, seconds=_CHECK_SECONDS) as free:
            return not free
    except OutputError:
        return True


@contextmanager
def _holding(lock: Path, *, wait: bool, seconds: float = 0) -> Iterator[bool]:
    """Hold a lock file during the block, if it is or becomes free; yield whether it is held."""
    from filelock import FileLock, Timeout

    _check_own(lock)
    # Without `fallback_to_soft`, filelock never uses the mere existence of a file as a lock: that
    # of a killed process would stay. Without `thread_local`, the block may end in another thread.
    own = FileLock(lock, thread_local=False, fallback_to_soft=False, poll_interval=_POLL_SECONDS)
    with writing(lock), suppress(Timeout):
        own.acquire(timeout=-1 if wait else seconds)
    try:
        yield own.is_locked
    finally:
        if own.is_locked:
            with writing(lock):
                _release(own, lock)


def _release(own: BaseFileLock, lock: Path) -> None:
    """Delete a lock file and release it, in this order: no other process can lock it in between."""
    try:
        lock.unlink(missing_ok=True)
    except PermissionError:  # Windows cannot delete an open file
        own.release()
        with suppress(PermissionError):  # another process opened it
            lock.unlink(missing_ok=True)
    finally:
        own.release()
