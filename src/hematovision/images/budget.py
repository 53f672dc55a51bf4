"""A budget of pixels that threads share while they decode images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["PixelBudget"]

_SMALL = 2**20


class PixelBudget:
    """A number of pixels that threads share.

    Images of ordinary cells never wait. Large ones are decoded together as far as they fit; one
    that is larger than the budget is decoded alone.

    Parameters
    ----------
    pixels : int
        By default three images of five megapixels.

    Examples
    --------
    >>> budget = PixelBudget()
    >>> with budget.taken(8192 * 8192):
    ...     pass
    """

    def __init__(self, pixels: int = 2**24) -> None:
        self._pixels = self._free = pixels
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for an image of that size, and take it for the block."""
        if pixels <= _SMALL:
            yield
            return
        share = min(pixels, self._pixels)
        with self._turn, self._changed:  # In turn: a large one is not passed by all others.
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify()
