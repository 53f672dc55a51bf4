"""Computes a dataset's features on a cluster; the head is trained on one machine.

Results are stored in this machine's feature cache under the SHA-256 of the images' content, where
`train` finds them. Re-run an interrupted run to resume it. Every node must have access to the
images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ClusterError, ImageError
from hematovision.extras import needs_extra, require
from hematovision.files import sha256_bytes
from hematovision.model.inference import ahead
from hematovision.progress import Progress, no_progress
from hematovision.scale.cluster import Cluster, Connection, connected
from hematovision.workflows.features import FeaturesSummary, dataset_with_splits

with needs_extra("train", "Computing features"):
    from hematovision.model.backbone import Backbone
    from hematovision.model.graph import backbone_graph
    from hematovision.training.feature_cache import FeatureCache, open_cache
    from hematovision.training.features import View, row_keys, rows_of
    from hematovision.training.inputs import views_of
    from hematovision.training.pretrained import load_weights

__all__ = ["PackedBackbone", "Rows", "Wanted", "compute_rows", "features_on_cluster"]

FILES_PER_TASK = 64
"""At least half a second of work per task, with a result below a megabyte."""

READERS = 8
"""Files hashed concurrently on this machine, to look them up in the cache."""


class Wanted(NamedTuple):
    """A file, and its views that are not in the cache."""

    path: str
    views: tuple[int, ...]


class Rows(NamedTuple):
    """The result of a task."""

    keys: list[bytes]  # length N
    values: NDArray[np.float32]  # shape (N, 1283)
    refused: list[tuple[str, str]]  # paths of unreadable images, with reasons


@dataclass(frozen=True)
class PackedBackbone:
    """A backbone packed for workers: the graph, so that they need not build it."""

    graph: bytes

    def open(self) -> Backbone:
        """Open the backbone for one image at a time."""
        return Backbone.from_graph(self.graph, workers=1)


def features_on_cluster(
    dataset: Path,
    *,
    taxonomy: str | None = None,
    weights: str = "hematology",
    seed: int = 0,
    cluster: Cluster | None = None,
    progress: Progress = no_progress,
) -> FeaturesSummary:
    """Compute features on a Ray cluster; see `workflows.features.compute_features`.

    Raises `DatasetError` if `dataset` is not a dataset or cannot be split. Raises `WeightsError` if
    the weights cannot be loaded. Raises `OutputError` if the cache cannot be written. Raises
    `ClusterError` if the cluster cannot be reached or did not finish; finished features are in the
    cache. Raises `MissingExtraError` if Ray is not installed.
    """
    require("ray")
    require("features")
    data = dataset_with_splits(dataset, taxonomy, seed, progress)
    packed = PackedBackbone(backbone_graph(load_weights(weights)))
    views, _ = views_of(data)
    with open_cache(sha256_bytes(packed.graph)) as cache:
        wanted, refused = _unknown(views, cache, progress)
        computed = 0
        if wanted:
            with connected(cluster or Cluster()) as connection:
                computed = _compute(connection, packed, wanted, cache, refused, progress)
        left_out = {error.path for error in refused}
        rows = sum(str(view.path) not in left_out for view in views)
        return FeaturesSummary(len(data), rows, computed, tuple(refused), cache.path)


def _compute(
    connection: Connection,
    packed: PackedBackbone,
    wanted: Sequence[Wanted],
    cache: FeatureCache,
    refused: list[ImageError],
    progress: Progress,
) -> int:
    """Compute rows and store them in the cache; extend `refused`; return the number of rows."""
    starts = range(0, len(wanted), FILES_PER_TASK)
    tasks = (wanted[start : start + FILES_PER_TASK] for start in starts)
    total, computed = sum(len(file.views) for file in wanted), 0
    lost = []
    for done in connection.run(compute_rows, connection.share(packed), tasks):
        if done.result is None:
            lost.append(done.lost)
            continue
        cache.put(zip(done.result.keys, done.result.values, strict=True))
        refused += [ImageError(*pair) for pair in done.result.refused]
        computed += len(done.result.keys)
        progress(computed, total, "Computing features", "images")
    if lost:
        raise ClusterError(
            f"{len(lost)} tasks were repeatedly lost with their workers; the last error was "
            f"{lost[-1]}. {computed} of {total} features were computed and are kept. Run the "
            "same command again to continue."
        )
    return computed


def compute_rows(backbone: Backbone, files: Sequence[Wanted]) -> Rows:
    """Compute the rows of files on a worker."""
    rows: list[tuple[bytes, NDArray[np.float32]]] = []
    refused = []
    for path, views in files:
        try:
            rows += rows_of(images.read_bytes(Path(path)), views, backbone, path)
        except ImageError as error:
            refused.append((error.path, error.reason))
    keys = [key for key, _ in rows]
    return Rows(keys, np.array([row for _, row in rows], np.float32), refused)


def _unknown(
    views: Sequence[View], cache: FeatureCache, progress: Progress
) -> tuple[list[Wanted], list[ImageError]]:
    """Find the views that are not in the cache, by file content."""

    def look(path: Path, indices: list[int]) -> Wanted | ImageError:
        try:
            keys = row_keys(images.read_bytes(path), indices)
        except ImageError as error:
            return error
        known = cache.known(keys)
        return Wanted(
            os.path.abspath(path),  # noqa: PTH100 - links stay
            tuple(i for i, key in zip(indices, keys, strict=True) if key not in known),
        )

    files = _by_file(views)
    wanted, refused = [], []
    seen = ahead(lambda file: look(*file), files, READERS)
    for done, found in enumerate(seen, 1):
        if isinstance(found, ImageError):
            refused.append(found)
        elif found.views:
            wanted.append(found)
        progress(done, len(files), "Searching the cache", "files")
    return wanted, refused


def _by_file(views: Sequence[View]) -> list[tuple[Path, list[int]]]:
    grouped = groupby(views, key=lambda view: view.path)
    return [(path, [view.index for view in some]) for path, some in grouped]
