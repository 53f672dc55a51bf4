"""Predictions for labelled images: one split of a dataset, each image read once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.labelled_fields import LabelledFields
from hematovision.data.samples import Dataset, Sample
from hematovision.errors import DatasetError, ImageError
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item, Together, ahead, infer
from hematovision.model.prediction import Prediction
from hematovision.model.session import reading_threads
from hematovision.progress import Progress, no_progress
from hematovision.workflows.scoring import LabelledPredictions

__all__ = ["Part", "choose_split", "predict_labelled", "read_colours"]

Part: TypeAlias = Literal["train", "valid", "test", "all"]

_Data = TypeVar("_Data", Dataset, LabelledFields)


def choose_split(data: _Data, split: Part) -> _Data:
    """Return one split of a dataset or of annotated fields, or all of it if it has no splits.

    Raises `DatasetError` if it has splits, but not this one.
    """
    if split == "all" or not data.splits:
        return data
    if split not in data.splits:
        raise DatasetError(
            f"{data.root} has no {split} split. Its splits: {', '.join(data.splits)}. Choose one "
            "with --split, or --split all."
        )
    return data.subset(split)


def predict_labelled(
    classifiers: Sequence[Classifier],
    data: Dataset,
    progress: Progress = no_progress,
    what: str = "evaluating",
) -> tuple[tuple[LabelledPredictions, ...], tuple[ImageError, ...]]:
    """Predict the same images with several models; read each image once.

    `progress` is called after every image, with `what`. Returns each model's predictions for the
    readable images, and the errors of the others. Raises `DatasetError` if no image can be read.
    """
    kept: list[int] = []
    refused: list[ImageError] = []
    colours: list[NDArray[np.float64]] = []
    predictions: list[tuple[Prediction, ...]] = []
    inputs = {(one.size, one.framing is None) for one in classifiers}
    read = None if len(inputs) == 1 else _read_whole
    items = (Item(str(sample.path), sample.path) for sample in data.samples)
    for i, result in enumerate(infer(Together(classifiers, read), items, keep_pixels=True)):
        if result.error is not None:
            refused.append(result.error)
        elif result.pixels is not None:
            kept.append(i)
            colours.append(images.mean_colours(result.pixels[None])[0])
            predictions.append(result.rows)
        progress(i + 1, len(data), what, "images")
    if not kept:
        raise DatasetError(
            f"None of the {len(data)} images can be read. The first: {refused[0]}. "
            "`hematovision data check` lists more."
        )
    samples, labels = tuple(data.samples[i] for i in kept), data.labels[kept]
    seen = np.array(colours)
    return tuple(
        LabelledPredictions(samples, labels, *_arrays(rows), seen, field=_field_scores(rows))
        for rows in zip(*predictions, strict=True)
    ), tuple(refused)


def read_colours(samples: Sequence[Sample]) -> tuple[list[int], NDArray[np.float64]]:
    """Return the positions of readable samples and their mean colours, shape (N, 3)."""
    found = ahead(_mean_colour, samples, reading_threads())
    readable = [(i, colour) for i, colour in enumerate(found) if colour is not None]
    return [i for i, _ in readable], np.array([c for _, c in readable]).reshape(-1, 3)


def _mean_colour(sample: Sample) -> NDArray[np.float64] | None:
    try:
        colour: NDArray[np.float64] = images.mean_colours(images.load(sample.path)[None])[0]
    except ImageError:
        return None
    return colour


def _read_whole(source: str | Path | bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    return source if isinstance(source, np.ndarray) else images.read(source, name=name)


def _arrays(
    rows: Sequence[Prediction],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return (
        np.array([row.probabilities for row in rows], np.float32),
        np.array([row.novelty or 0 for row in rows], np.float32),
    )


def _field_scores(rows: Sequence[Prediction]) -> NDArray[np.float64] | None:
    scores = [row.field_score for row in rows if row.field_score is not None]
    return np.array(scores) if len(scores) == len(rows) else None
