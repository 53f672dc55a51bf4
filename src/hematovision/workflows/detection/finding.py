"""Find the cells of annotated fields with the field analysis and the baselines, and score them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.data.labelled_fields import LabelledField, LabelledFields, LoadedField
from hematovision.errors import AnnotationError, DatasetError, ImageError
from hematovision.evaluation.detection import (
    CountErrors,
    DetectionMetrics,
    EvaluatedField,
    FieldBaseline,
    FoundCells,
    count_errors,
    evaluate_fields,
)
from hematovision.evaluation.detection.baselines import AREA_RULE, RED, WATERSHED_RULE, Baselines
from hematovision.evaluation.detection.matching import overlaps
from hematovision.evaluation.detection.metrics import field_weights, score_fields
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.rows import CELL_CLASSES, CellRow, FieldRow, split
from hematovision.fields.scale import Scale
from hematovision.model.classifier import Classifier
from hematovision.model.detector import CellFinder, Detector
from hematovision.model.inference import Item, ahead, predict_image
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.model.session import reading_threads
from hematovision.progress import Progress, no_progress

__all__ = [
    "FieldOutcome", "Pipeline", "annotated_diameter", "find_cells", "metrics_of",
    "with_thresholds",
]  # fmt: skip

LOWEST = 0.02
"""Least confidence of the cells that extend the curves of average precision and FROC."""

_INSIDE = 1.0  # pixels that a box must be away from the border to be whole
_ENOUGH = 3  # whole red cells from which a field's own scale is known
_DUPLICATE = 0.5  # overlap with a kept cell from which a less confident one is the same

_Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class FieldOutcome:
    """What was found in one annotated field."""

    field: LabelledField
    evaluated: EvaluatedField
    flags: str  # of the analysis
    problems: tuple[str, ...]  # boxes that were left out
    watershed: EvaluatedField | None = None
    area: float | None = None  # red cells by stained area


class Pipeline:
    """The field analysis, with the less confident cells that curves need; thread-safe.

    Parameters
    ----------
    finder : CellFinder
        The detector.
    unsure : CellFinder
        The same with lower thresholds.
    crops : Classifier, optional
        The analysis's second opinion on doubtful cells.
    """

    def __init__(
        self, finder: CellFinder, unsure: CellFinder, crops: Classifier | None = None
    ) -> None:
        self._finder, self._unsure, self._crops = finder, unsure, crops

    @classmethod
    def load(cls, detector: str | Path, *, detector_only: bool = False) -> Pipeline:
        """Open a detector, with the default crop classifier unless `detector_only`.

        Raises
        ------
        ModelNotFoundError, BundleError
            If a model is missing, damaged or of the wrong task.
        """
        found = Detector.load(detector)
        crops = None if detector_only else Classifier.load(DEFAULT_MODEL, workers=1)
        return cls(found, with_thresholds(found, LOWEST), crops)

    def count(self, pixels: _Pixels, diameter: float | None = None) -> tuple[FoundCells, FieldRow]:
        """Return the result of the analysis of a field (H, W, 3) without less confident cells.

        `diameter` is that of red cells in pixels; by default it is measured.
        """
        cells, row = _analysed(self._finder, self._crops, pixels, diameter)
        return _found(cells, kept=True), row

    def find(
        self, pixels: _Pixels, diameter: float | None = None
    ) -> tuple[FoundCells, float | None, str]:
        """Find the cells of a field, with less confident ones; parameters as in `count`.

        Returns the cells, the diameter that was used, None if unknown, and the flags of the
        analysis.
        """
        kept, row = self.count(pixels, diameter)
        others, _ = _analysed(self._unsure, None, pixels, row.rbc_diameter_px or diameter)
        unsure = _found(others, kept=False)
        best = overlaps(unsure.boxes, kept.boxes).max(axis=1, initial=0.0)
        new = best < _DUPLICATE
        joined = FoundCells(
            np.concatenate([kept.boxes, unsure.boxes[new]]),
            np.concatenate([kept.labels, unsure.labels[new]]),
            np.concatenate([kept.confidence, unsure.confidence[new]]),
            np.concatenate([kept.kept, unsure.kept[new]]),
        )
        return joined, row.rbc_diameter_px, row.flags


def with_thresholds(detector: Detector, least: float) -> Detector:
    """Return a detector that also finds cells with confidence `least` or more."""
    manifest = detector.bundle.manifest
    assert manifest.detection is not None  # it is a detector
    lower = {name: min(least, value) for name, value in detector.thresholds.items()}
    detection = replace(manifest.detection, thresholds=lower)
    return Detector(replace(detector.bundle, manifest=replace(manifest, detection=detection)))


def find_cells(
    pipeline: Pipeline,
    data: LabelledFields,
    baselines: Baselines | None = None,
    *,
    known_scale: bool = False,
    change: Callable[[_Pixels], _Pixels] | None = None,
    progress: Progress = no_progress,
) -> tuple[list[FieldOutcome], tuple[ImageError | AnnotationError, ...]]:
    """Find the cells of annotated fields, several at once.

    Parameters
    ----------
    pipeline : Pipeline
    data : LabelledFields
    baselines : Baselines, optional
    known_scale : bool
        Use the annotated scale: that of the field, or the median of all fields.
    change : callable, optional
        Changes the pixels before the analysis, and keeps their number.
    progress : Progress

    Returns
    -------
    outcomes : list of FieldOutcome
        Of the readable fields, in order.
    refused : tuple of Exception
        Why the others could not be read.

    Raises
    ------
    DatasetError
        If no field can be read.
    """
    usual = _usual_diameter(data) if known_scale else None
    annotated = frozenset(data.taxonomy.index(name) for name in data.annotated)

    def work(field: LabelledField) -> FieldOutcome | ImageError | AnnotationError:
        try:
            loaded = field.load()
        except (ImageError, AnnotationError) as error:
            return error
        if change is not None:
            loaded = replace(loaded, pixels=change(loaded.pixels))
        own = annotated_diameter(loaded)
        given = own or usual if known_scale else None
        return _outcome(pipeline, field, loaded, annotated, given, baselines)

    outcomes: list[FieldOutcome] = []
    refused: list[ImageError | AnnotationError] = []
    with closing(ahead(work, data.fields, reading_threads())) as results:
        for done, result in enumerate(results, start=1):
            if isinstance(result, FieldOutcome):
                outcomes.append(result)
            else:
                refused.append(result)
            progress(done, len(data), "evaluating fields", "fields")
    if not outcomes:
        raise DatasetError(f"None of the {len(data)} fields can be read. The first: {refused[0]}")
    return outcomes, tuple(refused)


def _outcome(
    pipeline: Pipeline,
    field: LabelledField,
    loaded: LoadedField,
    annotated: frozenset[int],
    given: float | None,
    baselines: Baselines | None,
) -> FieldOutcome:
    found, diameter, flags = pipeline.find(loaded.pixels, given)
    evaluated = EvaluatedField(
        name=field.name,
        boxes=loaded.boxes,
        labels=loaded.labels,
        found=found,
        annotated=annotated,
        group=field.group,
        lab=field.lab,
        diameter=diameter,
        annotated_diameter=None if given else annotated_diameter(loaded),
    )
    outcome = FieldOutcome(field, evaluated, flags, loaded.problems)
    if baselines is None:
        return outcome
    simple = replace(evaluated, found=baselines.watershed.find(loaded.pixels))
    return replace(outcome, watershed=simple, area=baselines.area.count(loaded.pixels))


def annotated_diameter(loaded: LoadedField) -> float | None:
    """Return the median width of a field's annotated red cells in pixels; None if few are whole."""
    height, width = loaded.pixels.shape[:2]
    boxes = loaded.boxes[loaded.labels == RED]
    inside = (boxes[:, :2] > _INSIDE).all(axis=1)
    inside &= (boxes[:, 2:] < np.array([width, height]) - _INSIDE).all(axis=1)
    sides = (boxes[inside, 2:] - boxes[inside, :2]).mean(axis=1)
    return float(np.median(sides)) if len(sides) >= _ENOUGH else None


