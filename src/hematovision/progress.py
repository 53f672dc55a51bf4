"""How long work tells a door how far it is, without knowing what the door draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

__all__ = ["EpochProgress", "NoteProgress", "Progress", "no_progress", "tell"]


class Progress(Protocol):
    """Called with the number of things done, their total, and what is being done."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Take note of how far the work is."""


@runtime_checkable
class EpochProgress(Protocol):
    """A `Progress` that also wants to hear of every epoch of a training as it ends."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Take note of how far the work is."""

    def epoch(self, figures: Mapping[str, float], what: str, /) -> None:
        """Take note of one line of a training's history.

        It has ``epoch`` from 1, ``epochs`` at most, ``loss``, ``accuracy``, ``val_loss``, ...
        """


@runtime_checkable
class NoteProgress(Protocol):
    """A `Progress` that also shows sentences which a person should read before the work goes on."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Take note of how far the work is."""

    def note(self, sentence: str, /) -> None:
        """Show one sentence."""


def tell(progress: Progress, sentence: str) -> None:
    """Show a sentence before the work goes on, where `progress` can show any."""
    if isinstance(progress, NoteProgress):
        progress.note(sentence)


def no_progress(done: int, total: int, what: str, /) -> None:
    """Tell nobody."""
