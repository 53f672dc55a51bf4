"""The class of each detected cell, by detector and crop classifier, and whether to review it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.fields.checkpoint import Checkpoint, no_checkpoint
from hematovision.fields.rows import CELL_CLASSES
from hematovision.images.crops import crop
from hematovision.model.classifier import Classifier
from hematovision.model.thresholds import LOW_CONFIDENCE, decide
from hematovision.taxonomy import RBC_WBC_PLATELETS

__all__ = [
    "DISAGREE", "FRAMING", "SEVERAL", "UNCERTAIN_KIND", "CellClassifier", "ClassifiedCell",
    "combined", "is_doubtful", "square",
]  # fmt: skip

SEVERAL = "several classes likely"
DISAGREE = "detector and classifier disagree"
UNCERTAIN_KIND = "kind of white cell uncertain"

FRAMING = 360 / 83
"""Side of a white cell's crop, in diameters of a red cell: as in the images of PBC, which are 360
pixels wide with red cells of 83 pixels, and on which the subtype classifier was trained."""

_SECOND = 0.3
"""A class this likely, next to the predicted one, makes a cell doubtful."""

_GIANT = 1.3
"""Largest mean side of a giant platelet's box, in diameters of a red cell: larger cells stay white
cells. Giant platelets are about as large as red cells; neutrophils are 1.7 times as wide."""

_RED, _WHITE, _PLATELET = range(len(CELL_CLASSES))


@dataclass(frozen=True, eq=False)
class ClassifiedCell:
    """The class of a cell, and why it needs review."""

    label: int  # index in `CELL_CLASSES`
    confidence: float
    shares: NDArray[np.float64]  # (3,): probability of each class, given that it is a cell
    reasons: tuple[str, ...]  # for review; empty if accepted
    subtype: str = ""
    subtype_confidence: float | None = None


class CellClassifier:
    """Decides the classes of a field's cells; thread-safe.

    Parameters
    ----------
    crops : Classifier or None
        Of the classes `CELL_CLASSES`: a second opinion on doubtful cells, white cells and
        platelets.
    subtypes : Classifier or None
        Classifies white cells.
    min_confidence : float
        Cells less confident need review.
    checkpoint : Checkpoint, optional
        Called before each cell.
    """

    def __init__(
        self,
        crops: Classifier | None,
        subtypes: Classifier | None,
        min_confidence: float,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self._crops, self._subtypes, self._least = crops, subtypes, min_confidence
        self._checkpoint = checkpoint

    def classify(
        self,
        pixels: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        found: tuple[NDArray[np.float32], NDArray[np.intp]],
        diameter: float,
    ) -> list[ClassifiedCell]:
        """Decide the class of each cell.

        A white cell of which the subtype classifier is certain that it is a platelet becomes one,
        and needs review: the detector takes giant platelets for white cells. One that is too large
        for a platelet stays a white cell of no kind.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            The field as recorded.
        boxes : ndarray of float32, shape (N, 4)
            In pixels of the field.
        found : tuple of ndarray
            The detector's scores (N, 3) and labels (N,), in the order of `CELL_CLASSES`.
        diameter : float
            Of a red cell in pixels of the field.
        """
        scores, labels = found
        asked = is_doubtful(scores, labels)
        return [
            self._cell(pixels, box, one, int(label), diameter, ask=bool(ask))
            for box, one, label, ask in zip(boxes, scores, labels, asked, strict=True)
        ]

    def _cell(
        self,
        pixels: NDArray[np.uint8],
        box: NDArray[np.float32],
        scores: NDArray[np.float32],
        label: int,
        diameter: float,
        *,
        ask: bool,
    ) -> ClassifiedCell:
        self._checkpoint()
        opinion = self._opinion(pixels, box) if ask else None
        shares = combined(scores, opinion)
        best = int(shares.argmax())
        confidence = float(scores.max() * shares[best])  # that it is a cell, and of this class
        tests = {
            LOW_CONFIDENCE: confidence < self._least,
            SEVERAL: float(np.delete(shares, best).max()) > _SECOND,
            DISAGREE: opinion is not None and int(opinion.argmax()) != label,
        }
        reasons = [reason for reason, applies in tests.items() if applies]
        if best != _WHITE or self._subtypes is None:
            return ClassifiedCell(best, confidence, shares, tuple(reasons))
        kind, certainty, accepted = self._kind(self._subtypes, pixels, box, diameter)
        if not accepted:
            reasons.append(UNCERTAIN_KIND)
        elif RBC_WBC_PLATELETS.find(kind) == "Platelets":
            if float((box[2:] - box[:2]).mean()) > _GIANT * diameter:
                return ClassifiedCell(best, confidence, shares, (*reasons, UNCERTAIN_KIND))
            shares = certainty * np.eye(3)[_PLATELET] + (1 - certainty) * shares
            confidence = float(scores.max() * shares[_PLATELET])
            return ClassifiedCell(_PLATELET, confidence, shares, (DISAGREE,))
        return ClassifiedCell(best, confidence, shares, tuple(reasons), kind, certainty)

    def _opinion(
        self, pixels: NDArray[np.uint8], box: NDArray[np.float32]
    ) -> NDArray[np.float32] | None:
        """Return the crop classifier's probabilities, in the order of `CELL_CLASSES`."""
        if self._crops is None or float((box[2:] - box[:2]).min()) < 2:
            return None
        x0, y0, x1, y1 = map(float, box)
        cell = images.fit(crop(pixels, (x0, y0, x1, y1))[0], self._crops.size)
        order = [self._crops.classes.index(name) for name in CELL_CLASSES]
        return np.asarray(self._crops.predict_batch(cell[None]).probabilities[0][order], np.float32)

    def _kind(
        self,
        subtypes: Classifier,
        pixels: NDArray[np.uint8],
        box: NDArray[np.float32],
        diameter: float,
    ) -> tuple[str, float, bool]:
        """Return the kind of a white cell, its probability, and whether it is accepted."""
        cell = images.fit(square(pixels, box, FRAMING * diameter), subtypes.size)
        raw = subtypes.predict_batch(cell[None])
        best = int(raw.probabilities[0].argmax())
        kind, certainty = subtypes.classes[best], float(raw.probabilities[0][best])
        decision = decide(certainty, float(raw.novelty[0]), subtypes.thresholds)
        return kind, certainty, decision.decision == "accepted"


