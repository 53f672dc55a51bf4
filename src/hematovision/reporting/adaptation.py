"""What adapting to unlabelled images changed: answers before and after, and a page to look at.

Without labels nobody knows which answers are right. What can be known is how many images a person
would have to look at, and which answers are other ones now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.files import write_text
from hematovision.model.prediction import NOT_RECOGNISED
from hematovision.reporting import wording
from hematovision.reporting.pages import environment
from hematovision.reporting.pictures import data_uri
from hematovision.reporting.report import GALLERY, ReportFacts

__all__ = ["ChangedExample", "PredictionChanges", "prediction_changes", "write_adaptation_report"]


@dataclass(frozen=True)
class PredictionChanges:
    """The answers of two models for the same unlabelled images.

    Parameters
    ----------
    n : int
        Images.
    classes : tuple of str
    before, after : dict of str to int
        How often each class was the answer.
    moves : tuple of tuple of int
        Rows are the answers before, columns those after.
    review_before, review_after : int
        Images sent to a person.
    """

    n: int
    classes: tuple[str, ...]
    before: dict[str, int]
    after: dict[str, int]
    moves: tuple[tuple[int, ...], ...]
    review_before: int
    review_after: int

    @property
    def changed(self) -> int:
        """How many images have another answer now."""
        return self.n - int(np.trace(np.array(self.moves)))

    def to_json(self) -> dict[str, Any]:
        """Return values that JSON can say."""
        return {**asdict(self), "changed": self.changed}


@dataclass(frozen=True)
class ChangedExample:
    """An image whose answer changed, to look at.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    before, after : str
        The answers.
    confidence : float
        The probability of the answer after.
    name : str
        The file, as it should be shown.
    unlike : bool
        Whether the image is unlike the images that the adapted model knows.
    """

    image: NDArray[np.uint8]
    before: str
    after: str
    confidence: float
    name: str
    unlike: bool = False


def prediction_changes(
    classes: Sequence[str],
    before: ArrayLike,
    after: ArrayLike,
    *,
    accepted_before: ArrayLike,
    accepted_after: ArrayLike,
) -> PredictionChanges:
    """Count what changed.

    Parameters
    ----------
    classes : sequence of str
        The C class names.
    before, after : array_like of int, shape (N,)
        Answered class indices.
    accepted_before, accepted_after : array_like of bool, shape (N,)
        Which answers no person needs to look at.
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
    pictures: Sequence[ChangedExample] = (),
) -> Path:
    """Write ``report.html`` into `folder`, one file without scripts, like that of a training.

    Parameters
    ----------
    folder : Path
    changes : PredictionChanges
    facts : ReportFacts
        What the page says besides figures.
    pictures : sequence of ChangedExample
        The first 24 are shown.

    Raises
    ------
    MissingExtraError
        If Jinja2 is not installed.
    OutputError
        If the place cannot be written.
    """
    page = (
        environment().get_template("adaptation.html.j2").render(_content(changes, facts, pictures))
    )
    return write_text(folder / "report.html", page)


def _content(
    changes: PredictionChanges, facts: ReportFacts, pictures: Sequence[ChangedExample]
) -> Mapping[str, Any]:
    return {
        "c": changes,
        "facts": facts,
        "drawn": wording.DRAWN if wording.are_synthetic(facts.labs) else None,
        "not_a_device": wording.NOT_A_DEVICE,
        "not_recognised": NOT_RECOGNISED,
        "pictures": [(picture, data_uri(picture.image)) for picture in pictures[:GALLERY]],
    }
