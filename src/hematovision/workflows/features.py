"""``features``: compute the features that training needs, and cache them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset
from hematovision.data.splits import complete_splits
from hematovision.errors import ImageError
from hematovision.extras import needs_extra, require
from hematovision.progress import Progress, no_progress

with needs_extra("train", "Computing features"):
    from hematovision.model.backbone import Backbone
    from hematovision.training.feature_cache import open_cache
    from hematovision.training.features import extract
    from hematovision.training.inputs import views_of
    from hematovision.training.pretrained import load_weights

__all__ = ["FeaturesSummary", "compute_features", "dataset_with_splits"]


@dataclass(frozen=True)
class FeaturesSummary:
    """The result of `compute_features`."""

    images: int  # in the dataset
    rows: int  # their views that training needs, now in the cache
    computed: int  # views that were not in the cache before
    refused: tuple[ImageError, ...]  # images that could not be read
    cache: Path  # the cache file


def compute_features(
    dataset: Path,
    *,
    taxonomy: str | None = None,
    weights: str = "hematology",
    seed: int = 0,
    progress: Progress = no_progress,
) -> FeaturesSummary:
    """Compute and cache the features that `train` with the same arguments needs.

    `dataset` has class folders, with or without Train, Valid and Test. `weights` is
    ``"hematology"``, ``"imagenet"`` or a file; `taxonomy` as in `TrainOptions`; `seed` that of the
    split, if the dataset has none. Raises `DatasetError` if `dataset` cannot be read or split.
    Raises `WeightsError` if the weights cannot be read or downloaded. Raises `OutputError` if the
    cache cannot be written. Raises `MissingExtraError` at once, if the extra ``train`` is not
    installed.
    """
    require("features")
    data = dataset_with_splits(dataset, taxonomy, seed, progress)
    backbone = Backbone(load_weights(weights))
    views, _ = views_of(data)
    with open_cache(backbone.sha256, backbone.n_features) as cache:
        found = extract(views, backbone, cache, progress)
        return FeaturesSummary(
            len(data), len(found.kept), found.computed, found.refused, cache.path
        )


def dataset_with_splits(
    dataset: Path, taxonomy: str | None, seed: int, progress: Progress = no_progress
) -> Dataset:
    """Return a dataset with splits; missing splits are made as in `train`."""
    return complete_splits(read_dataset(dataset, taxonomy, progress=progress), seed)
