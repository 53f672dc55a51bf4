"""A bounded queue in front of threads: the only place where images wait.

ONNX Runtime lets go of the interpreter's lock, and one image on one thread was measured to be the
fastest way on few cores (`model.session`). So the images of all requests stand in one queue, and
the threads take them one by one: the micro-batch is what runs at once.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

from hematovision.errors import RequestError

__all__ = ["Workers"]

_Made = TypeVar("_Made")


def _nothing() -> None:
    """Stand in the place of work that is done or dropped, so that no image is kept."""


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class Workers:
    """Threads that work off a queue.

    Parameters
    ----------
    threads : int
        How many jobs are worked on at once.
    room : int
        How many may wait.
    on_drop : callable
        Called with how many jobs of a request were dropped before they began.
    """

    def __init__(
        self, threads: int, room: int, on_drop: Callable[[int], object] = lambda _: None
    ) -> None:
        self.room = room
        self._on_drop = on_drop
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._began = [math.inf] * threads
        # Daemons: a process that is told to end does so, whatever a decoder is busy with.
        self._threads = [
            threading.Thread(target=self._serve, args=[i], name=f"answer-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return self._waiting

    @property
    def busy(self) -> bool:
        """Whether any thread is at a job."""
        return any(began < math.inf for began in self._began)

    def stuck(self, seconds: float) -> bool:
        """Tell whether every thread has been at its job for longer than so many seconds."""
        return max(self._began) < time.monotonic() - seconds

    async def run(self, works: Sequence[Callable[[], _Made]]) -> list[_Made]:
        """Do all jobs, or take none; return what they made, in order.

        When the caller is cancelled, as at its deadline or when nobody waits for its answer any
        more, jobs that have not begun are dropped.

        Raises
        ------
        RequestError
            If there is not room for all of them.
        """
        jobs = self._take(works)
        try:
            return list(await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs)))
        finally:
            self._drop(jobs)

    def close(self, seconds: float) -> None:
        """Let the threads end after what is queued, and wait so long for all of them."""
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _take(self, works: Sequence[Callable[[], _Made]]) -> list[_Job]:
        if len(works) > self.room:
            raise RequestError(
                "too large",
                f"The request has {len(works)} images; at most {self.room} are accepted at once. "
                "Send them in several requests.",
            )
        jobs = [_Job(work) for work in works]
        with self._lock:
            if self._waiting + len(jobs) > self.room:
                raise RequestError(
                    "full",
                    f"{self._waiting} images are waiting; the queue holds {self.room}. "
                    "Try again later.",
                )
            self._waiting += len(jobs)
        for job in jobs:
            self._jobs.put(job)
        return jobs

    def _drop(self, jobs: list[_Job]) -> None:
        """Make room of the jobs that have not begun."""
        for job in jobs:
            job.future.cancel()  # Nothing, where it has begun or is done.
        dropped = [job for job in jobs if job.future.cancelled()]
        for job in dropped:
            job.work = _nothing
        if dropped:
            with self._lock:
                self._waiting -= len(dropped)
            self._on_drop(len(dropped))

    def _serve(self, number: int) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue  # Nobody waits for it any more; `_drop` has counted it.
            with self._lock:
                self._waiting -= 1
            work, job.work = job.work, _nothing
            self._began[number] = time.monotonic()
            try:
                job.future.set_result(work())
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
                job.future.set_exception(error)
            self._began[number] = math.inf
            del job, work  # Else the image is kept until the next one comes.
