r"""User folders, and file names as text: in files, on a terminal, in cells of a CSV table.

File names on Linux are arbitrary bytes. Python represents a byte that is not UTF-8 as a lone
surrogate, which cannot be encoded for a file or a terminal. A valid name may also contain control
characters that affect the terminal. There is a function for each place:

=====================  ============================  ==============================================
place                  function                      replaces
=====================  ============================  ==============================================
a file name in a file  `escape_name`                 bytes that are not UTF-8: ``caf\xe9.png``,
                                                     and control characters
other text in a file   `valid_text`, `valid_value`   bytes that are not UTF-8
terminal, log          `shown`                       also control characters and text direction
a cell of a CSV table  `csv_cell`                    a leading ``=``, ``+``, ``-``, ``@``...
=====================  ============================  ==============================================

`unescape_name` and `from_csv_cell` reverse `escape_name` and `csv_cell`.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "cache_folder", "config_folder", "csv_cell", "csv_text", "data_folder", "escape_name",
    "from_csv_cell", "is_reserved", "name_bytes", "shown", "unescape_name", "valid_text",
    "valid_value",
]  # fmt: skip

_PORTS = (f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))
_DEVICES = frozenset({"con", "prn", "aux", "nul", *_PORTS})

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE_IN_FILES = re.compile("[\udc80-\udcff\x00-\x1f\x7f]")
_UNSAFE_ON_POSIX = re.compile("[\udc80-\udcff\x00-\x1f\x7f]|\\\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")

# Control characters (C0, DEL, C1), invisible characters, those that change the direction of text or
# separate lines, and lone surrogates. Joiners (U+200C, U+200D) stay: several scripts need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}

# The characters of OWASP's page on CSV injection, also in full width.
_FORMULA = re.compile(
    "(?![+-]?[0-9]+([.][0-9]*)?([eE][+-]?[0-9]+)?\\Z)'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
)


def escape_name(name: str) -> str:
    r"""Return a file name as text for a table, JSON file or page; see `unescape_name`.

    A byte that is not UTF-8, or a control character, becomes ``\x`` and two hexadecimal digits. So
    does a backslash that looks like such an escape, except on Windows, where a backslash separates
    folders. All other names are unchanged.

    Examples
    --------
    >>> escape_name("caf\udce9.png")
    'caf\\xe9.png'
    """
    unsafe = _UNSAFE_IN_FILES if os.sep == "\\" else _UNSAFE_ON_POSIX
    return valid_text(unsafe.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", name))


def unescape_name(text: str) -> str:
    r"""Return the file name that `escape_name` wrote as `text`.

    Examples
    --------
    >>> unescape_name("caf\\xe9.png") == "caf\udce9.png"
    True
    """
    return text if os.sep == "\\" else _ESCAPED.sub(_character, text)


def is_reserved(name: str) -> bool:
    """Return whether Windows reserves a name for a device, with any suffix.

    Examples
    --------
    >>> is_reserved("Con.png"), is_reserved("cone.png")
    (True, False)
    """
    return name.partition(".")[0].casefold() in _DEVICES


def name_bytes(name: str) -> bytes:
    """Return the bytes of a name for a hash: UTF-8, including lone surrogates."""
    return name.encode("utf-8", "surrogatepass")


def valid_text(text: str) -> str:
    r"""Return `text` with each lone surrogate escaped, so that it can be encoded as UTF-8.

    Examples
    --------
    >>> valid_text("caf\udce9.png: not an image")
    'caf\\xe9.png: not an image'
    """
    return _SURROGATE.sub(_escaped, text)


def valid_value(value: Any) -> Any:
    """Apply `valid_text` to every string in a value for `json.dumps`.

    Do not apply it to encoded JSON, in which a backslash starts an escape.
    """
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, Mapping):
        return {valid_value(key): valid_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [valid_value(item) for item in value]
    return value


def shown(text: object) -> str:
    r"""Return text for a terminal or a log: one line, without control characters.

    Examples
    --------
    >>> shown("red\x1b[2K\r.png")
    'red\\x1b[2K\\r.png'
    """
    plain = str(text)
    return plain if plain.isprintable() else _UNSAFE.sub(_escaped, plain)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as the text of a CSV table, with `csv_cell` applied to strings."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        writer.writerow([csv_cell(value) if isinstance(value, str) else value for value in row])
    return stream.getvalue()


def csv_cell(text: str) -> str:
    """Return text for a CSV cell that a spreadsheet shows but never evaluates.

    Text that a spreadsheet would read as a formula is prefixed with an apostrophe, as OWASP advises
    against CSV injection. So is a formula that already has apostrophes, which makes `from_csv_cell`
    exact. Numbers are unchanged.

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


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code if code < 0x80 else 0xDC00 + code)


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


def data_folder() -> Path:
    r"""Return the folder of the user's records: ``HEMATOVISION_HOME``, or the platform's default.

    The defaults are those of platformdirs: ``%LOCALAPPDATA%\hematovision`` on Windows,
    ``~/Library/Application Support/hematovision`` on macOS, and ``~/.local/share/hematovision``
    elsewhere; on macOS and elsewhere ``hematovision`` in ``XDG_DATA_HOME`` if that is set. Nothing
    is created.
    """
    return _folder("HEMATOVISION_HOME", "user_data_path", "Application Support")


def cache_folder() -> Path:
    r"""Return the folder of caches: ``HEMATOVISION_CACHE``, or the platform's default.

    The defaults are those of platformdirs: ``%LOCALAPPDATA%\hematovision`` on Windows,
    ``~/Library/Caches/hematovision`` on macOS, and ``~/.cache/hematovision`` elsewhere; on macOS
    and elsewhere ``hematovision`` in ``XDG_CACHE_HOME`` if that is set. Nothing is created.
    """
    return _folder("HEMATOVISION_CACHE", "user_cache_path", "Caches")


def config_folder() -> Path:
    r"""Return the folder of the user's settings.

    It is ``%LOCALAPPDATA%\hematovision`` on Windows, ``~/Library/Application
    Support/hematovision`` on macOS, and ``hematovision`` in ``XDG_CONFIG_HOME`` or ``~/.config``
    elsewhere. Nothing is created.
    """
    import platformdirs  # not at the top: commands that print their help import this module

    return platformdirs.user_config_path("hematovision", appauthor=False)


def _folder(variable: str, kind: str, library: str) -> Path:
    """Return the folder in `variable`, or platformdirs' of a `kind`.

    Version 0.2 did not use the variables of XDG on macOS: a folder that it made in `library` is
    found there.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen)
    import platformdirs  # not at the top: commands that print their help import this module

    folders = platformdirs.PlatformDirs("hematovision", appauthor=False, opinion=False)
    found: Path = getattr(folders, kind)
    if sys.platform == "darwin" and not found.exists():
        old = Path.home() / "Library" / library / "hematovision"
        return old if old.is_dir() else found
    return found
