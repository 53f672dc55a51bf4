"""Train a model: dataset -> features -> head (-> fine-tuning -> features) -> thresholds.

Nothing is fitted to the test split; only its features are computed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from hematovision.data.samples import Split
from hematovision.errors import ImageError, TrainingError
from hematovision.files import sha256_bytes
from hematovision.model.calibration import fit_calibration
from hematovision.model.head import Head
from hematovision.model.novelty import Novelty, fit_novelty
from hematovision.model.thresholds import Thresholds, fit_thresholds
from hematovision.model.weights import Weights
from hematovision.paths import name_bytes
from hematovision.plurals import counted
from hematovision.progress import Progress
from hematovision.stages import stage
from hematovision.training.inputs import (
    DatasetFeatures,
    FeatureReader,
    SplitFeatures,
    decoy_features,
)
from hematovision.training.keras_import import import_keras, require_keras
from hematovision.training.recipe import Epoch, FineTuning, HeadTraining, TrainedHead

__all__ = ["TrainedModel", "train_model"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with its training history and features."""

    weights: Weights  # original or fine-tuned
    head: Head  # with the calibration folded into its last layer
    novelty: Novelty  # fitted to training images and decoys
    temperature: float  # of the calibration, fitted on the validation split
    thresholds: Thresholds  # fitted on the validation split
    history: tuple[Epoch, ...]  # one row per epoch; fine-tuning continues the numbering
    splits: Mapping[Split, SplitFeatures]
    refused: tuple[ImageError, ...]  # images that could not be read
    interrupted: bool = False  # whether Ctrl-C ended training early

    @property
    def fingerprint(self) -> str:
        """SHA-256 over split, class and content of every image, independent of file names."""
        lines = sorted(
            f"{split} {sample.label} {digest}"
            for split, features in self.splits.items()
            for sample, digest in zip(features.samples, features.digests, strict=True)
        )
        return sha256_bytes(name_bytes("\n".join(lines)))


def train_model(
    reader: FeatureReader,
    weights: Weights,
    options: HeadTraining,
    fine_tuning: FineTuning | None = None,
    *,
    trained: TrainedHead | None = None,
) -> TrainedModel:
    """Train a model on the classes of a dataset.

    The dataset has a training and a validation split; a test split is optional. `fine_tuning` are
    the options of a second stage, which also trains the backbone. `trained` is a head that was
    trained on these classes and weights; it is only calibrated. Raises `TrainingError` if there are
    no readable training or validation images, or training fails. Raises `MissingExtraError` at
    once, if Keras is not installed and a head is to be trained.
    """
    require_keras()
    progress = reader.progress
    with stage(_LOG, "Reading the features of %s", counted(len(reader.dataset), "image")):
        dataset = reader.read(weights, more_views=trained is None)
    splits, n_classes = dataset.splits, len(reader.dataset.taxonomy.classes)
    _check(splits, reader.refused)
    with ThreadPoolExecutor(1) as pool:
        novelty = _start_novelty(pool, splits["train"], weights, n_classes, progress)
        if trained is None:
            trained = _train_head(dataset, n_classes, options, progress)
        if fine_tuning is not None and not trained.interrupted:
            weights, trained = _fine_tune(splits, weights, trained, fine_tuning, progress)
            splits = reader.read(weights, more_views=False).splits
            novelty = _start_novelty(pool, splits["train"], weights, n_classes, progress)
        return _calibrated(
            splits, weights, trained, tuple(reader.refused.values()), novelty.result()
        )


def _start_novelty(
    pool: ThreadPoolExecutor,
    train: SplitFeatures,
    weights: Weights,
    n_classes: int,
    progress: Progress,
) -> Future[Novelty]:
    """Fit the novelty on a thread, while importing Keras leaves CPUs idle."""
    decoys = decoy_features(train, weights, progress)
    return pool.submit(fit_novelty, train.features, train.labels, n_classes, decoys)


def _train_head(
    dataset: DatasetFeatures, n_classes: int, options: HeadTraining, progress: Progress
) -> TrainedHead:
    import_keras()
    from hematovision.training.fitting import train_head

    valid = dataset.splits["valid"]
    rows, labels = dataset.features, dataset.labels
    with stage(_LOG, "Training the head on %s", counted(len(rows), "row")):
        return train_head(rows, labels, valid.features, valid.labels, n_classes, options, progress)


def _fine_tune(
    splits: Mapping[Split, SplitFeatures],
    weights: Weights,
    first: TrainedHead,
    options: FineTuning,
    progress: Progress,
) -> tuple[Weights, TrainedHead]:
    from hematovision.training.fitting import fine_tune

    with stage(_LOG, "Fine-tuning the backbone"):
        tuned = fine_tune(
            splits["train"], splits["valid"], first.head, weights, options, progress=progress
        )
    done = len(first.history)
    later = tuple({**row, "epoch": row["epoch"] + done} for row in tuned.history)
    return tuned.weights, TrainedHead(tuned.head, first.history + later, tuned.interrupted)


def _calibrated(
    splits: Mapping[Split, SplitFeatures],
    weights: Weights,
    trained: TrainedHead,
    refused: tuple[ImageError, ...],
    novelty: Novelty,
) -> TrainedModel:
    valid = splits["valid"]
    calibration = fit_calibration(trained.head.logits(valid.features), valid.labels)
    head = calibration.fold(trained.head)
    novelty = novelty.scaled_to(valid.features)
    thresholds = fit_thresholds(
        head.probabilities(valid.features),
        novelty.score(valid.features),
        valid.labels,
        valid.fields,
    )
    return TrainedModel(
        weights,
        head,
        novelty,
        calibration.temperature,
        thresholds,
        trained.history,
        splits,
        refused,
        trained.interrupted,
    )


def _check(splits: Mapping[Split, SplitFeatures], refused: Mapping[str, ImageError]) -> None:
    for split, purpose in (
        ("train", "to train on"),
        ("valid", "for early stopping and calibration"),
    ):
        found = splits.get(split)  # type: ignore[call-overload]
        if found is None or not found.samples:
            raise TrainingError(
                f"The {split} split has no readable image ({len(refused)} of the dataset's images "
                f"could not be read); some are needed {purpose}. Run `hematovision data check` "
                "for details."
            )