def is_doubtful(scores: NDArray[np.float32], labels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which cells the crop classifier looks at: all but red cells without a rival."""
    shares = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-9)
    own = shares[np.arange(len(shares)), labels]
    return np.asarray((labels != _RED) | (own < 1 - _SECOND))


def combined(
    scores: NDArray[np.float32], opinion: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """Return the probability of each class given that there is a cell, (3,), summing to 1.

    It is proportional to the detector's score of the class, times the probability that the crop
    classifier gives it, if asked. Both saw the same pixels, so the square root of the product is
    used: with independent experts it would be the product.
    """
    own = np.maximum(scores.astype(np.float64), 1e-6)
    own /= own.sum()
    if opinion is not None:
        own = np.sqrt(own * np.maximum(opinion, 1e-6))
        own /= own.sum()
    return np.asarray(own)


def square(pixels: NDArray[np.uint8], box: NDArray[np.float32], side: float) -> NDArray[np.uint8]:
    """Return the square around a box's centre; border pixels are repeated outside the field."""
    height, width = pixels.shape[:2]
    length = max(1, round(side))
    left = int(np.floor((float(box[0]) + float(box[2]) - length) / 2 + 0.5))
    top = int(np.floor((float(box[1]) + float(box[3]) - length) / 2 + 0.5))
    rows = np.arange(top, top + length).clip(0, height - 1)
    columns = np.arange(left, left + length).clip(0, width - 1)
    part: NDArray[np.uint8] = pixels[rows][:, columns]
    return part
