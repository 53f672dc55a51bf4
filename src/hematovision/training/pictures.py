"""A dataset as a backbone sees it: its parts with their features, and the rows to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.data.samples import Dataset, Sample, Split
from hematovision.errors import ImageError
from hematovision.model.backbone import Backbone
from hematovision.model.weights import BackboneWeights
from hematovision.progress import Progress, no_progress
from hematovision.training.feature_cache import open_cache
from hematovision.training.features import extract
from hematovision.training.views import View, plan_views

__all__ = ["Look", "Part", "Pictures", "views_of"]


@dataclass(frozen=True)
class Part:
    """The readable images of one part of a dataset, as the final backbone sees them.

    Parameters
    ----------
    samples : tuple of Sample
        N of them.
    labels : ndarray of int, shape (N,)
    features : ndarray of float32, shape (N, 1280)
    colours : ndarray of float32, shape (N, 3)
        Mean red, green and blue, 0 to 255.
    digests : tuple of str
        SHA-256 of each file.
    """

    samples: tuple[Sample, ...]
    labels: NDArray[np.int64]
    features: NDArray[np.float32]
    colours: NDArray[np.float32]
    digests: tuple[str, ...]


class Look(NamedTuple):
    """A dataset seen through a backbone.

    Parameters
    ----------
    parts : dict of Split to Part
    features : ndarray of float32, shape (M, 1280)
        The rows to train on: those of the training part, and further views of rare classes.
    labels : ndarray of int, shape (M,)
    """

    parts: dict[Split, Part]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]


def views_of(dataset: Dataset, *, more_views: bool = True) -> tuple[list[View], NDArray[np.int64]]:
    """Say which views of which files training looks at.

    Parameters
    ----------
    dataset : Dataset
        With parts.
    more_views : bool
        Whether rare training images are seen from more than one side (`features.plan_views`).

    Returns
    -------
    views : list of View
        M of them; all views of a file follow one another.
    owners : ndarray of int, shape (M,)
        The position of each view's sample in the dataset.
    """
    samples, labels = dataset.samples, dataset.labels
    counts = np.ones(len(samples), np.int64)
    train = np.array([sample.split == "train" for sample in samples], bool)
    if more_views and train.any():
        counts[train] = plan_views(labels[train])
    pairs = [(i, view) for i, count in enumerate(counts) for view in range(count)]
    views = [View(samples[i].path, view) for i, view in pairs]
    return views, np.array([i for i, _ in pairs], np.int64)


class Pictures:
    """Looks at a dataset through one backbone after another.

    Parameters
    ----------
    dataset : Dataset
        With parts.
    progress : Progress
        Told after every batch.
    """

    def __init__(self, dataset: Dataset, progress: Progress = no_progress) -> None:
        self.dataset = dataset
        self.progress = progress
        self.refused: dict[str, ImageError] = {}

    def look(self, weights: BackboneWeights, *, more_views: bool) -> Look:
        """Look at every image once, and with `more_views` at rare training images more often."""
        backbone = Backbone(weights)
        views, owner = views_of(self.dataset, more_views=more_views)
        with open_cache(backbone.sha256) as cache:
            found = extract(views, backbone, cache, self.progress)
        self.refused |= {error.path: error for error in found.refused}
        owners, labels = owner[found.kept], self.dataset.labels
        is_first = np.array([views[i].index == 0 for i in found.kept], bool)
        splits = np.array([sample.split for sample in self.dataset.samples], object)
        parts: dict[Split, Part] = {}
        for split in self.dataset.splits:
            rows = np.flatnonzero(is_first & (splits[owners] == split))
            parts[split] = Part(
                tuple(self.dataset.samples[i] for i in owners[rows]),
                labels[owners[rows]],
                found.values[rows],
                found.mean_colours[rows],
                tuple(found.digests[i] for i in rows),
            )
        training = splits[owners] == "train"
        return Look(parts, found.values[training], labels[owners[training]])
