"""Progress callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

__all__ = ["EpochProgress", "NoteProgress", "Progress", "no_progress", "notify"]


class Progress(Protocol):
    """Called with the number of items done, their total, the name of the step, and the items' unit.

    Units are plural nouns: ``images``, ``fields``, ``batches``, ``bytes``, ... A `total` of 0 is
    unknown.
    """

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        """Report the progress."""


@runtime_checkable
class EpochProgress(Protocol):
    """A `Progress` that is also called after each epoch of training."""

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        """Report the progress."""

    def epoch(self, metrics: Mapping[str, float], what: str, /) -> None:
        """Report one epoch: ``epoch`` (from 1), ``epochs``, ``loss``, ``val_loss``, ..."""


@runtime_checkable
class NoteProgress(Protocol):
    """A `Progress` that also shows notes and warnings to the user."""

    def __call__(self, done: int, total: int, what: str, unit: str = "", /) -> None:
        """Report the progress."""

    def note(self, sentence: str, /) -> None:
        """Show one sentence."""


def notify(progress: Progress, sentence: str) -> None:
    """Show a sentence to the user, if `progress` supports notes."""
    if isinstance(progress, NoteProgress):
        progress.note(sentence)


def no_progress(done: int, total: int, what: str, unit: str = "", /) -> None:
    """Ignore the progress."""
