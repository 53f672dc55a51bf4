"""From answers to ``metrics.json``, ``report.html``, ``predictions.csv``: one way for all jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

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
from hematovision.model.overlay import draw_overlay
from hematovision.model.thresholds import Decision, Thresholds, accepts, decide
from hematovision.paths import shown
from hematovision.reporting import (
    ErrorExample,
    ReportFacts,
    write_figure_files,
    write_predictions,
    write_report,
)

__all__ = [
    "AttentionFunction",
    "LabelledPredictions",
    "boxes_of",
    "score_model",
    "split_counts",
    "write_evaluation",
]

AttentionFunction: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From images (N, 224, 224, 3) to maps (N, K, K): `Classifier.attention`."""


@dataclass(frozen=True)
class LabelledPredictions:
    """Labelled images and what a model said about them.

    Parameters
    ----------
    samples : tuple of Sample
        N of them.
    labels : ndarray of int, shape (N,)
    probabilities : ndarray of float, shape (N, C)
    novelty : ndarray of float, shape (N,)
    colours : ndarray of float, shape (N, 3)
    own_confidence : ndarray of float, shape (N,), optional
        The model's own largest probability, where `probabilities` have been added up to fewer
        classes.
    """

    samples: tuple[Sample, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.floating]
    novelty: NDArray[np.floating]
    colours: NDArray[np.floating]
    own_confidence: NDArray[np.floating] | None = None

    @property
    def confidence(self) -> NDArray[np.floating]:
        """What the thresholds of a model are held against, shape (N,)."""
        own = self.own_confidence
        return self.probabilities.max(axis=1) if own is None else own


def boxes_of(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return the boxes of samples, shape (N, 4); rows of NaN where unknown."""
    unknown: Box = (np.nan,) * 4
    return np.array([sample.box or unknown for sample in samples], np.float64).reshape(-1, 4)


def split_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return the images per class for each part of a dataset."""
    return {split: dataset.subset(split).counts() for split in dataset.splits}


def score_model(
    answered: LabelledPredictions,
    classes: Sequence[str],
    thresholds: Thresholds,
    train: TrainingSplit | None,
    seed: int,
) -> Metrics:
    """Score answers; groups, labs and boxes come from the samples."""
    return evaluate(
        answered.labels,
        answered.probabilities,
        classes,
        accepted=accepts(answered.confidence[:, np.newaxis], answered.novelty, thresholds),
        groups=[sample.group for sample in answered.samples],
        labs=[sample.lab for sample in answered.samples],
        boxes=boxes_of(answered.samples),
        colours=answered.colours,
        train=train,
        seed=seed,
    )


def write_evaluation(
    folder: Path,
    metrics: Metrics,
    facts: ReportFacts,
    answered: LabelledPredictions,
    dataset: Dataset,
    thresholds: Thresholds,
    history: Sequence[Mapping[str, float]] = (),
    *,
    looked: AttentionFunction | None = None,
) -> Path:
    """Write ``metrics.json``, ``predictions.csv``, ``report.html`` and figures into `folder`.

    With `looked`, the report shows beside each wrongly answered image where the model looked.

    Returns
    -------
    Path
        The report.
    """
    write_metrics(folder / "metrics.json", metrics)
    decisions = [
        decide(float(c), float(n), thresholds)
        for c, n in zip(answered.confidence, answered.novelty, strict=True)
    ]
    write_predictions(
        folder / "predictions.csv",
        [dataset.relative(sample) for sample in answered.samples],
        answered.labels,
        answered.probabilities,
        metrics.classes,
        accepted=[decision.decision == "accepted" for decision in decisions],
        reasons=[decision.reason for decision in decisions],
        novelty=answered.novelty,
        groups=[sample.group for sample in answered.samples],
        labs=[sample.lab for sample in answered.samples],
    )
    write_figure_files(folder, metrics, history)
    pictures = _pictures(answered, metrics.classes, dataset, decisions, looked)
    return write_report(folder, metrics, facts, history=history, errors=pictures)


def _pictures(
    answered: LabelledPredictions,
    classes: Sequence[str],
    dataset: Dataset,
    decisions: Sequence[Decision],
    looked: AttentionFunction | None,
) -> list[ErrorExample]:
    """Return the most confident errors, each with where the model looked, if that can be told."""
    worst = map(int, most_confident_errors(answered.labels, answered.probabilities))
    read = {i: image for i in worst if (image := _pixels(answered.samples[i])) is not None}
    overlays = dict[int, NDArray[np.uint8]]()
    if looked and read:
        maps = looked(np.stack([images.fit(image) for image in read.values()]))
        overlays = {i: draw_overlay(read[i], seen) for i, seen in zip(read, maps, strict=True)}
    said = answered.probabilities.argmax(axis=1)
    return [
        ErrorExample(
            image=image,
            true=answered.samples[i].label,
            predicted=classes[said[i]],
            confidence=float(answered.probabilities[i, said[i]]),
            name=shown(dataset.relative(answered.samples[i])),
            decision=decisions[i].decision,
            overlay=overlays.get(i),
            reason=decisions[i].reason,
        )
        for i, image in read.items()
    ]


def _pixels(sample: Sample) -> NDArray[np.uint8] | None:
    try:
        return images.read(sample.path)
    except ImageError:  # It was there when it was classified; the report goes on without it.
        return None
