"""Reading text files in the common encodings."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from hematovision.errors import AnnotationError

__all__ = ["MAX_TEXT_BYTES", "Text", "read_text"]

MAX_TEXT_BYTES = 64 * 2**20
"""64 MiB: a million lines of a box file."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROLS = frozenset(range(32)) - {9, 10, 12, 13, 26}  # 26 ends files of old systems


@dataclass(frozen=True, slots=True)
class Text:
    """The content of a text file, and how it was encoded."""

    content: str
    encoding: str


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> Text:
    """Read a text file: UTF-8, UTF-16 with its byte order mark, else Windows-1252.

    Parameters
    ----------
    path : Path
        The file.
    max_bytes : int
        A longer file is refused before it is read.

    Raises
    ------
    AnnotationError
        If it can't be read, is too long, or is no text.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise AnnotationError(
                f"{path} has {size:,} bytes; at most {max_bytes:,} are read. Split it into several "
                "files, or check that it is the right one."
            )
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"Cannot read {path}: {error.strerror or error}. Give the path of a text file."
        ) from error
    return _decode(path, data)


def _decode(path: Path, data: bytes) -> Text:
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    try:
        return Text(data.decode(encoding), encoding)
    except UnicodeDecodeError as error:
        position = error.start
    if encoding == "utf-8-sig" and _CONTROLS.isdisjoint(data):
        try:
            return Text(data.decode("cp1252"), "cp1252")
        except UnicodeDecodeError:
            pass
    raise AnnotationError(
        f"{path} is not UTF-8 text (byte {position}), nor UTF-16 or Windows-1252. Save it again as "
        "UTF-8."
    )
