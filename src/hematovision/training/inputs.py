"""The inputs of training: the features of a dataset's splits and of decoys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.data.samples import Dataset, Sample, Split
from hematovision.errors import ImageError
from hematovision.files import sha256_bytes
from hematovision.model.backbone import Backbone
from hematovision.model.inference import ahead
from hematovision.model.session import usable_cpus
from hematovision.model.weights import Weights
from hematovision.progress import Progress, no_progress
from hematovision.synthetic.decoys import SPOILT, render_decoy, spoil
from hematovision.training.feature_cache import EXTRA, FeatureCache, open_cache
from hematovision.training.features import View, extract, plan_views, row_of

__all__ = [
    "RENDERED_DECOYS", "SPOILT_DECOYS", "DatasetFeatures", "FeatureReader", "SplitFeatures",
    "decoy_features", "views_of",
]  # fmt: skip

RENDERED_DECOYS = 88
"""Eight of each kind; more did not improve results measurably."""

SPOILT_DECOYS = 132
"""Number of training images with the cell destroyed, the same for each class."""

_BATCH = 32
_VERSION = "decoys 1"  # part of the cache key; change it if decoys are rendered differently


@dataclass(frozen=True)
class SplitFeatures:
    """The readable images of one split of a dataset, with their features."""

    samples: tuple[Sample, ...]  # N samples
    labels: NDArray[np.int64]  # shape (N,)
    features: NDArray[np.float32]  # shape (N, 1280)
    colours: NDArray[np.float32]  # shape (N, 3): mean red, green and blue, 0 to 255
    fields: NDArray[np.float32]  # shape (N,): field scores
    digests: tuple[str, ...]  # SHA-256 of each file


class DatasetFeatures(NamedTuple):
    """The features of a dataset."""

    splits: dict[Split, SplitFeatures]
    # shape (M, D): training rows: the training split, and further views of its rare classes
    features: NDArray[np.float32]
    labels: NDArray[np.int64]  # shape (M,)


def views_of(dataset: Dataset, *, more_views: bool = True) -> tuple[list[View], NDArray[np.int64]]:
    """List the views of images that training needs.

    With `more_views`, further views of rare training images are added (`features.plan_views`).
    Returns M views, those of a file consecutive, and the position of each view's sample in the
    dataset, int (M,).
    """
    samples, labels = dataset.samples, dataset.labels
    counts = np.ones(len(samples), np.int64)
    train = np.array([sample.split == "train" for sample in samples], bool)
    if more_views and train.any():
        counts[train] = plan_views(labels[train])
    pairs = [(i, view) for i, count in enumerate(counts) for view in range(count)]
    views = [View(samples[i].path, view) for i, view in pairs]
    return views, np.array([i for i, _ in pairs], np.int64)


class FeatureReader:
    """Reads the features of a dataset with one or more backbones.

    `progress` is called after every batch.
    """

    def __init__(self, dataset: Dataset, progress: Progress = no_progress) -> None:
        self.dataset = dataset
        self.progress = progress
        self.refused: dict[str, ImageError] = {}

    def read(self, weights: Weights, *, more_views: bool) -> DatasetFeatures:
        """Compute the features of every image; `more_views` as in `views_of`.

        Unreadable images are added to `refused`.
        """
        backbone = Backbone(weights)
        views, owner = views_of(self.dataset, more_views=more_views)
        with open_cache(backbone.sha256, weights.features) as cache:
            found = extract(views, backbone, cache, self.progress)
        self.refused |= {error.path: error for error in found.refused}
        owners, labels = owner[found.kept], self.dataset.labels
        is_first = np.array([views[i].index == 0 for i in found.kept], bool)
        split_of = np.array([sample.split for sample in self.dataset.samples], object)
        splits: dict[Split, SplitFeatures] = {}
        for split in self.dataset.splits:
            rows = np.flatnonzero(is_first & (split_of[owners] == split))
            splits[split] = SplitFeatures(
                tuple(self.dataset.samples[i] for i in owners[rows]),
                labels[owners[rows]],
                found.values[rows],
                found.mean_colours[rows],
                found.fields[rows],
                tuple(found.digests[i] for i in rows),
            )
        training = split_of[owners] == "train"
        return DatasetFeatures(splits, found.values[training], labels[owners[training]])


class _Decoy(NamedTuple):
    key: bytes
    make: Callable[[], NDArray[np.uint8]]


def decoy_features(
    train: SplitFeatures, weights: Weights, progress: Progress = no_progress
) -> NDArray[np.float32]:
    """Return the features of images without a cell: rendered decoys and spoilt training images.

    They are cached like other features, so decoys are computed once per backbone.

    Returns float32 (M, D); M is 220, or less if training images can no longer be read. `progress`
    is called after every batch.
    """
    backbone = Backbone(weights)
    decoys = [*_rendered(), *_spoilt(train)]
    with open_cache(backbone.sha256, weights.features) as cache:
        rows = {decoy.key: cache.get(decoy.key) for decoy in decoys}
        missing = [decoy for decoy in decoys if rows[decoy.key] is None]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            rows |= _computed(batch, backbone, cache)
            progress(start + len(batch), len(missing), "features of images without cells", "images")
    return np.stack([row[:-EXTRA] for row in rows.values() if row is not None])


def _computed(
    batch: list[_Decoy], backbone: Backbone, cache: FeatureCache
) -> dict[bytes, NDArray[np.float32]]:
    made = ahead(lambda decoy: _row(decoy, backbone), batch, usable_cpus())
    rows = zip((decoy.key for decoy in batch), made, strict=True)
    found = {key: row for key, row in rows if row is not None}
    cache.put(found.items())
    return found


def _row(decoy: _Decoy, backbone: Backbone) -> NDArray[np.float32] | None:
    try:
        return row_of(decoy.make(), backbone)
    except ImageError:  # The file changed since it was read; the other decoys suffice.
        return None


def _rendered() -> Iterator[_Decoy]:
    for number in range(RENDERED_DECOYS):
        yield _Decoy(_key(f"rendered {number}"), partial(render_decoy, number))


def _spoilt(train: SplitFeatures) -> Iterator[_Decoy]:
    """Cycle through the classes, and through images and ways of spoiling within each class."""
    rng = np.random.default_rng(0)
    classes = [rng.permutation(np.flatnonzero(train.labels == c)) for c in np.unique(train.labels)]
    for turn in range(SPOILT_DECOYS):
        of_class = turn // len(classes)
        members = classes[turn % len(classes)]
        row = int(members[of_class % len(members)])
        number = len(SPOILT) * turn + of_class % len(SPOILT)
        key = _key(f"spoilt {number} {train.digests[row]}")
        yield _Decoy(key, partial(_spoil, train.samples[row].path, number))


def _spoil(path: Path, number: int) -> NDArray[np.uint8]:
    return spoil(images.load(path), number)


def _key(text: str) -> bytes:
    return bytes.fromhex(sha256_bytes(f"{_VERSION} {text}".encode())) + b"\0"
