"""The values that the review store takes and returns, and checks on text from outside."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ReviewError
from hematovision.model.prediction import Prediction

__all__ = [
    "LEASE",
    "Agreement",
    "Batch",
    "Decision",
    "Deletion",
    "Kind",
    "Known",
    "ModelRef",
    "NewPrediction",
    "Queue",
    "RecordedPrediction",
    "Retention",
    "Reviewed",
    "Waiting",
    "check_png",
    "clean_name",
    "clean_person",
    "clean_sha256",
]

LEASE = timedelta(minutes=10)
"""How long a claimed cell is reserved; each decision of its reviewer renews the lease."""

Kind = Literal["class", "unusable", "undo"]

_MAX_NAME = 255  # characters; most file systems allow no more
_MAX_PERSON = 100
# Control characters (PostgreSQL rejects NUL), lone surrogates (file names that are not UTF-8), and
# line and paragraph separators.
_UNSAFE_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ModelRef:
    """A model whose predictions are recorded.

    Parameters
    ----------
    name : str
        Display name.
    sha256 : str
        Of the bundle's ONNX file; identifies the model.
    classes : tuple of str
        In the order of the model's outputs.
    max_novelty : float
        Predictions with a higher novelty score are sent for review.

    Raises
    ------
    ReviewError
        If `sha256` is not a SHA-256.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    max_novelty: float = 1.0

    def __post_init__(self) -> None:
        clean_sha256(self.sha256, f"Model {self.name!r}")


@dataclass(frozen=True)
class NewPrediction:
    """A prediction to record.

    Parameters
    ----------
    name : str
        File name as received, for display; never used as a path.
    sha256 : str
        Of the bytes received.
    prediction : Prediction
    png : bytes or None
        The image as PNG without metadata; None if it is not kept.

    Raises
    ------
    ReviewError
        If `sha256` is not a SHA-256, or `png` is not a PNG.
    """

    name: str
    sha256: str
    prediction: Prediction
    png: bytes | None

    def __post_init__(self) -> None:
        clean_sha256(self.sha256, f"Image {self.name!r}")
        if self.png is not None:
            check_png(self.png)


@dataclass(frozen=True)
class RecordedPrediction:
    """A prediction in the records.

    Parameters
    ----------
    id, batch : int
    name : str
        File name, for display.
    image : str
        SHA-256 of the bytes received.
    model : ModelRef
    label : str
        The predicted class.
    probabilities : tuple of float
        One per class of the model.
    confidence, novelty : float
        See `Prediction`.
    decision : {"accepted", "review"}
        The model's own, whatever reviewers decided later.
    reason : str
        Why a person should review it; else empty.
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
    """One step in the review of a prediction; steps are only ever appended.

    Parameters
    ----------
    prediction_id : int
    number : int
        1, 2, ... within the prediction.
    kind : {"class", "unusable", "undo"}
    reviewer : str
    at : datetime
        UTC.
    before, after : str or None
        The cell's label before and after this step: a class, or None if unusable. Before the first
        step it is the predicted class.
    """

    prediction_id: int
    number: int
    kind: Kind
    reviewer: str
    at: datetime
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Waiting:
    """A cell in the queue, claimed by the caller, with its image (PNG)."""

    prediction: RecordedPrediction
    png: bytes


@dataclass(frozen=True)
class Known:
    """The review state of an image, by its content.

    Parameters
    ----------
    is_waiting : bool
        Whether it is in the queue; else it was decided.
    label : str or None
        The decided class; None if unusable or waiting.
    reviewer : str
        Who decided; empty while it is waiting.
    """

    is_waiting: bool
    label: str | None = None
    reviewer: str = ""


@dataclass(frozen=True)
class Queue:
    """How many cells of a model are waiting, and how many of these are claimed."""

    model: ModelRef
    waiting: int
    claimed: int


@dataclass(frozen=True)
class Batch:
    """Predictions recorded together: their number, and how many were accepted or need review."""

    id: int
    at: datetime
    model: ModelRef
    n: int
    accepted: int
    review: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of a model with its reviewers, by the decisions in force.

    Parameters
    ----------
    model : ModelRef
    classes : tuple of str
    matrix : array of int64, (C, C)
        Rows are predicted classes, columns the reviewers'.
    unusable : int
        Cells that reviewers marked as unusable; not in the matrix.
    """

    model: ModelRef
    classes: tuple[str, ...]
    matrix: NDArray[np.int64]
    unusable: int


@dataclass(frozen=True)
class Reviewed:
    """A cell that a person has labelled, with its image (PNG), for export."""

    prediction: RecordedPrediction
    label: str
    reviewer: str
    at: datetime
    png: bytes


@dataclass(frozen=True)
class Retention:
    """Which images are kept, and how long.

    Parameters
    ----------
    images : {"review", "all", "none"}
        Images that are waiting for review or were decided; all images; none.
    days : int or None
        `ReviewStore.apply_retention` deletes older images; None keeps them.

    Raises
    ------
    ReviewError
        If `images` is another word, or `days` is not positive.
    """

    images: Literal["review", "all", "none"] = "review"
    days: int | None = None

    def __post_init__(self) -> None:
        is_valid = self.images in {"review", "all", "none"}
        if not is_valid or (self.days is not None and self.days < 1):
            raise ReviewError(
                "`images` must be 'review', 'all' or 'none', and `days` at least 1 or None. "
                f"Received: images={self.images!r}, days={self.days!r}"
            )


@dataclass(frozen=True)
class Deletion:
    """The trace of a deletion: how much, by whom and when, without file names or images.

    Parameters
    ----------
    id : int
    at : datetime
        UTC.
    by : str
        A person's name, or ``"automatic"``.
    what : str
        What was to be deleted.
    images : int
        Distinct images affected; their SHA-256 are kept with the trace.
    predictions : int
        Predictions deleted, with their decisions; 0 if only images were.
    """

    id: int
    at: datetime
    by: str
    what: str
    images: int
    predictions: int


def check_png(content: bytes) -> None:
    """Raise a `ReviewError` if `content` does not start with the PNG signature."""
    if not content.startswith(_PNG):
        raise ReviewError(
            f"An image to keep must be a PNG. Received {len(content)} bytes beginning with "
            f"{content[:8]!r}. Encode it with hematovision.images first."
        )


def clean_name(name: str) -> str:
    r"""Return a file name fit to store and show: unsafe characters replaced, the middle cut.

    >>> clean_name("cell\n1.png")
    'cell\ufffd1.png'
    """
    text = "".join("\ufffd" if unicodedata.category(c) in _UNSAFE_CATEGORIES else c for c in name)
    if len(text) <= _MAX_NAME:
        return text
    half = (_MAX_NAME - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def clean_person(name: str) -> str:
    """Return a person's name, normalised so that one person has one name.

    Raises
    ------
    ReviewError
        If it is empty or longer than 100 characters.
    """
    text = clean_name(" ".join(unicodedata.normalize("NFC", name).split()))
    if not text or len(text) > _MAX_PERSON:
        raise ReviewError(
            f"A person's name must have 1 to {_MAX_PERSON} characters. Received: {text[:40]!r} "
            f"({len(text)} characters). Enter the name that colleagues know you by."
        )
    return text


def clean_sha256(value: str, what: str) -> str:
    """Return `value` if it is a SHA-256 in lower-case hexadecimal.

    Raises
    ------
    ReviewError
        If it is not; the message starts with `what`.
    """
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise ReviewError(
            f"{what} has a SHA-256 of 64 lower-case hexadecimal digits. Received: {value[:80]!r}. "
            "Compute it with hematovision.files.sha256_bytes."
        )
    return value
