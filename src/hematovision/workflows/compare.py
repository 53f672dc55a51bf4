"""``compare``: compare two models on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hematovision import images
from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import DatasetError, ImageError, ModelError
from hematovision.evaluation.comparison import (
    CommonClasses,
    Comparison,
    ModelPredictions,
    compare_predictions,
    write_comparison,
)
from hematovision.extras import require
from hematovision.fields.opening import load
from hematovision.figures import show
from hematovision.files import write_text
from hematovision.frames import plain_frame
from hematovision.model.bundle import ONNX, Bundle
from hematovision.model.classifier import Classifier
from hematovision.model.thresholds import accepts
from hematovision.paths import csv_text, shown
from hematovision.plurals import counted
from hematovision.progress import Progress, no_progress
from hematovision.reporting.comparison import (
    Differing,
    PairExample,
    difference_rows,
    verdict,
    write_comparison_report,
)
from hematovision.reporting.plots import differences_figure
from hematovision.reporting.report import GALLERY, ReportFacts
from hematovision.workflows.labelled import Part, choose_split, predict_labelled
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.scoring import LabelledPredictions

if TYPE_CHECKING:
    from hematovision.figures import Figure
    from hematovision.frames import DataFrame

__all__ = [
    "CompareResult", "DifferingImage", "compare", "differing_table", "find_differing", "gallery",
]  # fmt: skip

_COLUMNS = (
    "path",
    "true",
    "right",
    "first",
    "second",
    "first_confidence",
    "second_confidence",
    "first_decision",
    "second_decision",
    "group",
    "lab",
)


@dataclass(frozen=True)
class CompareResult:
    """The result of `compare`.

    Parameters
    ----------
    comparison : Comparison
        The metrics of both models and their differences.
    verdict : str
        Which model is better, in one sentence.
    differing : tuple of DifferingImage
        From `find_differing`.
    refused : tuple of ImageError
        Images that could not be read.
    notes : tuple of str
        Omitted images, and caveats.
    report : Path or None
        ``compare.html``, if `out` was given.

    Examples
    --------
    >>> import hematovision
    >>> result = hematovision.compare("rbc-wbc-platelets", "pbc8", "cells")
    >>> result.comparison.n, result.comparison.models
    (6, ('rbc-wbc-platelets', 'pbc8'))
    >>> list(result.to_pandas().columns)
    ['first', 'second', 'difference', 'low', 'high']
    >>> result.plot().savefig("differences.png")
    """

    comparison: Comparison
    verdict: str
    differing: tuple[DifferingImage, ...]
    refused: tuple[ImageError, ...]
    notes: tuple[str, ...]
    report: Path | None = None

    def __repr__(self) -> str:
        first, second = self.comparison.models
        images = counted(self.comparison.n, "image")
        return f"CompareResult({first!r} and {second!r}, {images}: {self.verdict})"

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row per score: both models, the difference and its limits.

        The difference is second minus first, with the ends of its 95% interval.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        one, two = self.comparison.first, self.comparison.second
        return plain_frame(
            (
                {
                    "score": name,
                    "first": getattr(one, name),
                    "second": getattr(two, name),
                    "difference": row.value,
                    "low": row.interval and row.interval[0],
                    "high": row.interval and row.interval[1],
                }
                for name, row in self.comparison.differences.items()
            ),
            index="score",
        )

    def plot(self) -> Figure:
        """Return a matplotlib figure of the differences with their 95% intervals."""
        return show(differences_figure(difference_rows(self.comparison)))


def compare(
    first: str | Path,
    second: str | Path,
    dataset: str | Path,
    *,
    split: Part = "test",
    splits: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress = no_progress,
) -> CompareResult:
    """Compare two models on the same labelled images.

    Parameters
    ----------
    first, second : str or Path
        Bundled models' names or run folders. Differences are second minus first. Models with
        different classes are compared on the classes that both can predict; see `CommonClasses`.
    dataset : str or Path
        Folders named after classes of the coarser model.
    split : {"train", "valid", "test", "all"}
        Datasets without splits are used whole.
    splits : str or Path, optional
        A ``split.csv``, such as that of a run folder; by default the dataset's own splits.
    out : str or Path, optional
        A new or empty folder for ``compare.json``, ``differences.csv`` and ``compare.html``.
    progress : Progress
        Called as ``progress(done, total, step, unit)``.

    Raises
    ------
    DatasetError
        If the dataset has no such split, or no readable image of a common class; a `TaxonomyError`
        if a folder is not a class of the models, or they have too few classes in common.
    ModelError
        If both are the same model, or a model cannot be used.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        Immediately, if `out` is given and matplotlib or Jinja2 is not installed.

    Examples
    --------
    >>> import hematovision
    >>> result = hematovision.compare("rbc-wbc-platelets", "pbc8", "cells", out="comparison")
    >>> result.report.name
    'compare.html'
    """
    if out is not None:
        require("compare")
    splits = None if splits is None else Path(splits)
    classifiers = [load(first), load(second)]
    _check_different(classifiers)
    common = CommonClasses.of(*(classifier.taxonomy for classifier in classifiers))
    data = read_dataset(Path(dataset), common.taxonomy, splits=splits, progress=progress)
    chosen = choose_split(data, split)
    kept = _comparable(chosen, common)
    whole = split == "all" or not data.splits
    notes = _notes(chosen, common, data if whole or split == "train" else None)
    names = [classifier.bundle.name for classifier in classifiers]
    if names[0] == names[1]:
        names = [str(first), str(second)]
    if out is None:
        return _compare(names, classifiers, kept, common, notes, progress)
    with claimed_folder(Path(out), inputs=[Path(dataset)]):
        result = _compare(names, classifiers, kept, common, notes, progress)
        name = "all" if whole else split
        return replace(result, report=_write(Path(out), result, data, name, classifiers, common))


def _compare(
    names: Sequence[str],
    classifiers: Sequence[Classifier],
    kept: Dataset,
    common: CommonClasses,
    notes: tuple[str, ...],
    progress: Progress,
) -> CompareResult:
    predictions, refused = predict_labelled(classifiers, kept, progress, "comparing")
    one, two = _fold(names, classifiers, predictions, common)
    samples = predictions[0].samples
    comparison = compare_predictions(
        [common.classes.index(sample.label) for sample in samples],
        one,
        two,
        common.classes,
        groups=[sample.group for sample in samples],
        labs=[sample.lab for sample in samples],
    )
    differing = find_differing(one, two, samples, common.classes)
    return CompareResult(comparison, verdict(comparison), differing, refused, notes)


def _check_different(classifiers: Sequence[Classifier]) -> None:
    one, two = (classifier.bundle for classifier in classifiers)
    same_network = one.manifest.files[ONNX] == two.manifest.files[ONNX]
    if same_network and (one.taxonomy, one.thresholds) == (two.taxonomy, two.thresholds):
        raise ModelError(
            f"Both models are the same: {one.folder} and {two.folder} have the same network and "
            "thresholds. Pass two different models; `hematovision models` lists the bundled "
            "ones."
        )


def _comparable(data: Dataset, common: CommonClasses) -> Dataset:
    """Keep the images whose class both models can predict."""
    kept = data.with_samples(sample for sample in data if sample.label in common.classes)
    if not kept.samples:
        raise DatasetError(
            f"This split of {data.root} has no image of a class that both models can predict: "
            f"{', '.join(common.classes)}. It has {len(data)} of other classes. Add images of "
            "these classes, or choose another split with --split."
        )
    return kept


def _fold(
    names: Sequence[str],
    classifiers: Sequence[Classifier],
    predictions: Sequence[LabelledPredictions],
    common: CommonClasses,
) -> list[ModelPredictions]:
    """Sum probabilities to the common classes; decide review by the model's own thresholds."""
    return [
        ModelPredictions(
            name,
            common.fold(own.probabilities, i),
            accepts(own.probabilities, own.novelty, classifier.thresholds, own.field),
            np.asarray(own.novelty) > classifier.thresholds.max_novelty,
        )
        for i, (name, classifier, own) in enumerate(
            zip(names, classifiers, predictions, strict=True)
        )
    ]


