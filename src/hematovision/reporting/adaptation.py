"""The report on adapting a model to unlabelled images: predictions before and after.

Without labels the accuracy is unknown, so the report shows review rates and changed predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.files import write_text
from hematovision.reporting.embedding import data_uri
from hematovision.reporting.report import GALLERY, ReportFacts, render_page

__all__ = ["ChangedExample", "PredictionChanges", "prediction_changes", "write_adaptation_report"]


@dataclass(frozen=True)
class PredictionChanges:
    """The predictions of two models for the same unlabelled images."""

    n: int  # number of images
    classes: tuple[str, ...]
    # how often each class was predicted
    before: dict[str, int]
    after: dict[str, int]
    moves: tuple[tuple[int, ...], ...]  # rows are predictions before, columns after
    # images sent for review
    review_before: int
    review_after: int

    @property
    def changed(self) -> int:
        """The number of images whose prediction changed."""
        return self.n - int(np.trace(np.array(self.moves)))

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {**asdict(self), "changed": self.changed}


@dataclass(frozen=True)
class ChangedExample:
    """An image (RGB, uint8) whose prediction changed, with its new confidence.

    `out_of_distribution`: whether it is unlike the adapted model's training images.
    """

    image: NDArray[np.uint8]
    before: str
    after: str
    confidence: float
    name: str
    out_of_distribution: bool = False


def prediction_changes(
    classes: Sequence[str],
    before: ArrayLike,
    after: ArrayLike,
    *,
    accepted_before: ArrayLike,
    accepted_after: ArrayLike,
) -> PredictionChanges:
    """Count the changed predictions.

    `before` and `after` (N,) are predicted class indices; `accepted_before` and `accepted_after`
    (N,) state which predictions are not sent for review.
    """
    rows, columns = np.asarray(before, np.int64), np.asarray(after, np.int64)
    moves = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(moves, (rows, columns), 1)
    return PredictionChanges(
        n=len(rows),
        classes=tuple(classes),
        before=dict(zip(classes, moves.sum(axis=1).tolist(), strict=True)),
        after=dict(zip(classes, moves.sum(axis=0).tolist(), strict=True)),
        moves=tuple(map(tuple, moves.tolist())),
        review_before=int((~np.asarray(accepted_before, bool)).sum()),
        review_after=int((~np.asarray(accepted_after, bool)).sum()),
    )


def write_adaptation_report(
    folder: Path,
    changes: PredictionChanges,
    facts: ReportFacts,
    examples: Sequence[ChangedExample] = (),
) -> Path:
    """Write ``report.html`` into `folder`, with up to `GALLERY` examples, and return its path.

    Raises `MissingExtraError` if Jinja2 is not installed. Raises `OutputError` if the file can't be
    written.
    """
    shown = [(example, data_uri(example.image)) for example in examples[:GALLERY]]
    page = render_page("adaptation", facts, facts.labs, c=changes, examples=shown)
    return write_text(folder / "report.html", page)
