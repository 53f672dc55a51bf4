"""The engine behind the routes: models, a bounded queue with its threads, metrics, readiness."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hematovision.errors import ModelError, RequestError
from hematovision.model.inference import ImageResult
from hematovision.plurals import counted
from hematovision.server.models import Models
from hematovision.server.settings import Settings

__all__ = ["Engine", "Metrics", "WorkQueue"]

_NEWEST = 0.1  # weight of the last job in the mean duration
_LAST_WAIT = 1.5  # seconds for threads to finish at shutdown; no client waits for them
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

_Made = TypeVar("_Made")


class Engine:
    """A server without its routes.

    Attributes
    ----------
    ready : bool
        Whether every model has passed its self-test.
    closing : bool
        Whether new requests are rejected.
    failure : str
        Why the warm-up failed; otherwise empty.
    parsing : Semaphore
        Held while parsing a body that blocks the interpreter's lock.
    """

    def __init__(self, settings: Settings, models: Models) -> None:
        self.settings = settings
        self.models = models
        self.metrics = Metrics(lambda: self.queue.waiting)
        self.queue = WorkQueue(settings.workers, settings.queue, self.metrics.dropped)
        self.ready = False
        self.closing = False
        self.failure = ""
        self.parsing = asyncio.Semaphore(1)

    async def warm_up(self) -> None:
        """Run every model's self-test; set `ready` if all pass."""
        try:
            for served in self.models.all:
                await asyncio.to_thread(served.warm_up)
        except ModelError as error:
            self.failure = str(error)
        else:
            self.ready = True

    def check_open(self) -> None:
        """Raise a `RequestError` unless requests are accepted."""
        if self.closing:
            raise RequestError("closing", "The server is shutting down. Try another one.")
        if not self.ready:
            raise RequestError(
                "not ready", self.failure or "The server is starting up. Try again soon."
            )

    def check_ready(self) -> None:
        """Raise a `RequestError` unless requests are accepted and images are being processed.

        The client has disconnected if an image takes longer than the deadline. While every thread
        has such an image, no other request succeeds.
        """
        self.check_open()
        if self.queue.stuck(self.settings.deadline):
            raise RequestError(
                "not ready",
                "Every thread has been busy with one image for longer than the deadline. Try "
                "another server, or try again later.",
            )

    def close(self) -> None:
        """Reject new requests, and stop the threads.

        A thread stuck in a decoder ends with the process.
        """
        self.closing = True
        self.queue.close(_LAST_WAIT)


def _nothing() -> None:
    """Replace work that is done or dropped, to free its image."""


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class WorkQueue:
    """A bounded queue of images, shared by all requests, with worker threads.

    ONNX Runtime releases the interpreter's lock, and one image per thread is fastest on few cores
    (`model.session`). So each thread takes one image at a time.

    `threads` jobs run at once, and up to `size` may wait. `on_drop` is called with the number of a
    request's jobs that were dropped before they started, or stopped with a `CancelledError`.
    """

    def __init__(
        self, threads: int, size: int, on_drop: Callable[[int], object] = lambda _: None
    ) -> None:
        self.size = size
        self._on_drop = on_drop
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._began = [math.inf] * threads
        self._mean = 0.0  # seconds per job
        # Daemons, so that the process can end while a decoder is stuck.
        self._threads = [
            threading.Thread(target=self._serve, args=[i], name=f"predict-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """The number of jobs waiting for a thread."""
        return self._waiting

    @property
    def seconds_left(self) -> float:
        """How long the waiting jobs will take, if they are like those before and those running."""
        longest = max(self._mean, time.monotonic() - min(self._began))
        return self._waiting * longest / len(self._threads)

    @property
    def busy(self) -> bool:
        """Whether any thread has a job."""
        return any(began < math.inf for began in self._began)

    def stuck(self, seconds: float) -> bool:
        """Return whether every thread has had its job for more than `seconds`."""
        return max(self._began) < time.monotonic() - seconds

    async def run(self, works: Sequence[Callable[[], _Made]]) -> list[_Made]:
        """Do all jobs or none; return their results in order.

        If the caller is cancelled, by its deadline or because its client has disconnected, jobs
        that have not started are dropped.

        Raises `RequestError` if the queue has no space for all of them.
        """
        jobs = self._submit(works)
        try:
            return list(await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs)))
        finally:
            self._drop(jobs)

    def close(self, seconds: float) -> None:
        """Stop the threads after the queued jobs; wait up to `seconds` for all of them."""
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _submit(self, works: Sequence[Callable[[], _Made]]) -> list[_Job]:
        if len(works) > self.size:
            raise RequestError(
                "too large",
                f"The request has {len(works)} images; at most {self.size} are accepted at once. "
                "Send them in several requests.",
            )
        jobs = [_Job(work) for work in works]
        with self._lock:
            if self._waiting + len(jobs) > self.size:
                waiting = counted(self._waiting, "image")
                raise RequestError(
                    "full",
                    f"The queue has no space for {counted(len(jobs), 'image')}: {waiting} of at "
                    f"most {self.size} waiting. Try again later.",
                )
            self._waiting += len(jobs)
        for job in jobs:
            self._jobs.put(job)
        return jobs

    def _drop(self, jobs: list[_Job]) -> None:
        """Drop the jobs that have not started."""
        for job in jobs:
            job.future.cancel()  # no effect on jobs that have started
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
                continue  # already counted by `_drop`
            with self._lock:
                self._waiting -= 1
            work, job.work = job.work, _nothing
            self._began[number] = time.monotonic()
            try:
                job.future.set_result(work())
            except Exception as error:  # noqa: BLE001 - raised where the result is awaited
                if isinstance(error, CancelledError):
                    self._on_drop(1)
                job.future.set_exception(error)
            self._finish(number)
            del job, work  # otherwise the image is kept until the next job

    def _finish(self, number: int) -> None:
        seconds = time.monotonic() - self._began[number]
        self._began[number] = math.inf
        with self._lock:
            self._mean += (seconds - self._mean) * (_NEWEST if self._mean else 1)


class Metrics:
    """Prometheus metrics, without image names or content.

    `waiting` returns the number of waiting images.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "requests", "HTTP responses, by path and status.", "path", "status"
        )
        self._seconds = Histogram(
            "hematovision_request_seconds",
            "Seconds from a request's first byte to its response, by path.",
            ("path",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        labels = ("model", "label", "decision")
        self._predictions = [
            self._counter("predictions", "Predictions, by model, label and decision.", *labels),
            self._counter(
                "answers", "Deprecated, removed in 0.4: use hematovision_predictions.", *labels
            ),
        ]
        self._refused = self._counter("refused", "Rejected requests, by reason.", "reason")
        self._dropped = self._counter(
            "dropped", "Images dropped: deadline exceeded or client disconnected."
        )
        queue = Gauge(
            "hematovision_queue_length", "Images waiting for a thread.", registry=self._registry
        )
        queue.set_function(waiting)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request by the path of its route."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a rejected request."""
        self._refused.labels(reason).inc()

    def dropped(self, images: int) -> None:
        """Count images that were accepted and then dropped."""
        self._dropped.inc(images)

    def predictions(self, model: str, results: Iterable[ImageResult[Any]]) -> None:
        """Count the rows of images."""
        for row in (row for result in results for row in result.rows):
            values = row.values()
            labels = str(values.get("label", "")), str(values.get("decision", ""))
            for counter in self._predictions:
                counter.labels(model, *labels).inc()

    def page(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"hematovision_{name}", text, labels, registry=self._registry)
