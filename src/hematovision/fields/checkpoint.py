"""Checkpoints: where a long analysis can be stopped, between the tiles and the cells of a field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.model.detector import CellFinder, Detections

__all__ = ["CheckedFinder", "Checkpoint", "Demand", "no_checkpoint"]

Checkpoint: TypeAlias = Callable[[], object]
"""Called often during an analysis; raises an error to stop it."""


def no_checkpoint() -> None:
    """Let the analysis continue."""


class Demand:
    """Whether somebody waits for results: a request, or a run that was not stopped by Ctrl-C.

    >>> with Demand() as demand:
    ...     demand.check()
    >>> demand.check()
    Traceback (most recent call last):
    ...
    concurrent.futures._base.CancelledError
    """

    def __init__(self) -> None:
        self._ended = False

    def __enter__(self) -> Demand:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """State that results are no longer needed."""
        self._ended = True

    def check(self) -> None:
        """Raise a `CancelledError` if results are no longer needed: a `Checkpoint`."""
        if self._ended:
            raise CancelledError


@dataclass(frozen=True)
class CheckedFinder:
    """A `CellFinder` that passes a checkpoint before each tile."""

    finder: CellFinder
    checkpoint: Checkpoint

    @property
    def classes(self) -> tuple[str, ...]:
        """See `CellFinder`."""
        return self.finder.classes

    @property
    def red_cell_px(self) -> float:
        """See `CellFinder`."""
        return self.finder.red_cell_px

    @property
    def multiple(self) -> int:
        """See `CellFinder`."""
        return self.finder.multiple

    @property
    def stride(self) -> int:
        """See `CellFinder`."""
        return self.finder.stride

    @property
    def min_confidence(self) -> float:
        """See `CellFinder`."""
        return self.finder.min_confidence

    @property
    def identity(self) -> Mapping[str, str | float]:
        """See `CellFinder`."""
        return self.finder.identity

    def candidates(self, pixels: NDArray[np.uint8]) -> Detections:
        """Return the peaks in an image (H, W, 3), or raise the error of the checkpoint."""
        self.checkpoint()
        return self.finder.candidates(pixels)

    def distinct(self, found: Detections) -> Detections:
        """Return `found` without duplicates."""
        return self.finder.distinct(found)
