"""The job of evaluating: a model and labelled images in, figures and a report out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hematovision.data.folders import class_folders, read_dataset
from hematovision.data.samples import Dataset
from hematovision.data.screening import copy_warnings, unsupported_warnings
from hematovision.errors import ImageError
from hematovision.evaluation import Metrics, TrainingSplit
from hematovision.extras import require
from hematovision.model.classifier import Classifier
from hematovision.paths import shown
from hematovision.progress import Progress, no_progress, notify
from hematovision.reporting import ReportFacts
from hematovision.workflows.dataset_classes import DatasetClasses, classes_for
from hematovision.workflows.labelled import Part, choose_split, predict_labelled, read_colours
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.scoring import boxes_of, score_model, split_counts, write_evaluation

__all__ = ["EvaluateResult", "evaluate"]

_BASELINE_IMAGES = 2000
"""How many training images the mean-colour baseline learns from: three means need no more."""


@dataclass(frozen=True)
class EvaluateResult:
    """What an evaluation led to: the folder, the report in it, figures, and what was refused."""

    folder: Path
    report: Path
    metrics: Metrics
    refused: tuple[ImageError, ...]


def evaluate(
    model: str | Path,
    dataset: Path,
    *,
    out: Path,
    split: Part = "test",
    taxonomy: str | None = None,
    progress: Progress = no_progress,
) -> EvaluateResult:
    """Judge a model on labelled images, by the way that every door takes to an answer.

    Parameters
    ----------
    model : str or Path
        A bundled model's name or a run folder.
    dataset : Path
        Class folders whose names mean classes of the model, or coarser ones to which the model's
        can be added up; see `classes_for`.
    out : Path
        The folder to make; must not exist or be empty.
    split : {"train", "valid", "test", "all"}
        Which part. A dataset without parts is evaluated whole.
    taxonomy : str, optional
        The name of a taxonomy to evaluate in, for instance that of three classes for a model of
        eight, or ``"folders"``; by default as `classes_for` finds it.
    progress : Progress
        Told which classes the folders stand for, before the work.

    Raises
    ------
    DatasetError
        If the dataset has no such part, or not one readable image in it; a `TaxonomyError` if a
        folder is no class of the model.
    ModelNotFoundError, BundleError
        If the model cannot be used.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        At once, if matplotlib or Jinja2 is not installed.
    """
    require("evaluate")
    classifier = Classifier.load(model)
    found = classes_for(classifier.taxonomy, class_folders(dataset), taxonomy, where=str(dataset))
    data = found.relabel(read_dataset(dataset, found.taxonomy, progress=progress))
    chosen = choose_split(data, split)
    with claimed_folder(out, inputs=[dataset]):
        return _evaluated(classifier, found, data, chosen, out, split, progress)


def _evaluated(
    classifier: Classifier,
    found: DatasetClasses,
    data: Dataset,
    chosen: Dataset,
    out: Path,
    split: Part,
    progress: Progress,
) -> EvaluateResult:
    notes = (*found.notes, *unsupported_warnings(data), *copy_warnings(data))
    for note in notes:
        notify(progress, f"Note: {note}")
    (answered,), refused = predict_labelled([classifier], chosen, progress)
    answered = found.fold(answered)
    metrics = score_model(answered, found.classes, classifier.thresholds, _training(data), seed=0)
    metrics = replace(metrics, warnings=(*metrics.warnings, *notes))
    whole = split == "all" or not data.splits
    facts = ReportFacts(
        title=f"{shown(data.root.name)}: {'all images' if whole else f'{split} part'}",
        model=classifier.bundle.name,
        dataset=shown(data.root.name),
        split="all" if whole else split,
        split_sizes=split_counts(data),
        details={"Backbone": classifier.bundle.manifest.backbone.name},
        labs=tuple(map(str, classifier.bundle.manifest.data.get("labs", ()))),
        notes=tuple(
            shown(f"Not evaluated, since it cannot be read: {error}") for error in refused[:10]
        ),
    )
    looked = classifier.attention if classifier.explains else None
    report = write_evaluation(
        out, metrics, facts, answered, data, classifier.thresholds, looked=looked
    )
    return EvaluateResult(out, report, metrics, refused)


def _training(data: Dataset) -> TrainingSplit | None:
    """Return what the trivial baselines learn from: the dataset's own training part, if any."""
    if "train" not in data.splits:
        return None
    part = data.subset("train")
    samples, labels = part.samples, part.labels
    if len(samples) > _BASELINE_IMAGES:
        some = np.sort(np.random.default_rng(0).permutation(len(samples))[:_BASELINE_IMAGES])
        samples, labels = tuple(samples[i] for i in some), labels[some]
    kept, colours = read_colours(samples)
    return TrainingSplit(labels[kept], boxes_of([samples[i] for i in kept]), colours)
