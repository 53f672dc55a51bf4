"""Checking the API key of a request."""

from __future__ import annotations

import hmac

from starlette.types import Scope

from hematovision.errors import RequestError

__all__ = ["Key"]


class Key:
    """A key that requests have to show, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.

    Headers are bytes. Programs write a key that is not ASCII in UTF-8, or, as some libraries do
    with every text that fits, in Latin-1; both are taken.

    Parameters
    ----------
    key : str
    """

    def __init__(self, key: str) -> None:
        self._written = [key.encode("utf-8", "surrogateescape")]
        if not key.isascii() and all(ord(one) < 256 for one in key):
            self._written.append(key.encode("latin-1"))

    def check(self, scope: Scope) -> None:
        """Raise a `RequestError` unless a request shows the key."""
        for shown in _shown(scope):
            for written in self._written:
                if hmac.compare_digest(shown, written):
                    return
        raise RequestError(
            "key", "This server requires an API key: Authorization: Bearer KEY, or X-API-Key: KEY."
        )


def _shown(scope: Scope) -> list[bytes]:
    """Return the keys that a request shows; a scheme's case is of no account (RFC 9110, 11.1)."""
    shown = []
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            shown.append(value.strip())
        elif name == b"authorization":
            scheme, _, key = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                shown.append(key.strip())
    return shown
