"""What is counted, for Prometheus: never what an image shows or is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hematovision.model.prediction import Prediction

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """Counts of one service.

    Parameters
    ----------
    waiting : callable
        Returns how many images wait.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "hematovision_requests",
            "Requests answered, by path and status.",
            ("path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "hematovision_request_seconds",
            "Seconds from a request's beginning to its answer, by path.",
            ("path",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._answers = Counter(
            "hematovision_answers",
            "Answers for single images, by model, class and decision.",
            ("model", "label", "decision"),
            registry=self._registry,
        )
        self._refused = Counter(
            "hematovision_refused",
            "Requests that no model answered, by reason.",
            ("reason",),
            registry=self._registry,
        )
        self._dropped = Counter(
            "hematovision_dropped",
            "Images dropped before they were looked at: past the deadline, or nobody waits.",
            registry=self._registry,
        )
        queue = Gauge(
            "hematovision_queue_length", "Images that wait for a thread.", registry=self._registry
        )
        queue.set_function(waiting)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is that of its route, of which there are few."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that no model answered."""
        self._refused.labels(reason).inc()

    def dropped(self, images: int) -> None:
        """Count images that were taken and then dropped."""
        self._dropped.inc(images)

    def answers(self, model: str, predictions: Iterable[Prediction]) -> None:
        """Count answers for single images."""
        for one in predictions:
            self._answers.labels(model, one.label or "", one.decision).inc()

    def page(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