def _notes(chosen: Dataset, common: CommonClasses, training: Dataset | None) -> tuple[str, ...]:
    notes = []
    left_out = {name: n for name, n in chosen.counts().items() if n and name not in common.classes}
    if left_out:
        listed = ", ".join(f"{name} ({n})" for name, n in left_out.items())
        notes.append(
            f"Compared on the classes that both models can predict: {', '.join(common.classes)}. "
            f"Omitted: {counted(sum(left_out.values()), 'image')} of other classes: {listed}."
        )
    for order, names in zip(("first", "second"), common.names, strict=True):
        if names:
            listed = ", ".join(f"{name} as {end}" for name, end in names.items())
            notes.append(
                f"Predictions of the {order} model were mapped to common classes: {listed}. If its "
                "class is narrower than the common class, it was not trained on the rest."
            )
    if training is not None and "train" in training.splits:
        notes.append(
            "These images include training images, so a model trained on them looks better than it "
            "is. Compare on the test split."
        )
    return tuple(notes)


def _write(
    out: Path,
    result: CompareResult,
    data: Dataset,
    split: str,
    classifiers: Sequence[Classifier],
    common: CommonClasses,
) -> Path:
    write_comparison(out / "compare.json", result.comparison)
    write_text(out / "differences.csv", differing_table(result.differing, data))
    bundles = [classifier.bundle for classifier in classifiers]
    named = zip(("First", "Second"), result.comparison.models, bundles, strict=True)
    details = {f"{order} model": _about(name, bundle) for order, name, bundle in named}
    refused = (shown(f"Not compared, cannot be read: {error}") for error in result.refused[:10])
    facts = ReportFacts(
        title=f"{shown(data.root.name)}: {'all images' if split == 'all' else f'{split} split'}",
        model=" and ".join(result.comparison.models),
        dataset=shown(data.root.name),
        split=split,
        details={**details, "Compared in": ", ".join(common.classes)},
        notes=(*result.notes, *refused),
    )
    return write_comparison_report(out, result.comparison, facts, gallery(result.differing, data))


