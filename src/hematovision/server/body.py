"""The body of a request: read no further than allowed, and left in good order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

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

    Attributes
    ----------
    deserted : bool
        Whether the caller has gone before an answer began.
    """

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        self._headers = Headers(scope=scope)
        self._receive, self._most = receive, most
        self._taken = 0
        self.deserted = self._answered = False
        self._whole = asyncio.Event()
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
        CancelledError
            If the caller has gone half-way; `while_awaited` ends it.
        """
        message = await self._next()
        if message["type"] == "http.disconnect":
            self._desert(asyncio.current_task())
            await asyncio.sleep(0)  # Here it is cancelled.
        if self._ended:
            self._whole.set()
        return message

    @asynccontextmanager
    async def while_awaited(self) -> AsyncIterator[None]:
        """Cancel what is done inside as soon as the caller has gone; then go on behind it."""
        task = asyncio.current_task()
        watching = asyncio.create_task(self._watch(task))
        try:
            yield
        except asyncio.CancelledError:
            # Cancelled by somebody else, too: the deadline, or the end of the process.
            if not self.deserted or task is None or task.uncancel():
                raise
        finally:
            watching.cancel()

    async def finish(self) -> None:
        """Read what is left, unless it is too long or too slow: an answer begins."""
        self._answered = True
        if self._ended:
            return
        most = min(self._most, self._taken + _SPILL)
        with suppress(TimeoutError, RequestError):
            async with asyncio.timeout(_PATIENCE):
                while not self._ended and self._taken < most:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._taken > self._most:
            raise self._too_large()
        return message

    async def _watch(self, task: asyncio.Task[Any] | None) -> None:
        """Behind the body, all that a caller can still say is that it has gone."""
        await self._whole.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._answered:
            self._desert(task)

    def _desert(self, task: asyncio.Task[Any] | None) -> None:
        self.deserted = True
        if task is not None:
            task.cancel()

    def _too_large(self) -> RequestError:
        self._ended = True  # It is read no further.
        return RequestError(
            "too large",
            f"The body has more than {self._most:,} bytes, the limit. Send fewer images at once, "
            "or larger ones compressed.",
        )
