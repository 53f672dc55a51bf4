"""The values that the records of reviews take and give; none of them knows a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ReviewError
from hematovision.model.prediction import Prediction
from hematovision.review.text import clean_sha256

__all__ = [
    "LEASE",
    "Agreement",
    "Answer",
    "Batch",
    "Decision",
    "Deletion",
    "Keeping",
    "Kind",
    "Known",
    "ModelRef",
    "NewPrediction",
    "Queue",
    "Reviewed",
    "Waiting",
    "check_picture",
]

LEASE = timedelta(minutes=10)
"""How long a claimed cell is nobody else's; every decision of its reviewer renews it."""

Kind = Literal["class", "unusable", "undo"]

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ModelRef:
    """The model that gave an answer.

    Parameters
    ----------
    name : str
        What people call it.
    sha256 : str
        Of the bundle's ONNX file; this is what tells models apart.
    classes : tuple of str
        In the order of the model's outputs.
    max_novelty : float
        The novelty above which it sends an image to a person.

    Raises
    ------
    ReviewError
        If `sha256` is none.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    max_novelty: float = 1.0

    def __post_init__(self) -> None:
        clean_sha256(self.sha256, f"Model {self.name!r}")


@dataclass(frozen=True)
class NewPrediction:
    """An answer that is to be recorded.

    Parameters
    ----------
    name : str
        The file's name as received, for people only; never used as a path.
    sha256 : str
        Of the bytes received.
    prediction : Prediction
    picture : bytes or None
        The cell as PNG, metadata stripped; None where there is nothing to keep.

    Raises
    ------
    ReviewError
        If `sha256` is none, or `picture` is no PNG.
    """

    name: str
    sha256: str
    prediction: Prediction
    picture: bytes | None

    def __post_init__(self) -> None:
        clean_sha256(self.sha256, f"Image {self.name!r}")
        if self.picture is not None:
            check_picture(self.picture)


@dataclass(frozen=True)
class Answer:
    """A recorded answer.

    Parameters
    ----------
    id, batch : int
    name : str
        The file's name, for people.
    image : str
        SHA-256 of the bytes received.
    model : ModelRef
    label : str
        The model's answer.
    probabilities : tuple of float
        One per class of the model.
    confidence, novelty : float
        See `Prediction`.
    decision : {"accepted", "review"}
        The model's own, whatever people said later.
    reason : str
        Why a person should look; else empty.
    at : datetime
        UTC.
    """

    id: int
    batch: int
    name: str
    image: str
    model: ModelRef
    label: str
    probabilities: tuple[float, ...]
    confidence: float
    novelty: float
    decision: Literal["accepted", "review"]
    reason: str
    at: datetime


@dataclass(frozen=True)
class Decision:
    """One step in what people said of an answer; steps are only ever appended.

    Parameters
    ----------
    answer : int
    number : int
        1, 2, ... within the answer.
    kind : {"class", "unusable", "undo"}
    reviewer : str
    at : datetime
        UTC.
    before, after : str or None
        What the cell was taken for before this step and after it: a class, or None for unusable.
        Before the first step that is the model's label.
    """

    answer: int
    number: int
    kind: Kind
    reviewer: str
    at: datetime
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Waiting:
    """A cell that waits for a decision, claimed for the one who asked; `picture` is a PNG."""

    answer: Answer
    picture: bytes


@dataclass(frozen=True)
class Known:
    """What people have to do with an image already, by its content.

    Parameters
    ----------
    is_waiting : bool
        Whether it waits for a decision; else it was decided.
    label : str or None
        What a person decided; None if that it is unusable, or while it waits.
    reviewer : str
        Who decided; empty while it waits.
    """

    is_waiting: bool
    label: str | None = None
    reviewer: str = ""


@dataclass(frozen=True)
class Queue:
    """How many cells of a model wait, and how many of these somebody is looking at just now."""

    model: ModelRef
    waiting: int
    claimed: int


@dataclass(frozen=True)
class Batch:
    """Answers recorded together: `n` of them, so many accepted and so many for review."""

    id: int
    at: datetime
    model: ModelRef
    n: int
    accepted: int
    review: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far a model and people agree, by the decisions that stand.

    Parameters
    ----------
    model : ModelRef
    classes : tuple of str
    matrix : array of int64, (C, C)
        Rows are the model's answer, columns the person's.
    unusable : int
        Cells that a person found unusable; they are not in the matrix.
    """

    model: ModelRef
    classes: tuple[str, ...]
    matrix: NDArray[np.int64]
    unusable: int


@dataclass(frozen=True)
class Reviewed:
    """A cell on whose class a person has settled, with its picture (PNG), for export."""

    answer: Answer
    label: str
    reviewer: str
    at: datetime
    picture: bytes


@dataclass(frozen=True)
class Keeping:
    """Which pictures are kept, and how long.

    Parameters
    ----------
    images : {"review", "all", "none"}
        Of answers that wait for a person or that a person decided; of every answer; none at all.
    days : int or None
        Pictures of older answers are deleted by `apply_keeping`; None keeps them.

    Raises
    ------
    ReviewError
        If `images` is none of the three, or `days` is not positive.
    """

    images: Literal["review", "all", "none"] = "review"
    days: int | None = None

    def __post_init__(self) -> None:
        known = self.images in {"review", "all", "none"}
        if not known or (self.days is not None and self.days < 1):
            raise ReviewError(
                "`images` must be 'review', 'all' or 'none', and `days` at least 1 or None. "
                f"Received: images={self.images!r}, days={self.days!r}"
            )


@dataclass(frozen=True)
class Deletion:
    """The trace of a deletion: how much, by whom and when; never a name or a picture.

    Parameters
    ----------
    id : int
    at : datetime
        UTC.
    by : str
        A person's name, or ``"automatic"``.
    what : str
        What was asked to be deleted.
    images : int
        Different images of which something was deleted; their SHA-256 are kept with the trace.
    answers : int
        Answers deleted, with their decisions; 0 where only pictures were.
    """

    id: int
    at: datetime
    by: str
    what: str
    images: int
    answers: int


def check_picture(picture: bytes) -> None:
    """Raise a `ReviewError` if `picture` does not begin as a PNG does."""
    if not picture.startswith(_PNG):
        raise ReviewError(
            f"A picture to keep must be a PNG. Received {len(picture)} bytes beginning with "
            f"{picture[:8]!r}. Write it with hematovision.images first."
        )
