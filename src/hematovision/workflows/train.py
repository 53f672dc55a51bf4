"""The job of training: a dataset in, a run folder with model, figures, report and card out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from hematovision.data.folders import class_folders, read_dataset
from hematovision.data.samples import Dataset
from hematovision.data.screening import copy_warnings, unsupported_warnings
from hematovision.data.splits import complete_splits
from hematovision.errors import ImageError
from hematovision.evaluation import Metrics
from hematovision.extras import needs_extra, require
from hematovision.progress import Progress, no_progress, notify
from hematovision.taxonomy import PBC8, names_pbc8
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.run_folder import Recipe, evaluated_split, write_figures, write_model

with needs_extra("train", "Training"):
    from hematovision.training.curve import CurvePoint, learning_curve
    from hematovision.training.inputs import FeatureReader
    from hematovision.training.pretrained import load_weights
    from hematovision.training.recipe import FineTuning, HeadTraining
    from hematovision.training.trainer import TrainedModel, train_model

__all__ = ["TrainOptions", "TrainResult", "train"]


@dataclass(frozen=True)
class TrainOptions:
    """How to train; the defaults are the classic recipe.

    Parameters
    ----------
    taxonomy : str or None
        A taxonomy's name, ``"folders"`` for the folders' own names; None as for `read_dataset`.
    weights : str
        ``"hematology"``, ``"imagenet"`` or a file.
    fine_tune : bool
        Whether the backbone learns too, in a second stage.
    fine_tune_blocks : int or None
        How many of its 17 blocks, from the top; None is all.
    epochs, batch_size, patience, seed : int
        As in `HeadTraining`.
    learning_curve : bool
        Whether to measure, too, what fewer images would have led to.
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


@dataclass(frozen=True)
class TrainResult:
    """What a training led to.

    Parameters
    ----------
    folder : Path
        The run folder, which is a bundle.
    report : Path
    metrics : Metrics
        Of the test part, or of the validation part where there is no test part (with a warning).
    interrupted : bool
        Whether Ctrl-C ended it early.
    refused : tuple of ImageError
        Images that could not be read.
    notes : tuple of str
        What the user should know about how the dataset was understood.
    curve : tuple of CurvePoint
        The learning curve, where it was asked for; also in ``learning_curve.csv``.
    """

    folder: Path
    report: Path
    metrics: Metrics
    interrupted: bool
    refused: tuple[ImageError, ...]
    notes: tuple[str, ...]
    curve: tuple[CurvePoint, ...] = ()


def train(
    dataset: Path,
    out: Path,
    options: TrainOptions = TrainOptions(),  # frozen
    *,
    progress: Progress = no_progress,
) -> TrainResult:
    """Train a model on class folders, and evaluate it on the test part.

    Parameters
    ----------
    dataset : Path
        Class folders, with or without Train, Valid and Test.
    out : Path
        The run folder to make; must not exist or be empty.
    options : TrainOptions
    progress : Progress

    Raises
    ------
    DatasetError
        If `dataset` is none, or cannot be split.
    WeightsError
        If the weights cannot be had.
    TrainingError
        If training cannot start, or leads to nothing.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        At once, if the extra ``train`` is not installed.
    """
    require("train")
    with claimed_folder(out, inputs=[dataset]):
        return _train(dataset, out, options, progress)


def _train(dataset: Path, out: Path, options: TrainOptions, progress: Progress) -> TrainResult:
    found = read_dataset(dataset, options.taxonomy, progress=progress)
    data = complete_splits(found, options.seed)
    warnings = (*unsupported_warnings(data), *copy_warnings(data))
    for warning in warnings:
        notify(progress, f"Warning: {warning}")
    notes = (*_notes(found, data, class_folders(dataset)), *warnings)
    weights = load_weights(options.weights)
    how = HeadTraining(options.epochs, options.batch_size, options.patience, seed=options.seed)
    learned = train_model(FeatureReader(data, progress), weights, how, _fine_tuning(options))
    recipe = Recipe(_weights_name(options), options.seed, options.epochs, asdict(options), notes)
    bundle = write_model(out, data, learned, recipe)
    curve = _curve(learned, how, progress) if options.learning_curve else ()
    report, metrics = write_figures(bundle, data, learned, recipe, curve)
    return TrainResult(out, report, metrics, learned.interrupted, learned.refused, notes, curve)


def _notes(found: Dataset, data: Dataset, folders: Iterable[str]) -> tuple[str, ...]:
    """Say what was decided for the user: classes merged, parts made."""
    notes = []
    classes = found.taxonomy.classes
    if names_pbc8(folders) and len(classes) < len(PBC8.classes):
        notes.append(
            f"The eight PBC folders were mapped to {', '.join(classes)}. To tell all eight apart, "
            "use --taxonomy folders."
        )
    made = [split for split in data.splits if split not in found.splits]
    if made:
        notes.append(
            f"The dataset had no {' or '.join(made)} split. It was made from whole groups by the "
            "seed, and is recorded in split.csv."
        )
    if "test" not in data.splits:
        notes.append(
            "There is no test split: the results are for the validation split, which was used for "
            "early stopping and calibration, so they are optimistic. Evaluate the model on other "
            "images."
        )
    return tuple(notes)


def _fine_tuning(options: TrainOptions) -> FineTuning | None:
    if not options.fine_tune:
        return None
    return FineTuning(blocks=options.fine_tune_blocks, patience=options.patience, seed=options.seed)


def _curve(learned: TrainedModel, how: HeadTraining, progress: Progress) -> tuple[CurvePoint, ...]:
    train, valid = learned.splits["train"], learned.splits["valid"]
    judged = learned.splits[evaluated_split(learned)]
    return learning_curve(train, valid, judged, learned.head.n_classes, how, progress)


def _weights_name(options: TrainOptions) -> str:
    known = options.weights in {"hematology", "imagenet"}
    name = options.weights if known else Path(options.weights).name
    return f"{name}, fine-tuned" if options.fine_tune else name
