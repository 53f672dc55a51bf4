"""``train``: train a model on a dataset and write a run folder."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hematovision.data.folders import class_folders, read_dataset
from hematovision.data.samples import Dataset
from hematovision.data.screening import copy_warnings, unsupported_warnings
from hematovision.data.splits import complete_splits
from hematovision.errors import ImageError
from hematovision.evaluation import Metrics
from hematovision.extras import needs_extra, require
from hematovision.figures import show
from hematovision.model.registry import DEFAULT_BACKBONE
from hematovision.progress import Progress, no_progress, notify
from hematovision.reporting.plots import metrics_figure
from hematovision.taxonomy import PBC8, names_pbc8
from hematovision.workflows.outputs import claimed_folder

with needs_extra("train", "Training"):
    from hematovision.training.curve import CurvePoint, learning_curve
    from hematovision.training.inputs import FeatureReader
    from hematovision.training.pretrained import load_weights
    from hematovision.training.recipe import FineTuning, HeadTraining
    from hematovision.training.trainer import TrainedModel, train_model
    from hematovision.workflows.run_folder import (
        Recipe,
        evaluated_split,
        write_model,
        write_results,
    )

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = ["TrainOptions", "TrainResult", "train"]


@dataclass(frozen=True)
class TrainOptions:
    """Options of `train`; the defaults are the classic recipe.

    Parameters
    ----------
    taxonomy : str or None
        A taxonomy's name, ``"folders"`` for the folder names, or None; see `read_dataset`.
    weights : str
        ``"hematology"``, ``"imagenet"`` or a file.
    fine_tune : bool
        Whether to train the backbone too, in a second stage.
    fine_tune_blocks : int or None
        How many of the 17 blocks to train, from the top; None trains all.
    epochs, batch_size, patience : int
        See `HeadTraining`; at least 1.
    seed : int
        See `HeadTraining`; from 0 to 2**32 - 1.
    learning_curve : bool
        Whether to measure accuracy against the number of training images.
    backbone : str
        One of `registry.BACKBONES`; the hematology weights exist only for MobileNetV2.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> import hematovision
    >>> hematovision.TrainOptions(epochs=30, fine_tune=True).patience
    5
    """

    taxonomy: str | None = None
    weights: str = "hematology"
    fine_tune: bool = False
    fine_tune_blocks: int | None = 6
    epochs: int = 15
    batch_size: int = 32
    patience: int = 5
    seed: int = 0
    learning_curve: bool = False
    backbone: str = DEFAULT_BACKBONE

    def __post_init__(self) -> None:
        blocks = 1 if self.fine_tune_blocks is None else self.fine_tune_blocks
        _check("fine_tune_blocks", blocks, 1)
        for name in ("epochs", "batch_size", "patience"):
            _check(name, getattr(self, name), 1)
        _check("seed", self.seed, 0, 2**32 - 1)


def _check(name: str, value: Any, least: int, most: int = sys.maxsize) -> None:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (is_whole and least <= value <= most):
        limit = f"at least {least}" if most == sys.maxsize else f"from {least} to {most}"
        raise ValueError(f"`{name}` must be a whole number, {limit}. Received: {value!r}")


@dataclass(frozen=True)
class TrainResult:
    """The result of `train`.

    Parameters
    ----------
    folder : Path
        The run folder, which is a bundle.
    report : Path
        ``report.html``.
    metrics : Metrics
        Of the test split, or of the validation split if there is none (with a warning).
    interrupted : bool
        Whether Ctrl-C ended training early.
    refused : tuple of ImageError
        Images that could not be read.
    notes : tuple of str
        How the dataset was read, and warnings about it.
    curve : tuple of CurvePoint
        The learning curve, if requested; also in ``learning_curve.csv``.

    Examples
    --------
    >>> import hematovision
    >>> options = hematovision.TrainOptions(epochs=1)
    >>> result = hematovision.train("cells", "runs/second", options)
    >>> result.metrics.n, len(result.to_pandas())
    (6, 3)
    >>> result.plot().savefig("confusion.png")
    """

    folder: Path
    report: Path
    metrics: Metrics
    interrupted: bool
    refused: tuple[ImageError, ...]
    notes: tuple[str, ...]
    curve: tuple[CurvePoint, ...] = ()

    def __repr__(self) -> str:
        return f"TrainResult({str(self.folder)!r}, {self.metrics.summary})"

    def to_pandas(self) -> DataFrame:
        """Return the scores of each class; see `Metrics.to_pandas`."""
        return self.metrics.to_pandas()

    def plot(self) -> Figure:
        """Return a matplotlib figure of the confusion matrix."""
        return show(metrics_figure(self.metrics))


def train(
    dataset: str | Path,
    out: str | Path,
    options: TrainOptions = TrainOptions(),  # frozen
    *,
    progress: Progress = no_progress,
) -> TrainResult:
    """Train a model on class folders, and evaluate it on the test split.

    Parameters
    ----------
    dataset : str or Path
        Class folders, with or without Train, Valid and Test.
    out : str or Path
        The run folder to create; must be new or empty.
    options : TrainOptions
        Classes, weights, epochs and more.
    progress : Progress
        Called as ``progress(done, total, step, unit)``.

    Raises
    ------
    DatasetError
        If `dataset` cannot be read or split.
    WeightsError
        If the weights cannot be read or downloaded.
    TrainingError
        If training cannot start or fails.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        Immediately, if the extra ``train`` is not installed.

    Examples
    --------
    >>> import hematovision
    >>> options = hematovision.TrainOptions(epochs=2)
    >>> result = hematovision.train("cells", "runs/first", options)
    >>> hematovision.load("runs/first").classes
    ('RBC', 'WBC', 'Platelets')
    """
    require("train")
    dataset, out = Path(dataset), Path(out)
    with claimed_folder(out, inputs=[dataset]):
        return _train(dataset, out, options, progress)


def _train(dataset: Path, out: Path, options: TrainOptions, progress: Progress) -> TrainResult:
    found = read_dataset(dataset, options.taxonomy, progress=progress)
    data = complete_splits(found, options.seed)
    warnings = (*unsupported_warnings(data), *copy_warnings(data))
    for warning in warnings:
        notify(progress, f"Warning: {warning}")
    notes = (*_notes(found, data, class_folders(dataset)), *warnings)
    weights = load_weights(options.weights, options.backbone)
    head = HeadTraining(options.epochs, options.batch_size, options.patience, seed=options.seed)
    trained = train_model(FeatureReader(data, progress), weights, head, _fine_tuning(options))
    recipe = Recipe(_weights_name(options), options.seed, options.epochs, asdict(options), notes)
    bundle = write_model(out, data, trained, recipe)
    curve = _curve(trained, head, progress) if options.learning_curve else ()
    report, metrics = write_results(bundle, data, trained, recipe, curve)
    return TrainResult(out, report, metrics, trained.interrupted, trained.refused, notes, curve)


def _notes(found: Dataset, data: Dataset, folders: Iterable[str]) -> tuple[str, ...]:
    """Return notes on automatic decisions: merged classes, new splits."""
    notes, classes = [], found.taxonomy.classes
    if names_pbc8(folders) and len(classes) < len(PBC8.classes):
        notes.append(
            f"The eight PBC folders were mapped to {', '.join(classes)}. To keep all eight "
            "classes, use --taxonomy folders."
        )
    made = [split for split in data.splits if split not in found.splits]
    if made:
        notes.append(
            f"The dataset had no {' or '.join(made)} split. It was created from whole groups and "
            "is recorded in split.csv."
        )
    if "test" not in data.splits:
        notes.append(
            "There is no test split, so the results are for the validation split. They are "
            "optimistic: early stopping and calibration used these images. Evaluate it on other "
            "images."
        )
    return tuple(notes)


def _fine_tuning(options: TrainOptions) -> FineTuning | None:
    if not options.fine_tune:
        return None
    return FineTuning(blocks=options.fine_tune_blocks, patience=options.patience, seed=options.seed)


def _curve(
    trained: TrainedModel, options: HeadTraining, progress: Progress
) -> tuple[CurvePoint, ...]:
    splits = trained.splits
    evaluated = splits[evaluated_split(trained)]
    n_classes = trained.head.n_classes
    return learning_curve(splits["train"], splits["valid"], evaluated, n_classes, options, progress)


def _weights_name(options: TrainOptions) -> str:
    known = options.weights in {"hematology", "imagenet"}
    name = options.weights if known else Path(options.weights).name
    return f"{name}, fine-tuned" if options.fine_tune else name
