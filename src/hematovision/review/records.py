"""The review store's value types, and checks on external text."""

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
    "LEASE", "Agreement", "Batch", "Decision", "Deletion", "Kind", "Known", "ModelRef",
    "NewPrediction", "Queue", "RecordedPrediction", "Retention", "Reviewed", "Waiting", "check_png",
    "clean_name", "clean_person", "clean_sha256",
]  # fmt: skip

LEASE = timedelta(minutes=10)
"""How long a claimed cell is reserved; each decision of its reviewer renews the lease."""

Kind = Literal["class", "unusable", "undo"]

_MAX_NAME = 255  # characters; the limit of most file systems
_MAX_PERSON = 100
# Control characters (PostgreSQL rejects NUL), lone surrogates (file names that are not UTF-8), and
# line and paragraph separators.
_UNSAFE_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ModelRef:
    """A model whose predictions are recorded.

    Raises `ReviewError` if `sha256` is not a SHA-256.
    """

    name: str  # display name
    sha256: str  # of the bundle's ONNX file; identifies the model
    classes: tuple[str, ...]  # in the order of the model's outputs
    max_novelty: float = 1.0  # predictions with a higher novelty score are sent for review

    def __post_init__(self) -> None:
        clean_sha256(self.sha256, f"Model {self.name!r}")


@dataclass(frozen=True)
class NewPrediction:
    """A prediction to record.

    Raises `ReviewError` if `sha256` is not a SHA-256, or `png` is not a PNG.
    """

    name: str  # file name as received, for display; never used as a path
    sha256: str  # of the bytes received
    prediction: Prediction
    png: bytes | None  # the image as PNG without metadata; None if it is not kept

    def __post_init__(self) -> None:
        clean_sha256(self.sha256, f"Image {self.name!r}")
        if self.png is not None:
            check_png(self.png)


@dataclass(frozen=True)
class RecordedPrediction:
    """A prediction in the records; see `NewPrediction` and `Prediction`.

    `image` is the SHA-256 of the bytes received, `decision` is the model's, and `at` is in UTC.
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
    """One step in the review of a prediction; steps are never changed.

    `number` counts from 1 within the prediction. `before` and `after` are the cell's label: at
    first the predicted class, then a class or None (unusable). `at` is in UTC.
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
    """The review state of an image, by its content: waiting, or decided by `reviewer`.

    The decided `label` is None if the image is unusable or waiting.
    """

    is_waiting: bool
    label: str | None = None
    reviewer: str = ""


@dataclass(frozen=True)
class Queue:
    """The number of a model's waiting cells, and how many of them are claimed."""

    model: ModelRef
    waiting: int
    claimed: int


@dataclass(frozen=True)
class Batch:
    """A batch of predictions, with counts of accepted and flagged ones."""

    id: int
    at: datetime
    model: ModelRef
    n: int
    accepted: int
    review: int


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of a model with its reviewers, by the decisions in force.

    `matrix`, int64 (C, C), has predicted classes as rows and the reviewers' as columns; `unusable`
    cells are not in it.
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
    """Which images are kept, and for how long.

    Raises `ReviewError` if `images` is not one of the options, or `days` is not positive.
    """

    # images that are waiting for review or decided, all images, or none
    images: Literal["review", "all", "none"] = "review"
    days: int | None = None  # `ReviewStore.apply_retention` deletes older images; None keeps them

    def __post_init__(self) -> None:
        is_valid = self.images in {"review", "all", "none"}
        if not is_valid or (self.days is not None and self.days < 1):
            raise ReviewError(
                "`images` must be 'review', 'all' or 'none', and `days` at least 1 or None. "
                f"Received: images={self.images!r}, days={self.days!r}"
            )


@dataclass(frozen=True)
class Deletion:
    """The record of a deletion: counts, person and time (UTC), without file names or images.

    `images` counts distinct images, whose SHA-256 are kept; `predictions` is 0 if only images were
    deleted.
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
    r"""Return a file name that is safe to store and show; long names are cut in the middle.

    >>> clean_name("cell\n1.png")
    'cell\ufffd1.png'
    """
    text = "".join("\ufffd" if unicodedata.category(c) in _UNSAFE_CATEGORIES else c for c in name)
    if len(text) <= _MAX_NAME:
        return text
    half = (_MAX_NAME - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def clean_person(name: str) -> str:
    """Return a person's name in a normalised form.

    Raises `ReviewError` if it is empty or longer than 100 characters.
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

    Raises `ReviewError` if it is not; the message starts with `what`.
    """
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise ReviewError(
            f"{what} has a SHA-256 of 64 lower-case hexadecimal digits. Received: {value[:80]!r}. "
            "Compute it with hematovision.files.sha256_bytes."
        )
    return value
