"""What all paths of a service share: models, workers, counts, and whether it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hematovision.errors import ModelError, RequestError
from hematovision.server.metrics import Metrics
from hematovision.server.serving import Models, Seen, Served
from hematovision.server.settings import Settings
from hematovision.server.workers import Workers

__all__ = ["Engine"]

_LAST_WAIT = 1.5  # Seconds that threads get to finish at the end; none waits for their answers.


class Engine:
    """A service without its paths.

    Parameters
    ----------
    settings : Settings
    models : Models

    Attributes
    ----------
    ready : bool
        Whether every model has passed its self-test.
    closing : bool
        Whether no more requests are taken.
    failure : str
        Why the warm-up failed; else empty.
    reading : Semaphore
        Held while a body is read that takes the interpreter for itself.
    """

    def __init__(self, settings: Settings, models: Models) -> None:
        self.settings = settings
        self.models = models
        self.metrics = Metrics(lambda: self.workers.waiting)
        self.workers = Workers(settings.workers, settings.queue, self.metrics.dropped)
        self.ready = False
        self.closing = False
        self.failure = ""
        self.reading = asyncio.Semaphore(1)

    async def warm_up(self) -> None:
        """Run every model's self-test, and be ready if all pass."""
        try:
            for served in self.models.all:
                await asyncio.to_thread(served.warm_up)
        except ModelError as error:
            self.failure = str(error)
        else:
            self.ready = True

    def check_open(self) -> None:
        """Raise a `RequestError` unless requests are taken."""
        if self.closing:
            raise RequestError("closing", "The server is shutting down. Try another one.")
        if not self.ready:
            raise RequestError(
                "not ready", self.failure or "The server is starting up. Try again soon."
            )

    def check_ready(self) -> None:
        """Raise a `RequestError` unless requests are taken, and images are getting done.

        A thread that is at one image for longer than the deadline has no caller any more. While all
        of them are, others wait in vain.
        """
        self.check_open()
        if self.workers.stuck(self.settings.deadline):
            raise RequestError(
                "not ready",
                "Every thread has been busy with one image for longer than the deadline. Try "
                "another server, or try again later.",
            )

    async def answer(self, served: Served, works: Sequence[Callable[[], Seen]]) -> list[Seen]:
        """Answer for the images of a request, in order, and count the answers.

        Raises
        ------
        RequestError
            If there is no room for them.
        """
        seen = await self.workers.run(works)
        self.metrics.answers(served.name, (one.prediction for one in seen))
        return seen

    def close(self) -> None:
        """Take no more, and let the threads end.

        One that does not, as it is stuck in a decoder, is left to the end of the process.
        """
        self.closing = True
        self.workers.close(_LAST_WAIT)
