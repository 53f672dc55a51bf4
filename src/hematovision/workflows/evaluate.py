"""``evaluate``: evaluate a classifier on labelled images, or a detector on annotated fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hematovision.data.classes import choose_taxonomy
from hematovision.data.folders import class_folders, read_dataset
from hematovision.data.samples import Dataset
from hematovision.data.screening import copy_warnings, unsupported_warnings
from hematovision.errors import ImageError, ModelError, TaxonomyError
from hematovision.evaluation import Metrics, TrainingSplit
from hematovision.evaluation.comparison import CommonClasses
from hematovision.extras import require
from hematovision.fields.opening import open_classifier
from hematovision.figures import show
from hematovision.model.bundle import read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.registry import find_model
from hematovision.paths import shown
from hematovision.progress import Progress, no_progress, notify
from hematovision.reporting.plots import metrics_figure
from hematovision.reporting.report import ReportFacts
from hematovision.taxonomy import FOLDERS, TAXONOMIES, Taxonomy
from hematovision.workflows.detection import (
    DetectionOptions,
    DetectionResult,
    evaluate_detector,
)
from hematovision.workflows.labelled import Part, choose_split, predict_labelled, read_colours
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.scoring import (
    LabelledPredictions,
    boxes_of,
    score_model,
    split_counts,
    write_evaluation,
)

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = ["DatasetClasses", "EvaluateResult", "classes_for", "evaluate"]

_BASELINE_IMAGES = 2000
"""Limit of training images for the mean-colour baseline."""


@dataclass(frozen=True)
class EvaluateResult:
    """The folder of an evaluation, the report in it, the metrics, and unreadable images.

    Examples
    --------
    >>> import hematovision
    >>> result = hematovision.evaluate("rbc-wbc-platelets", "cells", out="evaluation")
    >>> result
    EvaluateResult('evaluation', 6 images: accuracy 100.0%, balanced accuracy 100.0%)
    >>> result.plot().savefig("confusion.png")
    """

    folder: Path
    report: Path
    metrics: Metrics
    refused: tuple[ImageError, ...]

    def __repr__(self) -> str:
        return f"EvaluateResult({str(self.folder)!r}, {self.metrics.summary})"

    def to_pandas(self) -> DataFrame:
        """Return the scores of each class; see `Metrics.to_pandas`."""
        return self.metrics.to_pandas()

    def plot(self) -> Figure:
        """Return a matplotlib figure of the confusion matrix."""
        return show(metrics_figure(self.metrics))


def evaluate(
    model: str | Path,
    dataset: str | Path,
    *,
    out: str | Path,
    split: Part = "test",
    taxonomy: str | None = None,
    fields: DetectionOptions | None = None,
    progress: Progress = no_progress,
) -> EvaluateResult | DetectionResult:
    """Evaluate a classifier on labelled images, or a detector on annotated fields.

    Parameters
    ----------
    model : str or Path
        A bundled model's name or a run folder.
    dataset : str or Path
        Of a classifier, folders named after classes of the model, or coarser classes; see
        `classes_for`. Of a detector, annotated fields; see `evaluate_detector`.
    out : str or Path
        The folder to create; must be new or empty.
    split : {"train", "valid", "test", "all"}
        Datasets without splits are evaluated whole.
    taxonomy : str, optional
        The name of a coarser taxonomy for the evaluation, or ``"folders"``; by default
        `classes_for` chooses. Not for detectors.
    fields : DetectionOptions, optional
        How to read annotated fields, and what to evaluate. Not for classifiers.
    progress : Progress
        Called as ``progress(done, total, step, unit)``.

    Raises
    ------
    DatasetError
        If the dataset has no such split, or the split has no readable image; a `TaxonomyError` if
        a folder is not a class of the model.
    ModelNotFoundError, BundleError
        If the model cannot be used.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        Immediately, if matplotlib or Jinja2 is not installed.
    ModelError
        If `taxonomy` is given for a detector, or `fields` for a classifier.

    Examples
    --------
    >>> import hematovision
    >>> result = hematovision.evaluate("rbc-wbc-platelets", "cells", out="results", split="all")
    >>> result.metrics.n
    30
    """
    dataset, out = Path(dataset), Path(out)
    bundle = read_bundle(find_model(model))
    if bundle.manifest.task == "detection":
        if taxonomy is not None:
            raise ModelError(
                f"{bundle.name} is a detector, which has its own classes. Omit --taxonomy."
            )
        return evaluate_detector(
            model, dataset, out=out, split=split, options=fields, progress=progress
        )
    require("evaluate")
    if fields is not None:
        raise ModelError(
            f"{bundle.name} is a classifier, which is evaluated on class folders. Omit the options "
            "for fields (--format, --annotations, --names, --lab, --known-scale, --detector-only), "
            "or choose a detector."
        )
    classifier = open_classifier(bundle)
    found = classes_for(classifier.taxonomy, class_folders(dataset), taxonomy, where=str(dataset))
    data = found.relabel(read_dataset(dataset, found.taxonomy, progress=progress))
    chosen = choose_split(data, split)
    with claimed_folder(out, inputs=[dataset]):
        return _evaluate(classifier, found, data, chosen, out, split, progress)


def _evaluate(
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
    (predictions,), refused = predict_labelled([classifier], chosen, progress)
    predictions = found.fold(predictions)
    thresholds, manifest = classifier.thresholds, classifier.bundle.manifest
    metrics = score_model(predictions, found.classes, thresholds, _training(data), seed=0)
    metrics = replace(metrics, warnings=(*metrics.warnings, *notes))
    whole = split == "all" or not data.splits
    facts = ReportFacts(
        title=f"{shown(data.root.name)}: {'all images' if whole else f'{split} split'}",
        model=classifier.bundle.name,
        dataset=shown(data.root.name),
        split="all" if whole else split,
        split_sizes=split_counts(data),
        details={"Backbone": manifest.backbone.name},
        labs=tuple(map(str, manifest.data.get("labs", ()))),
        notes=tuple(shown(f"Not evaluated, cannot be read: {error}") for error in refused[:10]),
    )
    explainer = classifier if classifier.explains else None
    report = write_evaluation(
        out, metrics, facts, predictions, data, thresholds, explainer=explainer
    )
    return EvaluateResult(out, report, metrics, refused)


def _training(data: Dataset) -> TrainingSplit | None:
    """Return the dataset's own training split, for the baselines; None if there is none."""
    if "train" not in data.splits:
        return None
    train = data.subset("train")
    samples, labels = train.samples, train.labels
    if len(samples) > _BASELINE_IMAGES:
        some = np.sort(np.random.default_rng(0).permutation(len(samples))[:_BASELINE_IMAGES])
        samples, labels = tuple(samples[i] for i in some), labels[some]
    kept, colours = read_colours(samples)
    return TrainingSplit(labels[kept], boxes_of([samples[i] for i in kept]), colours)


