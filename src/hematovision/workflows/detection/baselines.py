"""Fit the baselines of detection on annotated fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hematovision.data.labelled_fields import LabelledFields
from hematovision.errors import AnnotationError, ImageError
from hematovision.evaluation.detection.baselines import (
    MOST_FIELDS,
    AreaCount,
    TrainingField,
    Watershed,
)
from hematovision.progress import Progress, no_progress
from hematovision.workflows.labelled import Part

__all__ = ["BaselineFields", "fit_baselines", "fitted_baselines", "training_fields"]


@dataclass(frozen=True, eq=False)
class BaselineFields:
    """The baselines, and what they were fitted on."""

    watershed: Watershed = field(default_factory=Watershed)
    area: AreaCount = field(default_factory=AreaCount)
    fitted_on: str = "training fields of BCCD"


def fitted_baselines(
    data: LabelledFields, split: Part | None = None, progress: Progress = no_progress
) -> BaselineFields:
    """Fit the baselines on the training split, unless that is evaluated or does not exist.

    Unreadable fields are ignored.
    """
    if split in ("train", "all") or "train" not in data.splits:
        return BaselineFields()
    train = data.subset("train")
    return fit_baselines(training_fields(train), f"{len(train)} training fields", progress)


def fit_baselines(
    fields: Sequence[TrainingField], fitted_on: str, progress: Progress = no_progress
) -> BaselineFields:
    """Fit both baselines on some fields; `fitted_on` describes these."""
    if not fields:
        return BaselineFields()
    segmentation = Watershed.fit(fields, progress)
    return BaselineFields(segmentation, AreaCount.fit(fields, segmentation), fitted_on)


def training_fields(data: LabelledFields, most: int = MOST_FIELDS) -> list[TrainingField]:
    """Read up to `most` fields, evenly spread, for fitting baselines."""
    annotated = frozenset(data.taxonomy.index(name) for name in data.annotated)
    places = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).astype(int))
    fields = []
    for place in places:
        try:
            loaded = data.fields[place].load()
        except (ImageError, AnnotationError):
            continue
        fields.append(TrainingField(loaded.pixels, loaded.boxes, loaded.labels, annotated))
    return fields
