"""How long the stages of a command take, in its log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stage"]


@contextmanager
def stage(log: logging.Logger, what: str, *arguments: object) -> Iterator[None]:
    """Log the seconds that the block took, at level INFO; nothing if it fails.

    `what` is the subject of the sentence, such as ``"Training the head"``, with `arguments` as in
    `logging.Logger.info`.
    """
    start = time.perf_counter()
    yield
    log.info(f"{what} took %.1f s.", *arguments, time.perf_counter() - start)
