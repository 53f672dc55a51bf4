"""Precision-recall and FROC curves of one class, and their resampling by field.

Found cells of all fields are sorted by falling confidence; cumulative counts of matched and false
cells are the curves. A weight per field (how often a bootstrap sample contains it) multiplies its
counts, so that a resampled curve needs no new matching. The average precision that is reported is
that of faster-coco-eval, the reference implementation of COCO's metric; the curves give its
intervals.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation.detection.matching import (
    EvaluatedField,
    by_confidence,
    match_centres,
    match_overlaps,
)
from hematovision.extras import needs_extra

__all__ = [
    "FALSE_RATES", "OVERLAPS", "RECALLS", "Ranking", "coco_average_precision", "rank_by_centre",
    "rank_by_overlap",
]  # fmt: skip

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""The thresholds of COCO's average precision at 0.5:0.95."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""COCO reads the precision at these recalls."""

FALSE_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False cells per field at which the sensitivity is read: those of the LUNA16 challenge (Setio et
al. 2017, Medical Image Analysis 42:1-13)."""

_AT_ONCE = 2**22  # numbers in one block of resampled curves

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The found cells of one class in all fields, most confident first."""

    confidence: _Floats  # shape (N,)
    matched: NDArray[np.bool_]  # shape (T, N): for each rule of matching
    field: NDArray[np.int64]  # shape (N,): positions of the fields
    annotated: NDArray[np.int64]  # shape (F,): annotated cells of each field

    def average_precision(self, weights: _Floats | None = None) -> _Floats:
        """Return COCO's average precision for each rule of matching.

        The mean of 101 precisions, each the highest at this recall or a higher one.

        Parameters
        ----------
        weights : ndarray, shape (B, F), optional
            How often each of B samples contains each field; by default, once.

        Returns
        -------
        ndarray, shape (B, T)
            NaN for samples without annotated cells; B is 1 without `weights`.
        """
        return self._of_samples(self._average_precision, weights)

    def sensitivity(self, weights: _Floats | None = None) -> _Floats:
        """Return the sensitivity at `FALSE_RATES`, by the first rule of matching.

        The highest at a threshold of the confidence with no more false cells per field.

        `weights` as in `average_precision`. Returns shape (B, 7).
        """
        return self._of_samples(self._sensitivity, weights)

    def precision_curve(self, rule: int = 0) -> _Floats:
        """Return the precision at `RECALLS`, shape (101,); 0 beyond the highest recall."""
        once = np.ones((1, len(self.annotated)))
        precision: _Floats = _read(*self._precision(once, rule))[0]
        return precision

    def froc_curve(self) -> tuple[_Floats, _Floats]:
        """Return false cells per field and sensitivity at each threshold, both increasing."""
        matched, false = np.cumsum(self.matched[0]), np.cumsum(~self.matched[0])
        ends = self._ends()
        total = max(int(self.annotated.sum()), 1)
        return false[ends] / len(self.annotated), matched[ends] / total

    def _of_samples(self, score: Callable[[_Floats], _Floats], weights: _Floats | None) -> _Floats:
        if weights is None:
            weights = np.ones((1, len(self.annotated)))
        rows = max(1, _AT_ONCE // max(1, len(self.confidence)))
        blocks = [weights[i : i + rows] for i in range(0, max(1, len(weights)), rows)]
        return np.concatenate([score(block) for block in blocks])

    def _average_precision(self, weights: _Floats) -> _Floats:
        results = np.full((len(weights), len(self.matched)), np.nan)
        has_cells = weights @ self.annotated > 0
        for rule in range(len(self.matched)):
            precision = _read(*self._precision(weights, rule))
            results[has_cells, rule] = precision.mean(axis=1)[has_cells]
        return results

    def _precision(self, weights: _Floats, rule: int) -> tuple[_Floats, _Floats]:
        """Return the highest precision from each cell on, and the recall: both (B, N)."""
        each = weights[:, self.field]
        matched = np.cumsum(each * self.matched[rule], axis=1)
        found = np.cumsum(each, axis=1)
        precision = np.divide(matched, found, out=np.zeros_like(matched), where=found > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        totals = np.maximum(weights @ self.annotated, 1e-9)
        return envelope, matched / totals[:, None]

    def _sensitivity(self, weights: _Floats) -> _Floats:
        each = weights[:, self.field]
        ends = self._ends()
        matched = np.cumsum(each * self.matched[0], axis=1)[:, ends]
        false = np.cumsum(each * ~self.matched[0], axis=1)[:, ends]
        fields, totals = weights.sum(axis=1), weights @ self.annotated
        results = np.full((len(weights), len(FALSE_RATES)), np.nan)
        for row in np.flatnonzero((totals > 0) & (fields > 0)):
            limits = np.array(FALSE_RATES) * fields[row] + 1e-9
            last = np.searchsorted(false[row], limits, side="right") - 1
            reached = np.where(last >= 0, np.append(matched[row], 0.0)[last], 0.0)
            results[row] = reached / totals[row]
        return results

    def _ends(self) -> NDArray[np.int64]:
        """Return the last positions of equal confidences: thresholds can't separate them."""
        different = np.flatnonzero(np.diff(self.confidence))
        return np.append(different, len(self.confidence) - 1)[: len(self.confidence)]


def rank_by_overlap(
    fields: Sequence[EvaluatedField], index: int, thresholds: _Floats = OVERLAPS
) -> Ranking:
    """Rank the found cells of class `index`, matched at each threshold of overlap."""

    def match(field: EvaluatedField) -> NDArray[np.bool_]:
        found = field.found.of_class(index)
        return match_overlaps(found.boxes, found.confidence, field.boxes_of(index), thresholds)

    return _rank(fields, index, match)


def rank_by_centre(fields: Sequence[EvaluatedField], index: int) -> Ranking:
    """Rank the found cells of class `index`, matched by centre distance."""

    def match(field: EvaluatedField) -> NDArray[np.bool_]:
        found = field.found.of_class(index)
        return match_centres(found.boxes, found.confidence, field.boxes_of(index))[None] >= 0

    return _rank(fields, index, match)


def _rank(
    fields: Sequence[EvaluatedField],
    index: int,
    match: Callable[[EvaluatedField], NDArray[np.bool_]],
) -> Ranking:
    found = [field.found.of_class(index).confidence for field in fields]
    confidence = np.concatenate(found)
    order = by_confidence(confidence)
    return Ranking(
        confidence[order],
        np.concatenate([match(field) for field in fields], axis=1)[:, order],
        np.repeat(np.arange(len(fields)), [len(one) for one in found])[order],
        np.array([len(field.boxes_of(index)) for field in fields], np.int64),
    )


def _read(envelope: _Floats, recall: _Floats) -> _Floats:
    """Return the precision at `RECALLS` for each sample, (B, 101); recall rises along the curves.

    One search in all curves, one above the other, is far faster than one for each.
    """
    rows, length = recall.shape
    above = 2.0 * np.arange(rows)[:, None]
    positions = np.searchsorted((recall + above).ravel(), (RECALLS + above).ravel(), side="left")
    inside = positions.reshape(rows, len(RECALLS)) - length * np.arange(rows)[:, None]
    beyond = np.zeros((rows, 1))
    table = np.concatenate([envelope, beyond], axis=1)
    return np.asarray(np.take_along_axis(table, np.minimum(inside, length), axis=1))


def coco_average_precision(
    fields: Sequence[EvaluatedField], index: int
) -> NDArray[np.float64] | None:
    """Return COCO's average precision of one class at each threshold of `OVERLAPS`.

    COCO evaluates the 100 most confident cells of an image; fields hold more, so all are evaluated.

    Parameters
    ----------
    fields : sequence of EvaluatedField
    index : int
        The class.

    Returns
    -------
    ndarray, shape (10,), or None
        None without annotated cells.

    Raises
    ------
    MissingExtraError
        If faster-coco-eval is not installed.
    """
    with needs_extra("eval", "Average precision"):
        from faster_coco_eval import COCO, COCOeval_faster
    found = [field.found.of_class(index) for field in fields]
    annotated = [field.boxes_of(index) for field in fields]
    if not any(map(len, annotated)):
        return None
    if not any(len(one.labels) for one in found):
        return np.zeros(len(OVERLAPS))
    truth = {
        "images": [{"id": i + 1} for i in range(len(fields))],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": _numbered(
            {"image_id": i + 1, "category_id": 1, "iscrowd": 0, **_box(box)}
            for i, boxes in enumerate(annotated)
            for box in boxes
        ),
    }
    results = [
        {"image_id": i + 1, "category_id": 1, "score": float(score), **_box(box)}
        for i, one in enumerate(found)
        for box, score in zip(one.boxes, one.confidence, strict=True)
    ]
    most = max(len(one.labels) for one in found)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(truth)
        evaluation = COCOeval_faster(coco, coco.loadRes(results), iouType="bbox")
        evaluation.params.maxDets = [most]
        evaluation.params.iouThrs = OVERLAPS
        evaluation.evaluate()
        evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"], np.float64)  # T, R, class, area, maxDets
    return np.asarray(precision[:, :, 0, 0, 0].mean(axis=1))


def _box(box: NDArray[np.float64]) -> dict[str, Any]:
    x, y, width, height = (*box[:2], *(box[2:] - box[:2]))
    return {
        "bbox": [float(x), float(y), float(width), float(height)],
        "area": float(width * height),
    }


def _numbered(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    # An id of 0 would count as "no match".
    return [{"id": number, **row} for number, row in enumerate(rows, start=1)]
