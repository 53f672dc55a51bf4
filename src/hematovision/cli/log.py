"""Log messages on stderr, as many as ``-v``, ``-vv`` and ``-q`` ask for.

Every module logs to a logger below ``hematovision``, and none configures logging: a program that
uses the package decides what happens to the messages. The CLI shows them while a command runs.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import localtime, strftime

from hematovision.cli.terminal import Styled, echo

__all__ = ["LEVELS", "is_quiet", "logged", "notice"]

LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
"""The level of ``-q``, no option, ``-v`` and ``-vv``."""

_LOGGER = logging.getLogger("hematovision")

# The user and password of an address: libraries may put the whole address into a message.
_PASSWORD = re.compile(r"(?<=://)[^\s/@]*@")


_PREFIXES = {logging.WARNING: Styled("Warning:", "yellow"), logging.ERROR: Styled("Error:", "red")}


@contextmanager
def logged(verbosity: int, *, bare: bool = False) -> Iterator[None]:
    """Show the package's log messages on stderr while the block runs.

    `verbosity` is a key of `LEVELS`. Warnings begin with "Warning:", unless `bare`. Debugging adds
    the time and the module to every line. Other loggers are left alone.
    """
    handler = _Lines(bare=bare, detailed=verbosity == max(LEVELS))
    before = _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(LEVELS[verbosity])
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(before)


def is_quiet() -> bool:
    """Return whether only errors are shown: no warnings, no progress."""
    return not _LOGGER.isEnabledFor(logging.WARNING)


def notice(text: str) -> None:
    """Print a line that is not a result on stderr, unless only errors are shown."""
    if not is_quiet():
        echo(text, err=True)


class _Lines(logging.Handler):
    """One line per message, above any progress bar, with control characters escaped."""

    def __init__(self, *, bare: bool, detailed: bool) -> None:
        super().__init__()
        self._bare, self._detailed = bare, detailed

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message; without a usable stderr, do nothing."""
        pieces: list[str | Styled] = []
        if self._detailed:
            time = strftime("%H:%M:%S", localtime(record.created))
            pieces.append(f"{time}.{record.msecs:03.0f} {record.name}: ")
        if not self._bare and record.levelno in _PREFIXES:
            pieces += [_PREFIXES[record.levelno], " "]
        pieces.append(_PASSWORD.sub("***@", record.getMessage()))
        with suppress(OSError):
            echo(*pieces, err=True)
