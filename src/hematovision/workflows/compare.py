"""The job of comparing: two models and labelled images in, which is better and where out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset
from hematovision.errors import DatasetError, ImageError, ModelError
from hematovision.evaluation.comparison import (
    CommonClasses,
    Comparison,
    ModelPredictions,
    compare_predictions,
    write_comparison,
)
from hematovision.extras import require
from hematovision.files import write_text
from hematovision.model.bundle import ONNX, Bundle
from hematovision.model.classifier import Classifier
from hematovision.model.thresholds import accepts
from hematovision.paths import shown
from hematovision.progress import Progress, no_progress
from hematovision.reporting import ReportFacts
from hematovision.reporting.comparison import verdict, write_comparison_report
from hematovision.workflows.differing import (
    DifferingImage,
    differing_table,
    find_differing,
    gallery,
)
from hematovision.workflows.labelled import Part, choose_split, predict_labelled
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.scoring import LabelledPredictions

__all__ = ["CompareResult", "compare"]


@dataclass(frozen=True)
class CompareResult:
    """What a comparison led to.

    Parameters
    ----------
    comparison : Comparison
    verdict : str
        Which model is better, in a sentence.
    differing : tuple of DifferingImage
        Those that one model alone tells rightly first; among equals the surest mistake first.
    refused : tuple of ImageError
        Images that could not be read.
    notes : tuple of str
        What was left out, and what else a reader should know.
    report : Path or None
        ``compare.html``, where files were asked for.
    """

    comparison: Comparison
    verdict: str
    differing: tuple[DifferingImage, ...]
    refused: tuple[ImageError, ...]
    notes: tuple[str, ...]
    report: Path | None = None


def compare(
    first: str | Path,
    second: str | Path,
    dataset: Path,
    *,
    split: Part = "test",
    splits: Path | None = None,
    out: Path | None = None,
    progress: Progress = no_progress,
) -> CompareResult:
    """Let two models answer the same labelled images, and tell which is better and where.

    Parameters
    ----------
    first, second : str or Path
        Bundled models' names or run folders. Differences are the second's less the first's. Where
        their classes differ they are compared in those that both can say; see `CommonClasses`.
    dataset : Path
        Class folders whose names mean classes of the coarser model.
    split : {"train", "valid", "test", "all"}
        Which part. A dataset without parts is taken whole.
    splits : Path, optional
        A ``split.csv`` that says the parts, for instance that of a run folder whose training made
        them; by default the dataset's own.
    out : Path, optional
        A folder to make, for ``compare.json``, ``differences.csv`` and ``compare.html``; must not
        exist or be empty.
    progress : Progress

    Raises
    ------
    DatasetError
        If the dataset has no such part, or no readable image of a class that both models can say;
        a `TaxonomyError` if a folder is no class of the models, or they have too few in common.
    ModelError
        If both are the same model, or one cannot be used.
    OutputError
        If `out` is in use or cannot be written.
    MissingExtraError
        At once, if `out` is given and matplotlib or Jinja2 is not installed.

    Examples
    --------
    >>> from hematovision import compare
    >>> result = compare("rbc-wbc-platelets", "runs/mine", "cells")  # doctest: +SKIP
    >>> print(result.verdict)  # doctest: +SKIP
    """
    if out is not None:
        require("compare")
    classifiers = [Classifier.load(first), Classifier.load(second)]
    _refuse_the_same(classifiers)
    common = CommonClasses.of(*(classifier.taxonomy for classifier in classifiers))
    data = read_dataset(Path(dataset), common.taxonomy, splits=splits, progress=progress)
    chosen = choose_split(data, split)
    kept = _sayable(chosen, common)
    whole = split == "all" or not data.splits
    notes = _notes(chosen, common, data if whole or split == "train" else None)
    names = _names(first, second, classifiers)
    if out is None:
        return _compared(names, classifiers, kept, common, notes, progress)
    with claimed_folder(Path(out), inputs=[Path(dataset)]):
        result = _compared(names, classifiers, kept, common, notes, progress)
        part = "all" if whole else split
        return replace(result, report=_write(Path(out), result, data, part, classifiers, common))


def _compared(
    names: Sequence[str],
    classifiers: Sequence[Classifier],
    kept: Dataset,
    common: CommonClasses,
    notes: tuple[str, ...],
    progress: Progress,
) -> CompareResult:
    answered, refused = predict_labelled(classifiers, kept, progress, "comparing")
    one, two = _fold(names, classifiers, answered, common)
    samples = answered[0].samples
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


def _refuse_the_same(classifiers: Sequence[Classifier]) -> None:
    one, two = (classifier.bundle for classifier in classifiers)
    same_network = one.manifest.files[ONNX] == two.manifest.files[ONNX]
    if same_network and (one.taxonomy, one.thresholds) == (two.taxonomy, two.thresholds):
        raise ModelError(
            f"Both models are the same: {one.folder} and {two.folder} hold one network with one "
            "set of thresholds. Give two different models; `hematovision models` lists those that "
            "come with it."
        )


def _names(first: str | Path, second: str | Path, classifiers: Sequence[Classifier]) -> list[str]:
    """Return what to call the models: their names, or as they were given if those are equal."""
    names = [classifier.bundle.name for classifier in classifiers]
    return names if names[0] != names[1] else [str(first), str(second)]


def _sayable(data: Dataset, common: CommonClasses) -> Dataset:
    """Keep the images whose class both models can say."""
    kept = data.with_samples(sample for sample in data if sample.label in common.classes)
    if not kept.samples:
        raise DatasetError(
            f"{data.root} has no image of a class that both models can say, in this part: "
            f"{', '.join(common.classes)}. It has {len(data)} of other classes. Give images of "
            "these classes, or another part with --split."
        )
    return kept


def _fold(
    names: Sequence[str],
    classifiers: Sequence[Classifier],
    answered: Sequence[LabelledPredictions],
    common: CommonClasses,
) -> list[ModelPredictions]:
    """Say answers in the common classes; each model accepted them by its own thresholds."""
    return [
        ModelPredictions(
            name,
            common.fold(said.probabilities, i),
            accepts(said.probabilities, said.novelty, classifier.thresholds),
            np.asarray(said.novelty) > classifier.thresholds.max_novelty,
        )
        for i, (name, classifier, said) in enumerate(zip(names, classifiers, answered, strict=True))
    ]


def _notes(chosen: Dataset, common: CommonClasses, training: Dataset | None) -> tuple[str, ...]:
    notes = []
    left_out = {name: n for name, n in chosen.counts().items() if n and name not in common.classes}
    if left_out:
        listed = ", ".join(f"{name} ({n})" for name, n in left_out.items())
        notes.append(
            f"Compared in the classes that both models can predict: {', '.join(common.classes)}. "
            f"{sum(left_out.values())} images were left out: {listed}."
        )
    for order, names in zip(("first", "second"), common.names, strict=True):
        if names:
            listed = ", ".join(f"{name} as {end}" for name, end in names.items())
            notes.append(
                f"Predictions of the {order} model count as a common class: {listed}. If its class "
                "is only a part of the common one, it was not trained on the rest."
            )
    if training is not None and "train" in training.splits:
        notes.append(
            "These are also training images: a model trained on them looks better than it is. "
            "Compare on the test split."
        )
    return tuple(notes)


def _write(
    out: Path,
    result: CompareResult,
    data: Dataset,
    part: str,
    classifiers: Sequence[Classifier],
    common: CommonClasses,
) -> Path:
    write_comparison(out / "compare.json", result.comparison)
    write_text(out / "differences.csv", differing_table(result.differing, data))
    bundles = [classifier.bundle for classifier in classifiers]
    named = zip(("First", "Second"), result.comparison.models, bundles, strict=True)
    details = {f"{order} model": _about(name, bundle) for order, name, bundle in named}
    refused = (
        shown(f"Not compared, since it cannot be read: {error}") for error in result.refused[:10]
    )
    facts = ReportFacts(
        title=f"{shown(data.root.name)}: {'all images' if part == 'all' else f'{part} part'}",
        model=" and ".join(result.comparison.models),
        dataset=shown(data.root.name),
        split=part,
        details={**details, "Compared in": ", ".join(common.classes)},
        notes=(*result.notes, *map(shown, refused)),
    )
    return write_comparison_report(out, result.comparison, facts, gallery(result.differing, data))


def _about(name: str, bundle: Bundle) -> str:
    """Say what a reader wants to know of a model: its classes, and what it learnt from."""
    manifest = bundle.manifest
    labs = ", ".join(map(str, manifest.data.get("labs", ()))) or "not known"
    classes = ", ".join(bundle.taxonomy.classes)
    return f"{name}; classes {classes}; backbone {manifest.backbone.name}; trained on labs: {labs}"
