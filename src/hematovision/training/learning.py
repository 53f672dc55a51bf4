"""The way of learning: dataset -> features -> head (-> fine-tuning -> features) -> trust.

The test part is looked at here only to compute its features; nothing is fitted to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hematovision.data.samples import Dataset, Sample, Split
from hematovision.errors import ImageError, TrainingError
from hematovision.files import sha256_bytes
from hematovision.model.backbone import Backbone
from hematovision.model.head import Head
from hematovision.model.trust import (
    Novelty,
    Trust,
    fit_novelty,
    fit_temperature,
    fit_thresholds,
)
from hematovision.model.weights import BackboneWeights
from hematovision.progress import Progress, no_progress
from hematovision.training.features import View, extract, open_cache, plan_views
from hematovision.training.finetune import FineTuning, Task, fine_tune
from hematovision.training.fit import Epoch
from hematovision.training.head import HeadTraining, TrainedHead, train_head

__all__ = ["Learned", "Part", "learn"]


@dataclass(frozen=True)
class Part:
    """The readable images of one part of a dataset, as the final backbone sees them.

    Parameters
    ----------
    samples : tuple of Sample
        N of them.
    labels : ndarray of int, shape (N,)
    features : ndarray of float32, shape (N, 1280)
    colours : ndarray of float32, shape (N, 3)
        Mean red, green and blue, 0 to 255.
    digests : tuple of str
        SHA-256 of each file.
    """

    samples: tuple[Sample, ...]
    labels: NDArray[np.int64]
    features: NDArray[np.float32]
    colours: NDArray[np.float32]
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Learned:
    """Everything that learning led to.

    Parameters
    ----------
    weights : BackboneWeights
        Those that were given, or fine-tuned ones.
    head : Head
        Calibrated: the temperature is folded into its last layer.
    novelty : Novelty
        What the training features look like.
    trust : Trust
        Temperature and thresholds, fitted on validation.
    history : tuple of Epoch
        One row an epoch; fine-tuning goes on counting.
    parts : mapping of Split to Part
    refused : tuple of ImageError
        Images that could not be read.
    interrupted : bool
        Whether Ctrl-C ended it early.
    """

    weights: BackboneWeights
    head: Head
    novelty: Novelty
    trust: Trust
    history: tuple[Epoch, ...]
    parts: Mapping[Split, Part]
    refused: tuple[ImageError, ...]
    interrupted: bool = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 over part, class and content of every image, whatever the files are called."""
        lines = sorted(
            f"{split} {sample.label} {digest}"
            for split, part in self.parts.items()
            for sample, digest in zip(part.samples, part.digests, strict=True)
        )
        return sha256_bytes("\n".join(lines).encode())


@dataclass
class _Pictures:
    """Looks at a dataset through one backbone after another."""

    dataset: Dataset
    progress: Progress
    refused: dict[str, ImageError] = field(default_factory=dict)

    def look(
        self, weights: BackboneWeights, *, more_views: bool
    ) -> tuple[dict[Split, Part], NDArray[np.float32], NDArray[np.int64]]:
        """Return the parts, and the training rows (with further views of rare classes) to fit."""
        views, owner = self._views(more_views=more_views)
        with open_cache(weights.sha256) as cache:
            found = extract(views, Backbone(weights), cache, self.progress)
        self.refused |= {error.path: error for error in found.refused}
        owners, labels = owner[found.kept], self.dataset.labels
        is_first = np.array([views[i].index == 0 for i in found.kept], bool)
        splits = np.array([sample.split for sample in self.dataset.samples], object)
        parts: dict[Split, Part] = {}
        for split in self.dataset.splits:
            rows = np.flatnonzero(is_first & (splits[owners] == split))
            parts[split] = Part(
                tuple(self.dataset.samples[i] for i in owners[rows]),
                labels[owners[rows]],
                found.values[rows],
                found.mean_colours[rows],
                tuple(found.digests[i] for i in rows),
            )
        training = splits[owners] == "train"
        return parts, found.values[training], labels[owners[training]]

    def _views(self, *, more_views: bool) -> tuple[list[View], NDArray[np.int64]]:
        samples, labels = self.dataset.samples, self.dataset.labels
        counts = np.ones(len(samples), np.int64)
        train = np.array([sample.split == "train" for sample in samples], bool)
        if more_views and train.any():
            counts[train] = plan_views(labels[train])
        pairs = [(i, view) for i, count in enumerate(counts) for view in range(count)]
        views = [View(samples[i].path, view) for i, view in pairs]
        return views, np.array([i for i, _ in pairs], np.int64)


