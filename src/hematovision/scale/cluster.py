"""Tasks on a Ray cluster whose machines may be lost.

Ray repeats a task on another node if its node is lost, but does not detect queued work lost with an
actor (decision 11). So work is done in tasks, which must be idempotent. Tasks that Ray gives up on
are reported at the end. If no task returns for a long time, an error is raised.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from hematovision import __version__
from hematovision.errors import ClusterError, HematoVisionError
from hematovision.extras import needs_extra

__all__ = ["Cluster", "Connection", "Done", "Packed", "connected"]

_RETRIES = 3
"""Number of times that Ray retries a task whose worker or node was lost."""

_AHEAD = 2
"""Tasks in flight per task that can run: workers never wait for the driver."""

_RESIZE_SECONDS = 5.0
"""Seconds between queries of the cluster's size, which can change."""

_OBJECT_STORE = 200 * 2**20
"""Bytes of a local cluster's object store: it contains the model and counts, never images."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Packed(Protocol):
    """An object that is sent to workers and opened there."""

    def open(self) -> Any:
        """Return the object that tasks use."""


@dataclass(frozen=True)
class Cluster:
    """Which cluster to use, and how."""

    # As for `ray.init`: ``host:port``, ``ray://host:port`` or ``auto``; by default the variable
    # ``RAY_ADDRESS``. Without either, a local cluster is started.
    address: str | None = None
    cpus: float = 1.0  # CPUs reserved per task; each task computes on one thread
    local_cpus: int | None = None  # CPUs of a local cluster; by default all
    stall_seconds: float = 600.0  # how long to wait for the next task to return


@dataclass(frozen=True)
class Done(Generic[_Item, _Result]):
    """A task that returned or was lost."""

    item: _Item  # its input
    result: _Result | None  # its result; None if it was lost
    lost: str = ""  # why it was lost; otherwise empty


class Connection:
    """A connected cluster; see `connected`."""

    def __init__(self, settings: Cluster) -> None:
        self._settings = settings
        self._ray = _ray()
        self._slots = 1
        self._measured = -_RESIZE_SECONDS

    def share(self, packed: Packed) -> object:
        """Send an object to the cluster; each worker process fetches and opens it once."""
        return self._ray.put(packed)

    def run(
        self, work: Callable[[Any, _Item], _Result], shared: object, items: Iterable[_Item]
    ) -> Iterator[Done[_Item, _Result]]:
        """Run `work` on each item, and yield results as they complete.

        Parameters
        ----------
        work : callable
            A module-level function, called on a worker as ``work(opened, item)``, where ``opened``
            is the opened shared object. It must be idempotent.
        shared : object
            From `share`.
        items : iterable
            Read lazily.

        Raises
        ------
        HematoVisionError
            Raised by `work`.
        ClusterError
            If no task returns for `Cluster.stall_seconds`, the cluster is gone, or `work` raised
            another error.
        """
        task = self._ray.remote(num_cpus=self._settings.cpus, max_retries=_RETRIES)(_call)
        waiting: dict[Any, _Item] = {}
        left = iter(items)
        try:
            while True:
                for item in islice(left, max(0, self._in_flight() - len(waiting))):
                    # The shared object is in a list, so that Ray does not fetch it for every task.
                    waiting[task.remote(work, [shared], item, __version__)] = item
                if not waiting:
                    return
                reference = self._next(list(waiting))
                yield self._taken(reference, waiting.pop(reference))
        finally:
            for reference in waiting:
                self._ray.cancel(reference, force=True)

    def _in_flight(self) -> int:
        if time.monotonic() - self._measured >= _RESIZE_SECONDS:
            with _reached():
                cpus = self._ray.cluster_resources().get("CPU", 0.0)
            self._slots = max(1, int(cpus / self._settings.cpus))
            self._measured = time.monotonic()
        return _AHEAD * self._slots

    def _next(self, references: list[Any]) -> Any:
        with _reached():
            ready, _ = self._ray.wait(
                references, num_returns=1, timeout=self._settings.stall_seconds
            )
        if not ready:
            raise ClusterError(
                f"No task returned for {self._settings.stall_seconds:.0f} s; {len(references)} are "
                f"waiting, and the cluster has {self._described()}. Finished work is kept: check "
                "`ray status`, and run the same command with --resume."
            )
        return ready[0]

    def _taken(self, reference: Any, item: _Item) -> Done[_Item, _Result]:
        exceptions = self._ray.exceptions
        try:
            return Done(item, self._ray.get(reference))
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, HematoVisionError):
                raise error.cause from error
            raise ClusterError(
                f"A worker failed: {error.cause!r}. Check that every node has HematoVision "
                f"{__version__} with the extra 'scale'."
            ) from error
        except exceptions.RayError as error:
            return Done(item, None, f"{type(error).__name__}: {str(error).splitlines()[0]}")

    def _described(self) -> str:
        resources = self._ray.cluster_resources()
        nodes = sum(bool(node["Alive"]) for node in self._ray.nodes())
        return f"{nodes} live nodes with {resources.get('CPU', 0):g} CPUs"


@contextmanager
def connected(settings: Cluster) -> Iterator[Connection]:
    """Connect to a cluster, or start one on this machine, until the block ends.

    An existing connection in this process is used and left open.

    Raises `MissingExtraError` if Ray is not installed. Raises `ClusterError` if the cluster cannot
    be reached or started.
    """
    ray = _ray()
    ours = not ray.is_initialized()
    if ours:
        with _reached():
            ray.init(**_options(settings))
    try:
        yield Connection(settings)
    finally:
        if ours:
            ray.shutdown()


def _options(settings: Cluster) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = settings.address or os.environ.get("RAY_ADDRESS")
    if address:
        return {"address": address, **quiet}
    return {
        "address": "local",
        "num_cpus": settings.local_cpus,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE,
        **quiet,
    }


def _ray() -> Any:
    # Disable usage statistics; Ray reads this when it starts a cluster.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with needs_extra("scale", "The engine 'ray'"):
        import ray
    return ray


@contextmanager
def _reached() -> Iterator[None]:
    """Convert connection errors to `ClusterError`."""
    try:
        yield
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"The Ray cluster cannot be reached: {error}. Check --ray-address (host:port of the "
            "head node, see `ray status`), or omit it to use only this machine. Finished "
            "work is kept: run the same command with --resume."
        ) from error


def _call(
    work: Callable[[Any, _Item], _Result], shared: list[Any], item: _Item, version: str
) -> _Result:
    """Run the work on a worker of the same version."""
    if version != __version__:
        raise ClusterError(
            f"A worker has HematoVision {__version__}, this machine {version}. Their predictions "
            "may differ: install the same version on all nodes."
        )
    return work(_opened(shared[0]), item)


@lru_cache(maxsize=1)
def _opened(reference: Any) -> Any:
    """Return the opened object of a reference; opened once per worker process."""
    import ray

    packed: Packed = ray.get(reference)
    return packed.open()
