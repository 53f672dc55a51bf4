"""The class of each detected cell, by detector and crop classifier, and whether to review it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.fields.checkpoint import Checkpoint, no_checkpoint
from hematovision.fields.finding import FieldContext
from hematovision.fields.framing import PBC, cut_out
from hematovision.fields.rows import CELL_CLASSES
from hematovision.images.crops import crop
from hematovision.model.classifier import Classifier
from hematovision.model.thresholds import LOW_CONFIDENCE, decide
from hematovision.taxonomy import RBC_WBC_PLATELETS

__all__ = [
    "DISAGREE", "SEVERAL", "UNCERTAIN_KIND", "CellClassifier", "ClassifiedCell", "combined",
    "is_doubtful",
]  # fmt: skip

SEVERAL = "several classes likely"
DISAGREE = "detector and classifier disagree"
UNCERTAIN_KIND = "kind of white cell uncertain"

_SECOND = 0.3
"""A class this likely, next to the predicted one, makes a cell doubtful."""

_AT_ONCE = 64
"""Cells classified together: of a field, all white cells."""

_RED, _WHITE = CELL_CLASSES.index("RBC"), CELL_CLASSES.index("WBC")


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
        With the classes `CELL_CLASSES`. Checks doubtful cells, white cells and platelets.
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
        context: FieldContext,
    ) -> list[ClassifiedCell]:
        """Decide the class of each cell.

        The kind of a white cell is uncertain if its classifier does not accept its own prediction,
        or predicts a class that is not a white cell, such as a platelet. A nucleated red cell is a
        white cell for the detector and a red cell for the crop classifier. If it is accepted as an
        erythroblast, the two agree, and the cell stays among the white cells, with that kind.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            The field as recorded.
        boxes : ndarray of float32, shape (N, 4)
            In pixels of the field.
        found : tuple of ndarray
            The detector's scores (N, 3) and labels (N,), in the order of `CELL_CLASSES`.
        context : FieldContext
            The scale and the stain of the field.
        """
        opinions = self._opinions(pixels, boxes, is_doubtful(*found))
        cells = [
            self._cell(scores, int(label), opinion)
            for scores, label, opinion in zip(*found, opinions, strict=True)
        ]
        if self._subtypes is None:
            return cells
        scores, labels = found
        whites = [i for i, cell in enumerate(cells) if _WHITE in (cell.label, int(labels[i]))]
        kinds = self._kinds(self._subtypes, pixels, boxes[whites], context)
        for place, (kind, certainty, accepted) in zip(whites, kinds, strict=True):
            is_red = accepted and _is_red(kind) and labels[place] == _WHITE
            if is_red and cells[place].label in (_RED, _WHITE):
                cells[place] = self._cell(scores[place], _WHITE, None)
            if cells[place].label == _WHITE:
                cells[place] = _with_kind(cells[place], kind, certainty, accepted)
        return cells

    def _cell(
        self, scores: NDArray[np.float32], label: int, opinion: NDArray[np.float32] | None
    ) -> ClassifiedCell:
        shares = combined(scores, opinion)
        best = int(shares.argmax())
        confidence = float(scores.max() * shares[best])  # that it is a cell, and of this class
        tests = {
            LOW_CONFIDENCE: confidence < self._least,
            SEVERAL: float(np.delete(shares, best).max()) > _SECOND,
            DISAGREE: opinion is not None and int(opinion.argmax()) != label,
        }
        reasons = tuple(reason for reason, applies in tests.items() if applies)
        return ClassifiedCell(best, confidence, shares, reasons)

    def _opinions(
        self,
        pixels: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        asked: NDArray[np.bool_],
    ) -> list[NDArray[np.float32] | None]:
        """Return the crop classifier's probabilities of cells `asked` (N,), else None.

        They are in the order of `CELL_CLASSES`.
        """
        opinions: list[NDArray[np.float32] | None] = [None] * len(boxes)
        if self._crops is None:
            return opinions
        order = [self._crops.classes.index(name) for name in CELL_CLASSES]
        places = np.flatnonzero(asked & ((boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 2)).tolist()
        for some in _batches(places):
            batch = np.stack([self._crop(self._crops, pixels, boxes[place]) for place in some])
            probabilities = self._crops.predict_batch(batch).probabilities[:, order]
            for place, row in zip(some, probabilities, strict=True):
                opinions[place] = np.asarray(row, np.float32)
        return opinions

    def _crop(
        self, crops: Classifier, pixels: NDArray[np.uint8], box: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        self._checkpoint()
        x0, y0, x1, y1 = map(float, box)
        return images.fit(crop(pixels, (x0, y0, x1, y1))[0], crops.size)

    def _kinds(
        self,
        subtypes: Classifier,
        pixels: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        context: FieldContext,
    ) -> Iterator[tuple[str, float, bool]]:
        """Yield the kind of each white cell, its probability, and whether it is accepted."""
        framing = subtypes.framing or PBC
        for some in _batches(range(len(boxes))):
            batch = []
            for place in some:
                self._checkpoint()
                batch.append(cut_out(pixels, boxes[place], context, framing, subtypes.size).pixels)
            raw = subtypes.predict_batch(np.stack(batch))
            for row, novelty in zip(raw.probabilities, raw.novelty, strict=True):
                best = int(row.argmax())
                decision = decide(float(row[best]), float(novelty), subtypes.thresholds)
                yield subtypes.classes[best], float(row[best]), decision.decision == "accepted"


def _is_red(kind: str) -> bool:
    """Return whether a kind of nucleated cell is a red cell by lineage."""
    return RBC_WBC_PLATELETS.find(kind) == "RBC"


def _batches(places: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(places), _AT_ONCE):
        yield places[start : start + _AT_ONCE]


def _with_kind(
    cell: ClassifiedCell,
    kind: str,
    certainty: float,
    accepted: bool,  # noqa: FBT001 - of `_kinds`
) -> ClassifiedCell:
    """Return a white cell with its kind, or for review if that is uncertain."""
    if RBC_WBC_PLATELETS.find(kind) == "Platelets":
        return replace(cell, reasons=(*cell.reasons, UNCERTAIN_KIND))
    reasons = cell.reasons if accepted else (*cell.reasons, UNCERTAIN_KIND)
    return replace(cell, reasons=reasons, subtype=kind, subtype_confidence=certainty)


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