def learn(
    dataset: Dataset,
    weights: BackboneWeights,
    how: HeadTraining,
    fine_tuning: FineTuning | None = None,
    progress: Progress = no_progress,
) -> Learned:
    """Learn to tell the classes of a dataset.

    Parameters
    ----------
    dataset : Dataset
        With a training and a validation part; a test part is optional.
    weights : BackboneWeights
        The backbone to stand on.
    how : HeadTraining
        Options of the head.
    fine_tuning : FineTuning, optional
        Options of the second stage, in which the backbone learns too.
    progress : Progress
        Told what is being done.

    Raises
    ------
    TrainingError
        If there are no readable training or validation images, or training fails.
    """
    pictures = _Pictures(dataset, progress)
    parts, features, labels = pictures.look(weights, more_views=True)
    _check(parts, pictures.refused)
    n_classes = len(dataset.taxonomy.classes)
    valid = parts["valid"]
    trained = train_head(features, labels, valid.features, valid.labels, n_classes, how, progress)
    if fine_tuning is not None and not trained.interrupted:
        weights, trained = _second_stage(parts, weights, trained, fine_tuning, progress)
        parts, _, _ = pictures.look(weights, more_views=False)
    return _judged(parts, weights, trained, tuple(pictures.refused.values()), n_classes)


def _second_stage(
    parts: Mapping[Split, Part],
    weights: BackboneWeights,
    first: TrainedHead,
    how: FineTuning,
    progress: Progress,
) -> tuple[BackboneWeights, TrainedHead]:
    train, valid = parts["train"], parts["valid"]
    task = Task(
        "cells",
        first.head.n_classes,
        [sample.path for sample in train.samples],
        train.labels,
        valid_paths=[sample.path for sample in valid.samples],
        valid_labels=valid.labels,
        head=first.head,
    )
    tuned = fine_tune([task], weights, how, progress=progress)
    done = len(first.history)
    later = tuple({**row, "epoch": row["epoch"] + done} for row in tuned.history)
    both = TrainedHead(tuned.heads[task.name], first.history + later, tuned.interrupted)
    return tuned.weights, both


def _judged(
    parts: Mapping[Split, Part],
    weights: BackboneWeights,
    trained: TrainedHead,
    refused: tuple[ImageError, ...],
    n_classes: int,
) -> Learned:
    train, valid = parts["train"], parts["valid"]
    temperature = fit_temperature(trained.head.logits(valid.features), valid.labels)
    head = trained.head.with_temperature(temperature)
    novelty = fit_novelty(train.features, train.labels, n_classes)
    trust = fit_thresholds(
        head.probabilities(valid.features),
        novelty.score(valid.features),
        valid.labels,
        temperature=temperature,
    )
    return Learned(
        weights, head, novelty, trust, trained.history, parts, refused, trained.interrupted
    )


def _check(parts: Mapping[Split, Part], refused: Mapping[str, ImageError]) -> None:
    for split, purpose in (("train", "learn from"), ("valid", "stop and calibrate by")):
        part = parts.get(split)  # type: ignore[call-overload]
        if part is None or not part.samples:
            raise TrainingError(
                f"The {split} part has no readable image ({len(refused)} of the dataset's images "
                f"could not be read); some are needed to {purpose}. `hematovision data check` "
                "tells more."
            )
