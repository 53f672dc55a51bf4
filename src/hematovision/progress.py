"""How long work tells a door how far it is, without knowing what the door draws."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "no_progress"]


class Progress(Protocol):
    """Called with the number of things done, their total, and what is being done."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Take note of how far the work is."""


def no_progress(done: int, total: int, what: str, /) -> None:
    """Tell nobody."""
