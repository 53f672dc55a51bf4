"""Labelled images on their way to judgement: a part of a dataset, read once, answered by models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import DatasetError, ImageError
from hematovision.model.classifier import Classifier, RawPredictions
from hematovision.progress import Progress, no_progress
from hematovision.workflows.scoring import LabelledPredictions

__all__ = ["Part", "answer", "batches", "choose_split"]

Part: TypeAlias = Literal["train", "valid", "test", "all"]

_BATCH = 64


def choose_split(data: Dataset, split: Part) -> Dataset:
    """Return one part of a dataset; one without parts is taken whole.

    Raises
    ------
    DatasetError
        If it has parts, but not this one.
    """
    if split == "all" or not data.splits:
        return data
    if split not in data.splits:
        raise DatasetError(
            f"{data.root} has no {split} part; it has: {', '.join(data.splits)}. Choose one with "
            "--split, or --split all."
        )
    return data.subset(split)


def answer(
    classifiers: Sequence[Classifier],
    data: Dataset,
    progress: Progress = no_progress,
    what: str = "evaluating",
) -> tuple[tuple[LabelledPredictions, ...], tuple[ImageError, ...]]:
    """Let models answer the same images; each is read once, whatever their number.

    Parameters
    ----------
    classifiers : sequence of Classifier
    data : Dataset
        With the labels.
    progress : Progress
        Told after every batch; `what` is what it is told.

    Returns
    -------
    tuple of tuple of LabelledPredictions, and tuple of ImageError
        Each model's answers to the readable images, and what could not be read.

    Raises
    ------
    DatasetError
        If not one image can be read.
    """
    kept: list[int] = []
    refused: list[ImageError] = []
    colours: list[NDArray[np.float64]] = []
    said: list[list[RawPredictions]] = [[] for _ in classifiers]
    for numbers, pixels, errors in batches(data.samples):
        refused += errors
        if len(numbers):
            for classifier, answers in zip(classifiers, said, strict=True):
                answers.append(classifier.predict_batch(pixels))
            colours.append(images.mean_colours(pixels))
            kept += numbers
        progress(len(kept) + len(refused), len(data), what)
    if not kept:
        raise DatasetError(
            f"None of the {len(data)} images can be read. The first: {refused[0]}. "
            "`hematovision data check` tells more."
        )
    samples, labels = tuple(data.samples[i] for i in kept), data.labels[kept]
    seen = np.concatenate(colours)
    answered = []
    for answers in said:
        probabilities = np.concatenate([one.probabilities for one in answers])
        novelty = np.concatenate([one.novelty for one in answers])
        answered.append(LabelledPredictions(samples, labels, probabilities, novelty, seen))
    return tuple(answered), tuple(refused)


def batches(
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
