"""What a detector sees in annotated fields: every possible cell, before the thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.data.labelled_fields import LabelledField, LoadedField
from hematovision.errors import ImageError
from hematovision.evaluation.detection.matching import match_centres
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.scale import unclipped
from hematovision.fields.tiles import FieldImage, detect
from hematovision.model.bundle import Bundle
from hematovision.model.detector import Detections, Detector
from hematovision.model.manifest import Detection
from hematovision.progress import Progress
from hematovision.training.detector_fit import Peaks

__all__ = ["FieldPeaks", "Values", "detection_of", "look", "with_detection"]

_LOWEST = 0.02
"""Confidence of the least likely cells."""

_LEAST_REDS = 3  # red cells of a field that give a diameter
_FAR = 0.08  # as in the analysis: relative change of the diameter after which a field is redone


class Values(NamedTuple):
    """The values of one class that are fitted: confidence = sigmoid(a * logit(old) + b)."""

    a: float
    b: float
    threshold: float  # least new confidence


@dataclass(frozen=True, eq=False)
class FieldPeaks:
    """An annotated field, and the possible cells that a detector finds in it."""

    group: str
    boxes: NDArray[np.float64]  # shape (A, 4): annotated cells
    labels: NDArray[np.int64]  # shape (A,)
    found: Detections  # boxes in pixels of the field, with duplicates
    # mean side of the annotated red cells by that of the same cells as detected; None if unknown
    ratio: float | None = None

    def cells(self, detector: Detector, values: Sequence[Values]) -> Detections:
        """Return the cells that the detector would find with other values."""
        a, b, least = (np.array(column, np.float64) for column in zip(*values, strict=True))
        scores = np.clip(self.found.scores.astype(np.float64), 1e-6, 1 - 1e-6)
        logits = a * np.log(scores / (1 - scores)) + b
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        changed = replace(self.found, scores=scores.astype(np.float32))
        kept = changed.confidence >= least[changed.labels].astype(np.float32)
        return detector.distinct(changed[kept])

    def matches(
        self, found: Detections, label: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the confidence of the found cells of a class, and which match an annotated one."""
        own = found[found.labels == label]
        confidence = own.confidence.astype(np.float64)
        truth = self.boxes[self.labels == label]
        return confidence, match_centres(own.boxes.astype(np.float64), confidence, truth) >= 0

    def peaks(self, detector: Detector, label: int) -> Peaks:
        """Return the possible cells of a class, without duplicates."""
        plain = [Values(1.0, 0.0, 0.0)] * len(detector.classes)
        confidence, right = self.matches(self.cells(detector, plain), label)
        limited = np.clip(confidence, 1e-6, 1 - 1e-6)
        annotated = int((self.labels == label).sum())
        return Peaks(np.log(limited / (1 - limited)), right, annotated)


class _WithDuplicates:
    """A detector that keeps duplicates: which of them go depends on the values."""

    def __init__(self, detector: Detector) -> None:
        self.candidates, self.red_cell_px = detector.candidates, detector.red_cell_px
        self.multiple, self.stride = detector.multiple, detector.stride
        self.classes, self.identity = detector.classes, detector.identity
        self.min_confidence = detector.min_confidence

    def distinct(self, found: Detections) -> Detections:
        return found


def detection_of(bundle: Bundle) -> Detection:
    """Return the section ``detection`` of a detector's manifest."""
    detection = bundle.manifest.detection
    assert detection is not None
    return detection


def with_detection(bundle: Bundle, detection: Detection) -> Bundle:
    """Return a detector with other values; nothing is written."""
    return replace(bundle, manifest=replace(bundle.manifest, detection=detection))


def look(
    bundle: Bundle, fields: Sequence[LabelledField], progress: Progress, what: str
) -> tuple[list[FieldPeaks], list[ImageError]]:
    """Find every possible cell of annotated fields, at the scale that the analysis finds.

    `progress` is called after every field, with `what`. Returns the readable fields, and the errors
    of the others.
    """
    old = detection_of(bundle)
    lower = {name: min(_LOWEST, value) for name, value in old.thresholds.items()}
    finder = Detector(with_detection(bundle, replace(old, thresholds=lower)))
    analyzer = FieldAnalyzer(Detector(bundle))
    seen: list[FieldPeaks] = []
    refused: list[ImageError] = []
    for number, field in enumerate(fields, start=1):
        try:
            loaded = field.load()
        except ImageError as error:
            refused.append(error)
        else:
            seen.append(_look(analyzer, finder, loaded, field.group))
        progress(number, len(fields), what, "fields")
    return seen, refused


def _look(analyzer: FieldAnalyzer, finder: Detector, loaded: LoadedField, group: str) -> FieldPeaks:
    context = analyzer.prepare([loaded.pixels])
    field = FieldImage(loaded.pixels, np.array(context.white, np.float32))
    diameter = context.scale.diameter
    for _ in range(2):
        size = field.size(finder.red_cell_px / diameter)
        found = detect(_WithDuplicates(finder), field, size)
        sides = np.tile([field.width / size[0], field.height / size[1]], 2)
        boxes = (found.boxes * sides).astype(np.float32)
        seen = FieldPeaks(group, loaded.boxes, loaded.labels, replace(found, boxes=boxes))
        measured = _diameter(finder, seen, (field.width, field.height))
        if not context.scale.known or measured is None or abs(measured / diameter - 1) <= _FAR:
            break
        diameter = measured
    return replace(seen, ratio=_ratio(finder, seen, (field.width, field.height)))


def _reds(finder: Detector, seen: FieldPeaks) -> Detections:
    """Return the likely red cells of a field."""
    red = finder.classes.index("RBC")
    least = [Values(1.0, 0.0, 0.5)] * len(finder.classes)
    found = seen.cells(finder, least)
    return found[found.labels == red]


def _diameter(finder: Detector, seen: FieldPeaks, size: tuple[int, int]) -> float | None:
    boxes = _reds(finder, seen).boxes
    boxes = boxes[unclipped(boxes, size)]
    return float(np.median((boxes[:, 2:] - boxes[:, :2]).mean(axis=1))) if len(boxes) else None


def _ratio(finder: Detector, seen: FieldPeaks, size: tuple[int, int]) -> float | None:
    """Compare the annotated red cells clear of the border with the same cells as detected."""
    reds, truth = _reds(finder, seen), seen.boxes[seen.labels == finder.classes.index("RBC")]
    found = reds.boxes.astype(np.float64)
    matches = match_centres(found, reds.confidence.astype(np.float64), truth)
    pairs = [(box, truth[match]) for box, match in zip(found, matches, strict=True) if match >= 0]
    whole = [
        (float((b[2:] - b[:2]).sum()), float((a[2:] - a[:2]).sum()))
        for b, a in pairs
        if unclipped(np.stack([b, a]).astype(np.float32), size).all()
    ]
    if len(whole) < _LEAST_REDS:
        return None
    return float(np.median([annotated / detected for detected, annotated in whole]))
