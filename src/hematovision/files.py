"""Writing so that nothing is ever half written, and the hashes that prove it."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hematovision.errors import OutputError

__all__ = [
    "ensure_folder",
    "replacing",
    "sha256_bytes",
    "sha256_file",
    "sync",
    "write_bytes",
    "write_text",
    "writing",
]


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
    return path


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
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing `path`, inside the block, into an `OutputError`.

    Raises
    ------
    OutputError
        If the place cannot be written (no permission, disk full, a folder of that name).
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}. Free some space or choose another "
            "place."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a stream whose content takes the place of `path` when the block ends without an error.

    Until then, and after an error, whoever looks sees the old content: a file that is written for
    hours is never there half. What goes wrong inside the block passes through as it is; put
    `writing` around writes to the stream.

    Raises
    ------
    OutputError
        If the file cannot be created or put in its place.
    """
    ensure_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path):
        stream = temporary.open("xb")
    try:
        with stream:
            yield stream
            with writing(path):
                stream.flush()
        with writing(path):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` to `path` at once: whoever looks sees the old content or the new, never half.

    Raises
    ------
    OutputError
        If the place cannot be written (no permission, disk full, a folder of that name).
    """
    with replacing(path) as stream, writing(path):
        stream.write(data)
    return path


def write_text(path: Path, text: str) -> Path:
    r"""Write `text` as UTF-8 to `path` at once; see `write_bytes`.

    A lone surrogate, which UTF-8 cannot hold, is written as in JSON: ``\udce9``.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))