@dataclass(frozen=True)
class DatasetClasses:
    """The classes for evaluating a model on a dataset; created by `classes_for`."""

    taxonomy: Taxonomy  # for reading the dataset
    common: CommonClasses | None = None  # of both taxonomies; None if they are the same

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the metrics."""
        return self.taxonomy.classes if self.common is None else self.common.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """A note on which of the model's classes are summed, if any."""
        names = {} if self.common is None else self.common.names[1]
        if not names:
            return ()
        listed = (
            f"{end} ({', '.join(name for name, to in names.items() if to == end)})"
            for end in self.classes
            if end in names.values()
        )
        return (f"Model classes summed for this dataset: {', '.join(listed)}.",)

    def relabel(self, data: Dataset) -> Dataset:
        """Return a dataset whose label indices are those of `classes`."""
        if self.common is None:
            return data
        return replace(data, taxonomy=replace(self.taxonomy, classes=self.classes))

    def fold(self, predictions: LabelledPredictions) -> LabelledPredictions:
        """Sum probabilities to `classes`; review depends on the model's own confidence."""
        if self.common is None:
            return predictions
        return replace(
            predictions,
            probabilities=self.common.fold(predictions.probabilities, 1),
            own_confidence=predictions.probabilities.max(axis=1),
        )


def classes_for(
    model: Taxonomy, folders: Mapping[str, int], name: str | None = None, *, where: str
) -> DatasetClasses:
    """Return the classes for evaluating a model on a dataset.

    They are the model's own if all folders are classes of the model. If the folders are coarser,
    the model's probabilities are summed, as in `compare`.

    `folders` are the numbers of images per class folder. `name` is the taxonomy for the evaluation,
    ``"folders"`` for the folder names; `where` is the dataset's name in messages. Raises
    `TaxonomyError` if a folder is neither a class of the model nor of a coarser taxonomy.
    """
    if name is None and all(model.find(folder) for folder in folders):
        return DatasetClasses(model)
    for coarser in _candidates(folders, name, where):
        common = _common(coarser, model)
        if common and {coarser.find(folder) for folder in folders} <= set(common.classes):
            return DatasetClasses(coarser, common)
    unknown = [f"{folder!r} ({n})" for folder, n in folders.items() if not model.find(folder)]
    cannot = ", ".join(unknown) or f"the classes of the taxonomy {name!r}"
    raise TaxonomyError(
        f"{where}: the model cannot predict {cannot}. Its classes are {', '.join(model.classes)} "
        "(and their usual spellings). Rename these folders, move them away, or evaluate a model "
        "that was trained on such classes."
    )


def _common(coarser: Taxonomy, model: Taxonomy) -> CommonClasses | None:
    """Return the common classes if `coarser` is the coarser taxonomy and has at least two."""
    try:
        common = CommonClasses.of(coarser, model)
    except TaxonomyError:
        return None
    return common if common.taxonomy is coarser else None


def _candidates(folders: Mapping[str, int], name: str | None, where: str) -> Iterable[Taxonomy]:
    """Yield the taxonomies with a class for every folder; the folder names come last."""
    if name is not None:
        yield choose_taxonomy(folders, name, where=where)
        return
    for taxonomy in TAXONOMIES.values():
        if all(taxonomy.find(folder) for folder in folders):
            yield taxonomy
    if len(folders) > 1:
        yield choose_taxonomy(folders, FOLDERS, where=where)
