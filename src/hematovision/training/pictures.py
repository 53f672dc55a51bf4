"""A dataset as a backbone sees it: its parts with their features, and the rows to train on.

Nothing here needs Keras, so that the first look can be under way while Keras is being imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.data.samples import Dataset, Sample, Split
from hematovision.errors import ImageError
from hematovision.model.backbone import Backbone
from hematovision.model.weights import BackboneWeights
from hematovision.progress import Progress, no_progress
from hematovision.training.features import View, extract, open_cache, plan_views

__all__ = ["Look", "Part", "Pictures"]


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
        self._begun: _Background | None = None

    def begin(self, weights: BackboneWeights) -> None:
        """Start the first look in the background, which `look` with the same weights then returns.

        Importing TensorFlow takes as long as some hundred images, and on one processor only.
        """
        backbone = Backbone(weights)
        self._begun = _Background(backbone.sha256, lambda: self._look(backbone, more_views=True))

    def look(self, weights: BackboneWeights, *, more_views: bool) -> Look:
        """Look at every image once, and with `more_views` at rare training images more often."""
        begun, self._begun = self._begun, None
        if begun is not None and more_views and begun.key == weights.sha256:
            return begun.result()
        return self._look(Backbone(weights), more_views=more_views)

    def _look(self, backbone: Backbone, *, more_views: bool) -> Look:
        views, owner = self._views(more_views=more_views)
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

    def _views(self, *, more_views: bool) -> tuple[list[View], NDArray[np.int64]]:
        samples, labels = self.dataset.samples, self.dataset.labels
        counts = np.ones(len(samples), np.int64)
        train = np.array([sample.split == "train" for sample in samples], bool)
        if more_views and train.any():
            counts[train] = plan_views(labels[train])
        pairs = [(i, view) for i, count in enumerate(counts) for view in range(count)]
        views = [View(samples[i].path, view) for i, view in pairs]
        return views, np.array([i for i, _ in pairs], np.int64)


class _Background:
    """One piece of work on a thread that does not keep the process alive after Ctrl-C."""

    def __init__(self, key: str, work: Callable[[], Look]) -> None:
        self.key = key
        self._work = work
        self._result: Look | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="first look", daemon=True)
        self._thread.start()

    def result(self) -> Look:
        """Wait for the work and return what it gave, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._error = error
