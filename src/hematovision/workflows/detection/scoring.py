"""Score what the analysis and the baselines found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hematovision.evaluation.detection import (
    CountErrors,
    DetectionMetrics,
    FieldBaseline,
    count_errors,
    evaluate_fields,
)
from hematovision.evaluation.detection.baselines import AREA_RULE, RED, WATERSHED_RULE
from hematovision.evaluation.detection.metrics import field_weights, score_fields
from hematovision.fields.rows import CELL_CLASSES
from hematovision.workflows.detection.baselines import BaselineFields
from hematovision.workflows.detection.finding import FieldOutcome

__all__ = ["metrics_of"]


def metrics_of(
    outcomes: Sequence[FieldOutcome], baselines: BaselineFields | None = None, *, seed: int = 0
) -> DetectionMetrics:
    """Compute the metrics of what was found, and of the baselines."""
    fields = [outcome.evaluated for outcome in outcomes]
    rows = {} if baselines is None else _baseline_rows(outcomes, baselines, seed)
    return evaluate_fields(fields, CELL_CLASSES, baselines=rows, seed=seed)


def _baseline_rows(
    outcomes: Sequence[FieldOutcome], baselines: BaselineFields, seed: int
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
