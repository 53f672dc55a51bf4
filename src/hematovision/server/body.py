"""The body of a request: read no further than allowed, and left in good order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from hematovision.errors import RequestError

__all__ = ["Body"]

# A server that answers and closes while the caller still sends makes the caller's system throw the
# answer away (RFC 9112, section 9.6). Most programs send all of a body before they read anything.
# What has not been read is therefore read behind the answer, within these limits, and forgotten.
_SILENCE = 2.0  # Seconds without a byte.
_SHORT = 2**20  # Bytes behind which a connection goes on to its next request.


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
    ended : bool
        Whether nothing more will come.
    """

    def __init__(self, scope: Scope, receive: Receive, most: int) -> None:
        self._headers = Headers(scope=scope)
        self._receive, self._most = receive, most
        self._taken = 0
        self.deserted = self._answered = False
        self._whole = asyncio.Event()
        # Without either of these there is none (RFC 9112, section 6.3).
        self.ended = not {"content-length", "transfer-encoding"} & set(self._headers.keys())
        declared = self._headers.get("Content-Length", "")
        self._declared = int(declared) if declared.isdecimal() and len(declared) < 20 else None
        # Who waits for a word before sending has sent nothing, and is not asked to.
        self._waits = self._headers.get("Expect", "").lower() == "100-continue"

    def check(self) -> None:
        """Raise a `RequestError` if, by its header, it will not be taken."""
        if self._headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError("not an image", "Compressed bodies are not taken. Send it as it is.")
        if self._declared is not None and self._declared > self._most:
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
        if self.ended:
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

    def answer(self) -> bool:
        """Note that an answer begins; tell whether the connection can go on behind it."""
        self._answered = True
        if not self.ended and self._waits:
            self.ended = True
            return False
        left = math.inf if self._declared is None else self._declared - self._taken
        return self.ended or left <= _SHORT

    async def linger(self, seconds: float) -> None:
        """Read and forget what still comes behind an answer, for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended:
                    async with asyncio.timeout(_SILENCE):
                        message = await self._receive()
                    self.ended = not message.get("more_body", False)

    async def _next(self) -> Message:
        self._waits = False
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
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
        return RequestError(
            "too large",
            f"The body has more than {self._most:,} bytes, the limit of this service "
            "(its option --max-bytes). Send fewer images at once, or larger ones compressed.",
        )
