"""Writing so that nothing is ever half written, and the hashes that prove it."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hematovision.errors import OutputError

__all__ = [
    "ensure_folder",
    "escape_name",
    "replacing",
    "sha256_bytes",
    "sha256_file",
    "unescape_name",
    "write_bytes",
    "write_text",
    "writing",
]


# What is no text (bytes that are not UTF-8, as `os.fsdecode` keeps them), what a terminal or table
# would act on, and a backslash that would look like either when read back.
_UNSAFE = re.compile(r"[\udc80-\udcff\x00-\x1f\x7f]|\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def escape_name(name: str) -> str:
    r"""Write a file's name as text that any table, JSON file, page or terminal can hold.

    Bytes that are not UTF-8 and control characters become ``\xHH``, as in a Python string. Other
    names stay as they are; `unescape_name` reads every name back.

    >>> escape_name("caf\udce9.png")
    'caf\\xe9.png'
    """
    return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", name)


def unescape_name(name: str) -> str:
    r"""Return the name that `escape_name` has written."""

    def character(found: re.Match[str]) -> str:
        code = int(found[1], 16)
        return chr(code if code < 0x80 else 0xDC00 + code)

    return _ESCAPED.sub(character, name)


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
    """Write `text` as UTF-8 to `path` at once; see `write_bytes`."""
    return write_bytes(path, text.encode("utf-8"))