def _usual_diameter(data: LabelledFields) -> float | None:
    known = []
    for field in data:
        try:
            known.append(annotated_diameter(field.load()))
        except (ImageError, AnnotationError):
            continue
    found = [diameter for diameter in known if diameter]
    return float(np.median(found)) if found else None


def _analysed(
    finder: CellFinder, crops: Classifier | None, pixels: _Pixels, diameter: float | None
) -> tuple[list[CellRow], FieldRow]:
    scale = None if diameter is None else Scale(diameter, "--rbc-diameter")
    analyzer = FieldAnalyzer(finder, crops, scale=scale, edges="all", workers=1)
    result = predict_image(analyzer, Item("field", pixels))
    if result.error:
        raise result.error
    cells, fields = split(result.rows)
    return cells, fields[0]


def _found(cells: Sequence[CellRow], *, kept: bool) -> FoundCells:
    boxes = [(one.x_min, one.y_min, one.x_max, one.y_max) for one in cells]
    labels = [CELL_CLASSES.index(one.label) for one in cells]
    return FoundCells.of(boxes, labels, [one.confidence for one in cells], kept=kept)


def metrics_of(
    outcomes: Sequence[FieldOutcome], baselines: Baselines | None = None, *, seed: int = 0
) -> DetectionMetrics:
    """Compute the metrics of what was found, and of the baselines."""
    fields = [outcome.evaluated for outcome in outcomes]
    rows = {} if baselines is None else _baseline_rows(outcomes, baselines, seed)
    return evaluate_fields(fields, CELL_CLASSES, baselines=rows, seed=seed)


def _baseline_rows(
    outcomes: Sequence[FieldOutcome], baselines: Baselines, seed: int
) -> dict[str, FieldBaseline]:
    simple = [one.watershed for one in outcomes if one.watershed is not None]
    used = {i: name for i, name in enumerate(CELL_CLASSES) if any(i in f.annotated for f in simple)}
    scores = score_fields(simple, used, seed=seed)
    counts = {name: row.counts for name, row in scores.per_class.items()}
    rows = {
        "watershed": FieldBaseline(WATERSHED_RULE, baselines.fitted_on, scores, counts),
    }
    if RED in used:
        area = {used[RED]: _area_errors(outcomes, seed)}
        rows["area"] = FieldBaseline(AREA_RULE, baselines.fitted_on, None, area)
    return rows


def _area_errors(outcomes: Sequence[FieldOutcome], seed: int) -> CountErrors:
    known = [one for one in outcomes if one.area is not None and RED in one.evaluated.annotated]
    found = np.array([round(one.area or 0.0) for one in known], np.int64)
    annotated = np.array([len(one.evaluated.boxes_of(RED)) for one in known], np.int64)
    return count_errors(found, annotated, field_weights([one.evaluated for one in known], seed))
