"""The job of evaluating: a model and labelled images in, figures and a report out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import DatasetError, ImageError
from hematovision.evaluation import Metrics, ReportFacts, TrainingPart
from hematovision.jobs.judging import Answered, boxes_of, judge, split_counts, write_evaluation
from hematovision.jobs.outputs import fresh_folder
from hematovision.model.classifier import Classifier
from hematovision.progress import Progress, no_progress

__all__ = ["EvaluateResult", "Part", "evaluate"]

Part: TypeAlias = Literal["train", "valid", "test", "all"]

_BASELINE_IMAGES = 2000
"""How many training images the mean-colour baseline learns from: three means need no more."""

_BATCH = 64


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
    progress: Progress = no_progress,
) -> EvaluateResult:
    """Judge a model on labelled images, by the way that every door takes to an answer.

    Parameters
    ----------
    model : str or Path
        A bundled model's name or a run folder.
    dataset : Path
        Class folders whose names mean classes of the model.
    out : Path
        The folder to make; must not exist or be empty.
    split : {"train", "valid", "test", "all"}
        Which part. A dataset without parts is evaluated whole.
    progress : Progress

    Raises
    ------
    DatasetError
        If the dataset has no such part, or not one readable image in it; a `TaxonomyError` if a
        folder is no class of the model.
    ModelNotFoundError, BundleError
        If the model cannot be used.
    OutputError
        If `out` is in use or cannot be written.
    """
    classifier = Classifier.load(model)
    data = read_dataset(dataset, classifier.taxonomy)
    chosen = _part(data, split)
    fresh_folder(out)
    answered, refused = _answer(classifier, chosen, progress)
    metrics = judge(answered, classifier.classes, classifier.trust, _training(data), seed=0)
    whole = split == "all" or not data.splits
    facts = ReportFacts(
        title=f"{data.root.name}: {'all images' if whole else f'{split} part'}",
        model=classifier.bundle.name,
        dataset=data.root.name,
        part="all" if whole else split,
        split=split_counts(data),
        details={"Backbone": classifier.bundle.manifest.backbone.name},
        labs=tuple(map(str, classifier.bundle.manifest.data.get("labs", ()))),
        notes=tuple(f"Not evaluated, since it cannot be read: {error}" for error in refused[:10]),
    )
    report = write_evaluation(out, metrics, facts, answered, data, classifier.trust)
    return EvaluateResult(out, report, metrics, refused)


def _part(data: Dataset, split: Part) -> Dataset:
    if split == "all" or not data.splits:
        return data
    if split not in data.splits:
        raise DatasetError(
            f"{data.root} has no {split} part; it has: {', '.join(data.splits)}. Choose one with "
            "--split, or --split all."
        )
    return data.part(split)


def _answer(
    classifier: Classifier, data: Dataset, progress: Progress
) -> tuple[Answered, tuple[ImageError, ...]]:
    kept: list[int] = []
    refused: list[ImageError] = []
    parts: list[tuple[NDArray[np.floating], ...]] = []
    for numbers, pixels, errors in _batches(data.samples):
        refused += errors
        if len(numbers):
            answers = classifier.predict_batch(pixels)
            parts.append((answers.probabilities, answers.novelty, images.mean_colours(pixels)))
            kept += numbers
        progress(len(kept) + len(refused), len(data), "evaluating")
    if not kept:
        raise DatasetError(
            f"None of the {len(data)} images can be read. The first: {refused[0]}. "
            "`hematovision data check` tells more."
        )
    probabilities, novelty, colours = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    samples = tuple(data.samples[i] for i in kept)
    return Answered(samples, data.labels[kept], probabilities, novelty, colours), tuple(refused)


def _batches(
    samples: Sequence[Sample],
) -> Iterator[tuple[list[int], NDArray[np.uint8], list[ImageError]]]:
    """Decode samples batch by batch: positions and pixels of the readable ones, and the errors."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(samples), _BATCH):
            chunk = range(start, min(start + _BATCH, len(samples)))
            loaded = list(pool.map(_load, (samples[i] for i in chunk)))
            errors = [item for item in loaded if isinstance(item, ImageError)]
            pixels = [item for item in loaded if not isinstance(item, ImageError)]
            pairs = zip(chunk, loaded, strict=True)
            numbers = [i for i, item in pairs if not isinstance(item, ImageError)]
            shape = (0, images.SIZE, images.SIZE, 3)
            yield numbers, np.stack(pixels) if pixels else np.zeros(shape, np.uint8), errors


def _load(sample: Sample) -> NDArray[np.uint8] | ImageError:
    try:
        return images.load(sample.path)
    except ImageError as error:
        return error


def _training(data: Dataset) -> TrainingPart | None:
    """Return what the trivial baselines learn from: the dataset's own training part, if any."""
    if "train" not in data.splits:
        return None
    part = data.part("train")
    samples, labels = part.samples, part.labels
    if len(samples) > _BASELINE_IMAGES:
        some = np.sort(np.random.default_rng(0).permutation(len(samples))[:_BASELINE_IMAGES])
        samples, labels = tuple(samples[i] for i in some), labels[some]
    kept: list[int] = []
    colours: list[NDArray[np.float64]] = []
    for numbers, pixels, _ in _batches(samples):
        kept += numbers
        colours.append(images.mean_colours(pixels))
    readable = [samples[i] for i in kept]
    return TrainingPart(labels[kept], boxes_of(readable), np.concatenate(colours))
