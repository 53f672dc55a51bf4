"""The way of learning: dataset -> features -> head (-> fine-tuning -> features) -> trust.

The test part is looked at here only to compute its features; nothing is fitted to it.
"""

from __future__ import annotations

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
from hematovision.model.weights import BackboneWeights
from hematovision.paths import name_bytes
from hematovision.progress import Progress
from hematovision.training.decoys import decoy_features
from hematovision.training.keras_import import import_keras, require_keras
from hematovision.training.pictures import Look, Part, Pictures
from hematovision.training.recipe import Epoch, FineTuning, HeadTraining, TrainedHead

__all__ = ["TrainedModel", "train_model"]


@dataclass(frozen=True)
class TrainedModel:
    """Everything that learning led to.

    Parameters
    ----------
    weights : BackboneWeights
        Those that were given, or fine-tuned ones.
    head : Head
        Calibrated: temperature and class biases are folded into its last layer.
    novelty : Novelty
        What the training features look like, and what decoys do.
    temperature : float
        Of the calibration, fitted on the validation split.
    thresholds : Thresholds
        Fitted on the validation split.
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
    temperature: float
    thresholds: Thresholds
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
        return sha256_bytes(name_bytes("\n".join(lines)))


def train_model(
    pictures: Pictures,
    weights: BackboneWeights,
    how: HeadTraining,
    fine_tuning: FineTuning | None = None,
    *,
    trained: TrainedHead | None = None,
) -> TrainedModel:
    """Learn to tell the classes of a dataset.

    Parameters
    ----------
    pictures : Pictures
        The dataset, with a training and a validation part; a test part is optional.
    weights : BackboneWeights
        The backbone to stand on.
    how : HeadTraining
        Options of the head.
    fine_tuning : FineTuning, optional
        Options of the second stage, in which the backbone learns too.
    trained : TrainedHead, optional
        A head that has learnt these classes on these weights already; it is only calibrated.

    Raises
    ------
    TrainingError
        If there are no readable training or validation images, or training fails.
    MissingExtraError
        At once, if Keras is not installed and a head is to be trained.
    """
    require_keras()
    progress = pictures.progress
    look = pictures.look(weights, more_views=trained is None)
    parts, n_classes = look.parts, len(pictures.dataset.taxonomy.classes)
    _check(parts, pictures.refused)
    with ThreadPoolExecutor(1) as aside:
        novelty = _novelty_aside(aside, parts["train"], weights, n_classes, progress)
        if trained is None:
            trained = _first_stage(look, n_classes, how, progress)
        if fine_tuning is not None and not trained.interrupted:
            weights, trained = _second_stage(parts, weights, trained, fine_tuning, progress)
            parts = pictures.look(weights, more_views=False).parts
            novelty = _novelty_aside(aside, parts["train"], weights, n_classes, progress)
        return _judged(parts, weights, trained, tuple(pictures.refused.values()), novelty.result())


def _novelty_aside(
    aside: ThreadPoolExecutor,
    train: Part,
    weights: BackboneWeights,
    n_classes: int,
    progress: Progress,
) -> Future[Novelty]:
    """Fit the novelty on a thread: it needs no head, and importing Keras leaves processors idle."""
    decoys = decoy_features(train, weights, progress)
    return aside.submit(fit_novelty, train.features, train.labels, n_classes, decoys)


def _first_stage(look: Look, n_classes: int, how: HeadTraining, progress: Progress) -> TrainedHead:
    import_keras()
    from hematovision.training.head import train_head

    valid = look.parts["valid"]
    return train_head(
        look.features, look.labels, valid.features, valid.labels, n_classes, how, progress
    )


def _second_stage(
    parts: Mapping[Split, Part],
    weights: BackboneWeights,
    first: TrainedHead,
    how: FineTuning,
    progress: Progress,
) -> tuple[BackboneWeights, TrainedHead]:
    from hematovision.training.finetune import fine_tune

    tuned = fine_tune(parts["train"], parts["valid"], first.head, weights, how, progress=progress)
    done = len(first.history)
    later = tuple({**row, "epoch": row["epoch"] + done} for row in tuned.history)
    return tuned.weights, TrainedHead(tuned.head, first.history + later, tuned.interrupted)


def _judged(
    parts: Mapping[Split, Part],
    weights: BackboneWeights,
    trained: TrainedHead,
    refused: tuple[ImageError, ...],
    novelty: Novelty,
) -> TrainedModel:
    valid = parts["valid"]
    calibration = fit_calibration(trained.head.logits(valid.features), valid.labels)
    head = calibration.fold(trained.head)
    novelty = novelty.scaled_to(valid.features)
    thresholds = fit_thresholds(
        head.probabilities(valid.features),
        novelty.score(valid.features),
        valid.labels,
    )
    return TrainedModel(
        weights,
        head,
        novelty,
        calibration.temperature,
        thresholds,
        trained.history,
        parts,
        refused,
        trained.interrupted,
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
