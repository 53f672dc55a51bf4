"""Score labelled predictions, and write metrics, report and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import ImageError
from hematovision.evaluation import (
    Metrics,
    TrainingSplit,
    evaluate,
    most_confident_errors,
    write_metrics,
)
from hematovision.images.boxes import Box
from hematovision.model.classifier import Classifier
from hematovision.model.explain import draw_overlay
from hematovision.model.inference import Item, infer
from hematovision.model.thresholds import Decision, Thresholds, accepts, decide
from hematovision.paths import shown
from hematovision.reporting.plots import write_figure_files
from hematovision.reporting.report import ErrorExample, ReportFacts, write_report
from hematovision.reporting.tables import write_predictions

__all__ = [
    "LabelledPredictions", "boxes_of", "score_model", "split_counts", "write_evaluation",
]  # fmt: skip


@dataclass(frozen=True)
class LabelledPredictions:
    """Labelled images and a model's predictions for them."""

    samples: tuple[Sample, ...]  # N samples
    labels: NDArray[np.int64]  # shape (N,)
    probabilities: NDArray[np.floating]  # shape (N, C)
    novelty: NDArray[np.floating]  # shape (N,)
    colours: NDArray[np.floating]  # shape (N, 3)
    # shape (N,): the model's own largest probability, if `probabilities` were summed to fewer
    # classes
    own_confidence: NDArray[np.floating] | None = None
    field: NDArray[np.floating] | None = None  # shape (N,); None without a field score

    @property
    def confidence(self) -> NDArray[np.floating]:
        """The confidence that a model's thresholds apply to, shape (N,)."""
        own = self.own_confidence
        return self.probabilities.max(axis=1) if own is None else own


def boxes_of(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return the boxes of samples, shape (N, 4); rows of NaN if unknown."""
    unknown: Box = (np.nan,) * 4
    return np.array([sample.box or unknown for sample in samples], np.float64).reshape(-1, 4)


def split_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the images per class for each split of a dataset."""
    return {split: dataset.subset(split).counts() for split in dataset.splits}


def score_model(
    labelled: LabelledPredictions,
    classes: Sequence[str],
    thresholds: Thresholds,
    train: TrainingSplit | None,
    seed: int,
) -> Metrics:
    """Compute the metrics of predictions, with groups, labs and boxes from the samples."""
    return evaluate(
        labelled.labels,
        labelled.probabilities,
        classes,
        accepted=accepts(
            labelled.confidence[:, np.newaxis], labelled.novelty, thresholds, labelled.field
        ),
        groups=[sample.group for sample in labelled.samples],
        labs=[sample.lab for sample in labelled.samples],
        boxes=boxes_of(labelled.samples),
        colours=labelled.colours,
        train=train,
        seed=seed,
    )


def write_evaluation(
    folder: Path,
    metrics: Metrics,
    facts: ReportFacts,
    labelled: LabelledPredictions,
    dataset: Dataset,
    thresholds: Thresholds,
    history: Sequence[Mapping[str, float]] = (),
    *,
    explainer: Classifier | None = None,
) -> Path:
    """Write ``metrics.json``, ``predictions.csv``, ``report.html`` and figures into `folder`.

    With `explainer`, the report shows explanation maps of the misclassified images.

    Returns the report.
    """
    write_metrics(folder / "metrics.json", metrics)
    decisions = _decisions(labelled, thresholds)
    write_predictions(
        folder / "predictions.csv",
        [dataset.relative(sample) for sample in labelled.samples],
        labelled.labels,
        labelled.probabilities,
        metrics.classes,
        accepted=[decision.decision == "accepted" for decision in decisions],
        reasons=[decision.reason for decision in decisions],
        novelty=labelled.novelty,
        groups=[sample.group for sample in labelled.samples],
        labs=[sample.lab for sample in labelled.samples],
    )
    write_figure_files(folder, metrics, history)
    examples = _error_examples(labelled, metrics.classes, dataset, decisions, explainer)
    return write_report(folder, metrics, facts, history=history, errors=examples)


def _decisions(labelled: LabelledPredictions, thresholds: Thresholds) -> list[Decision]:
    fields = [None] * len(labelled.labels) if labelled.field is None else labelled.field.tolist()
    return [
        decide(float(confidence), float(novelty), thresholds, field)
        for confidence, novelty, field in zip(
            labelled.confidence, labelled.novelty, fields, strict=True
        )
    ]


def _error_examples(
    labelled: LabelledPredictions,
    classes: Sequence[str],
    dataset: Dataset,
    decisions: Sequence[Decision],
    explainer: Classifier | None,
) -> list[ErrorExample]:
    """Return the most confident errors, each with its explanation map if there is an explainer."""
    worst = map(int, most_confident_errors(labelled.labels, labelled.probabilities))
    read = {i: image for i in worst if (image := _pixels(labelled.samples[i])) is not None}
    overlays = dict[int, NDArray[np.uint8]]()
    if explainer is not None:
        items = (Item(str(labelled.samples[i].path), image) for i, image in read.items())
        results = infer(explainer, items, explain=True)
        overlays = {
            i: draw_overlay(image, result.attention)
            for (i, image), result in zip(read.items(), results, strict=True)
            if result.attention is not None
        }
    predicted = labelled.probabilities.argmax(axis=1)
    return [
        ErrorExample(
            image=image,
            true=labelled.samples[i].label,
            predicted=classes[predicted[i]],
            confidence=float(labelled.probabilities[i, predicted[i]]),
            name=shown(dataset.relative(labelled.samples[i])),
            decision=decisions[i].decision,
            overlay=overlays.get(i),
            reason=decisions[i].reason,
        )
        for i, image in read.items()
    ]


def _pixels(sample: Sample) -> NDArray[np.uint8] | None:
    try:
        return images.read(sample.path)
    except ImageError:  # changed since it was classified; the report omits it
        return None
