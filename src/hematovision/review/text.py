"""Text from outside, made fit to be kept and shown: names of files, of people, of settings."""

from __future__ import annotations

import re
import unicodedata

from hematovision.errors import ReviewError

__all__ = ["MOST_NAME", "MOST_PERSON", "clean_name", "clean_person", "clean_sha256"]

MOST_NAME = 255
"""Characters kept of a file's name; most file systems allow no more."""
MOST_PERSON = 100
"""Characters of a person's name."""

# Control characters (PostgreSQL refuses NUL), halves of surrogate pairs (a Linux file name that is
# not UTF-8), and line and paragraph separators.
_UNFIT = {"Cc", "Cs", "Zl", "Zp"}


def clean_name(name: str) -> str:
    r"""Return a file's name as it is kept and shown: unfit characters replaced, the middle cut.

    >>> clean_name("cell\n1.png")
    'cell\ufffd1.png'
    """
    text = "".join("\ufffd" if unicodedata.category(c) in _UNFIT else c for c in name)
    if len(text) <= MOST_NAME:
        return text
    half = (MOST_NAME - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def clean_person(name: str) -> str:
    """Return a person's name with single spaces, so that one person is one name.

    Raises
    ------
    ReviewError
        If nothing is left of it, or it is longer than `MOST_PERSON` characters.
    """
    text = " ".join(unicodedata.normalize("NFC", name).split())
    text = clean_name(text)
    if not text or len(text) > MOST_PERSON:
        raise ReviewError(
            f"A person's name has 1 to {MOST_PERSON} characters. Received: {text[:40]!r} "
            f"({len(text)} characters). Give the name by which colleagues know you."
        )
    return text


def clean_sha256(value: str, what: str) -> str:
    """Return `value` if it is a SHA-256 in lower-case hexadecimal.

    Raises
    ------
    ReviewError
        If it is not; `what` says in the message whose it should have been.
    """
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise ReviewError(
            f"{what} has a SHA-256 of 64 lower-case hexadecimal digits. Received: {value[:80]!r}. "
            "Compute it with hematovision.files.sha256_bytes."
        )
    return value
