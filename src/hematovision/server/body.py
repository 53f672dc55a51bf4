"""The body of a request: read no further than allowed, and left in good order."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from hematovision.errors import RequestError

__all__ = ["Body"]

# A server that answers and closes while the caller still sends makes the caller's system throw the
# answer away (RFC 9112, section 9.6). What has not been read is therefore read, within these
# limits, and forgotten.
_SPILL = 2**20  # Bytes.
_PATIENCE = 1.0  # Seconds.


class Body:
    """What comes behind the header of a request.

    Parameters
    ----------
    scope : dict
        As ASGI has it.
    receive : callable
        As ASGI has it.
    most : int
        Bytes that are read.
    """

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        self._headers = Headers(scope=scope)
        self._receive, self._most = receive, most
        self._taken = 0
        # Without either of these there is none (RFC 9112, section 6.3).
        self._ended = not {"content-length", "transfer-encoding"} & set(self._headers.keys())

    def check(self) -> None:
        """Raise a `RequestError` if, by its header, it will not be taken."""
        if self._headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError("not an image", "Compressed bodies are not taken. Send it as it is.")
        declared = self._headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared) > self._most:
            raise self._too_large()

    async def receive(self) -> Message:
        """Receive the next part.

        Raises
        ------
        RequestError
            If it is longer than allowed.
        """
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._taken > self._most:
            raise self._too_large()
        return message

    async def drain(self) -> None:
        """Read what is left, unless it is too long or too slow."""
        most = min(self._most, self._taken + _SPILL)
        with suppress(TimeoutError, RequestError):
            async with asyncio.timeout(_PATIENCE):
                while not self._ended and self._taken < most:
                    await self.receive()

    def _too_large(self) -> RequestError:
        self._ended = True  # It is read no further.
        return RequestError(
            "too large",
            f"The body has more than {self._most:,} bytes, the limit. Send fewer images at once, "
            "or larger ones compressed.",
        )
