r"""File names as text: in files, on a terminal, and in the cells of a CSV table.

A file name on Linux is any bytes. Python keeps a byte that is not UTF-8 as a lone surrogate, which
no file and no terminal can hold, and a valid name may hold control characters that steer a
terminal. This module has one way out for each:

=====================  ============================  ==============================================
place                  function                      what it changes
=====================  ============================  ==============================================
a file name in a file  `escape_name`                 bytes that are not UTF-8: ``caf\xe9.png``
other text in a file   `valid_text`                  the same, but it is not meant to be read back
terminal, log          `shown`                       also control characters and text direction
a cell of a CSV table  `csv_cell`                    a leading ``=``, ``+``, ``-``, ``@``...
=====================  ============================  ==============================================

`unescape_name` and `from_csv_cell` read back what `escape_name` and `csv_cell` wrote.
"""

from __future__ import annotations

import os
import re

__all__ = [
    "csv_cell",
    "escape_name",
    "from_csv_cell",
    "name_bytes",
    "shown",
    "unescape_name",
    "valid_text",
]

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTE = re.compile(r"\\x[89a-f][0-9a-f]")
_ESCAPES = re.compile(r"\\(?:(\\)|x([89a-f][0-9a-f]))")

# Control characters (C0, DEL, C1), what changes the direction of text or separates lines, what is
# invisible, and lone surrogates. Joiners (U+200C, U+200D) stay: several scripts need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}

# The characters of OWASP's page on CSV injection, in their full-width forms too.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def escape_name(name: str) -> str:
    r"""Write a file name as valid Unicode from which `unescape_name` restores it.

    A byte that is not UTF-8 becomes ``\x`` and its two hexadecimal digits. In such a name, and in
    the rare one that holds such an escape as plain text, a backslash is doubled; all other names
    stay as they are. On Windows, where a backslash separates folders, none is doubled.

    Examples
    --------
    >>> escape_name("caf\udce9.png")
    'caf\\xe9.png'
    """
    if not _SURROGATE.search(name) and not (_doubles() and _ESCAPED_BYTE.search(name)):
        return name
    return valid_text(name.replace("\\", "\\\\") if _doubles() else name)


def unescape_name(text: str) -> str:
    r"""Return the file name that `escape_name` wrote as `text`.

    Examples
    --------
    >>> unescape_name("caf\\xe9.png") == "caf\udce9.png"
    True
    """
    if not _doubles() or not _ESCAPED_BYTE.search(text):
        return text
    return _ESCAPES.sub(lambda found: found[1] or chr(0xDC00 + int(found[2], 16)), text)


def name_bytes(name: str) -> bytes:
    """Return the bytes that stand for a name in a hash: UTF-8, whatever the name holds."""
    return name.encode("utf-8", "surrogatepass")


def valid_text(text: str) -> str:
    r"""Return `text` with each lone surrogate written as an escape, so that UTF-8 can hold it.

    Examples
    --------
    >>> valid_text("caf\udce9.png: not an image")
    'caf\\xe9.png: not an image'
    """
    return _SURROGATE.sub(_escaped, text)


def shown(text: object) -> str:
    r"""Return text for a terminal or a log, on one line and without characters that steer it.

    Examples
    --------
    >>> shown("red\x1b[2K\r.png")
    'red\\x1b[2K\\r.png'
    """
    plain = str(text)
    return plain if plain.isprintable() else _UNSAFE.sub(_escaped, plain)


def csv_cell(text: str) -> str:
    """Return text for a cell of a CSV table: a spreadsheet shows it and never runs it.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, as OWASP advises
    against CSV injection; so does text that begins with apostrophes before one, so that
    `from_csv_cell` restores every text.

    Examples
    --------
    >>> csv_cell("=1+1.png"), csv_cell("cell.png")
    ("'=1+1.png", 'cell.png')
    """
    valid = valid_text(text)
    return f"'{valid}" if _FORMULA.match(valid) else valid


def from_csv_cell(text: str) -> str:
    """Return the text that `csv_cell` wrote.

    Examples
    --------
    >>> from_csv_cell("'=1+1.png"), from_csv_cell("it's.png")
    ('=1+1.png', "it's.png")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _doubles() -> bool:
    return os.sep != "\\"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # the byte that Python keeps as this surrogate
        return f"\\x{code - 0xDC00:02x}"
    short = _SHORT.get(found[0])
    if short is not None:
        return short
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