def _about(name: str, bundle: Bundle) -> str:
    """Describe a model: its classes, backbone and training labs."""
    manifest = bundle.manifest
    labs = ", ".join(map(str, manifest.data.get("labs", ()))) or "not known"
    classes = ", ".join(bundle.taxonomy.classes)
    return f"{name}; classes {classes}; backbone {manifest.backbone.name}; trained on labs: {labs}"


@dataclass(frozen=True)
class DifferingImage:
    """An image for which two models predict different classes."""

    sample: Sample  # with its true class, in the classes of the comparison
    predicted: tuple[str, str]  # the predictions of the first and the second model
    confidence: tuple[float, float]  # their probabilities
    decision: tuple[str, str]  # ``"accepted"`` or ``"review"``
    # whether the image is unlike the model's training images
    out_of_distribution: tuple[bool, bool] = (False, False)

    @property
    def right(self) -> str:
        """Which model is right: ``"first"``, ``"second"`` or ``"neither"``."""
        names = dict(zip(self.predicted, ("first", "second"), strict=True))
        return names.get(self.sample.label, "neither")

    @property
    def _order(self) -> tuple[bool, float]:
        wrong = [
            confidence
            for label, confidence in zip(self.predicted, self.confidence, strict=True)
            if label != self.sample.label
        ]
        return self.right == "neither", -max(wrong)


def find_differing(
    first: ModelPredictions,
    second: ModelPredictions,
    samples: Sequence[Sample],
    classes: Sequence[str],
) -> tuple[DifferingImage, ...]:
    """Return the images for which two models predict different classes.

    Both models' predictions are for the same N `samples`, in the same C classes. Images that only
    one model gets right come first, then by the confidence of the error.
    """
    models = (first, second)
    tables = [np.asarray(model.probabilities) for model in models]
    labels = np.stack([table.argmax(axis=1) for table in tables])
    none = np.zeros(len(samples), bool)
    novel = np.array(
        [none if m.out_of_distribution is None else m.out_of_distribution for m in models], bool
    )
    decisions = [np.where(np.asarray(model.accepted), "accepted", "review") for model in models]
    found = [
        DifferingImage(
            sample=samples[i],
            predicted=(classes[labels[0, i]], classes[labels[1, i]]),
            confidence=(float(tables[0][i].max()), float(tables[1][i].max())),
            decision=(str(decisions[0][i]), str(decisions[1][i])),
            out_of_distribution=(bool(novel[0, i]), bool(novel[1, i])),
        )
        for i in np.flatnonzero(labels[0] != labels[1]).tolist()
    ]
    return tuple(sorted(found, key=lambda image: image._order))


def differing_table(differing: Sequence[DifferingImage], data: Dataset) -> str:
    """Return ``differences.csv``: one row per image with the true class and both predictions."""
    rows: list[Sequence[str]] = [_COLUMNS]
    for image in differing:
        confidence = (f"{value:.6f}" for value in image.confidence)
        sample = image.sample
        truth = data.relative(sample), sample.label, image.right
        source = sample.group, sample.lab or ""
        rows.append([*truth, *image.predicted, *confidence, *image.decision, *source])
    return csv_text(rows)


def gallery(differing: Sequence[DifferingImage], data: Dataset) -> Differing:
    """Read the images that the report shows."""
    kinds = {
        right: [image for image in differing if image.right == right]
        for right in ("second", "first", "neither")
    }
    second, first, neither = (
        [example for image in found[:GALLERY] if (example := _example(image, data))]
        for found in kinds.values()
    )
    return Differing(second, first, neither, len(kinds["neither"]))


def _example(image: DifferingImage, data: Dataset) -> PairExample | None:
    try:
        pixels = images.read(image.sample.path)
    except ImageError:  # changed since it was classified; the report omits it
        return None
    return PairExample(
        image=pixels,
        true=image.sample.label,
        predicted=image.predicted,
        confidence=image.confidence,
        decision=image.decision,
        out_of_distribution=image.out_of_distribution,
        name=shown(data.relative(image.sample)),
    )
