"""Formatting bytes for error messages."""

from __future__ import annotations

__all__ = ["shown_bytes"]


def shown_bytes(data: bytes) -> str:
    """Return bytes as quoted text where they are plain text, else in hexadecimal.

    Examples
    --------
    >>> shown_bytes(b"<html>")
    '"<html>"'
    >>> shown_bytes(bytes([0, 255]))
    'the bytes 00 ff'
    """
    if data and all(32 <= byte < 127 for byte in data):
        return f'"{data.decode("ascii")}"'
    return f"the bytes {data.hex(' ')}"
