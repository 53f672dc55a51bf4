"""Work on threads, in order, no further ahead than needed: what every stream of answers is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["LOOK_AHEAD", "ahead"]

LOOK_AHEAD = 4
"""Images per worker in flight: enough to hide a slow file, too few to fill memory."""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def ahead(
    work: Callable[[_Given], _Made], items: Iterable[_Given], workers: int
) -> Generator[_Made, None, None]:
    """Do `work` on each item on threads, and give the results in the items' order.

    Parameters
    ----------
    work : callable
        Called on a thread of its own; what it raises is raised here, in its turn.
    items : iterable
        Read on the caller's thread, and only as far as needed, so that it may be endless.
    workers : int
        Threads. At most `LOOK_AHEAD` times as many items are in memory.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="classify")
    waiting: deque[Future[_Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= LOOK_AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Reached too when the caller stops half-way: nothing goes on behind its back.
        pool.shutdown(cancel_futures=True)
