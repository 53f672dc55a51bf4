"""Rate limiting of log messages, so that clients cannot fill the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Throttle", "throttled"]

_LOGGERS = ("asyncio", "uvicorn.error")
"""Those that write a line, or a traceback, whenever a caller makes something fail."""

_KINDS = 1000
"""Messages told apart; beyond that all are counted anew."""


@dataclass(slots=True)
class _Count:
    since: float
    written: int = 0
    left_out: int = 0


class Throttle(logging.Filter):
    """Lets a message through so often in so many seconds, and then says how many it left out.

    Parameters
    ----------
    most : int
    seconds : float
    """

    def __init__(self, most: int = 5, seconds: float = 60.0) -> None:
        super().__init__()
        self._most, self._seconds = most, seconds
        self._counts: dict[tuple[object, ...], _Count] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is written."""
        kind = record.exc_info[0] if record.exc_info else None
        # Of a message without arguments only the first line: others name sockets and addresses.
        key = (record.name, record.levelno, str(record.msg).partition("\n")[0], kind)
        if len(self._counts) > _KINDS:
            self._counts.clear()
        count = self._counts.setdefault(key, _Count(record.created))
        if record.created - count.since >= self._seconds:
            if count.left_out:
                record.msg = f"{record.getMessage()} ({count.left_out:,} more like this left out)"
                record.args = None
            count.since, count.written, count.left_out = record.created, 0, 0
        count.written += 1
        count.left_out += count.written > self._most
        return count.written <= self._most


@contextmanager
def throttled() -> Iterator[None]:
    """Throttle what the server's own libraries write while the block runs."""
    throttle = Throttle()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(throttle)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(throttle)
