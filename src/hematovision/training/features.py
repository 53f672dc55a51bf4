"""Features of the frozen backbone: computed once per image and view, then cached."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError
from hematovision.files import sha256_bytes
from hematovision.model.field_score import bundled_field_score
from hematovision.model.inference import ahead
from hematovision.model.session import reading_threads
from hematovision.progress import Progress, no_progress
from hematovision.training.feature_cache import EXTRA, FeatureCache

__all__ = [
    "N_VIEWS", "Extractor", "Features", "Load", "View", "extract", "plan_views", "row_keys",
    "row_of", "rows_of",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

N_VIEWS = 8
"""The rotations and flips of a square, which need no interpolation."""

_BATCH = 64
"""Rows per write to the cache and progress report."""

_FILES = 8
"""Files per thread task; with single files the overhead exceeded the lookups."""

Load: TypeAlias = Callable[[bytes, str], NDArray[np.uint8]]
"""Decodes the content of a file, with its name for errors, to the image that the backbone sees:
uint8 (224, 224, 3). Raises `ImageError` if that fails."""

Row = tuple[bytes, NDArray[np.float32]]
"""A cache key and its value: the features, the mean colour and the field score."""


@dataclass(frozen=True, slots=True)
class View:
    """A rotated or flipped image file, from 0 (unchanged) to 7; see `images.view`."""

    path: Path
    index: int = 0


def plan_views(labels: NDArray[np.int64], extra: float = 0.25) -> NDArray[np.int64]:
    """Return how many views of each training image to use.

    Views are added to the rarest class until every class has as many rows as the largest or all
    `N_VIEWS`, or the budget is spent.

    `labels` (N,) are class indices. `extra` is the budget: rows beyond one for each image, as a
    fraction of N. Returns 1 to 8 for each image.
    """
    counts = np.bincount(labels)
    views = np.ones_like(counts)
    budget = extra * len(labels)
    while True:
        rows = counts * views
        grown = (counts > 0) & (views < N_VIEWS) & (rows + counts <= rows.max())
        if not grown.any():
            break
        rarest = int(np.argmin(np.where(grown, rows, np.iinfo(np.int64).max)))
        budget -= counts[rarest]
        if budget < 0:
            break
        views[rarest] += 1
    return views[labels]


class Extractor(Protocol):
    """Computes features of images; `hematovision.model.backbone.Backbone` is one."""

    sha256: str

    def features(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """Return features (N, D) of images (N, 224, 224, 3); must be thread-safe."""


@dataclass(frozen=True)
class Features:
    """The result of `extract`."""

    # shape (N, D): a row per requested view of a readable image, in order
    values: NDArray[np.float32]
    kept: NDArray[np.int64]  # shape (N,): the positions of these views in the request
    # shape (N, 3): mean red, green and blue of the resized image, 0 to 255
    mean_colours: NDArray[np.float32]
    fields: NDArray[np.float32]  # shape (N,): field scores
    digests: tuple[str, ...]  # SHA-256 of each row's file
    refused: tuple[ImageError, ...]  # one per unreadable image
    computed: int  # number of rows that were not in the cache


def row_keys(data: bytes, views: Sequence[int]) -> list[bytes]:
    """Return the cache keys of views of an image: SHA-256 of the file, then the view.

    `data` is the content of the file; views are 0 to 7 (`images.view`). Each key has 33 bytes.
    """
    digest = bytes.fromhex(sha256_bytes(data))
    return [digest + bytes([index]) for index in views]


def rows_of(
    data: bytes, views: Sequence[int], extractor: Extractor, name: str = "<bytes>"
) -> list[Row]:
    """Compute the rows of an image's views on this thread, without the cache.

    The image is hashed and decoded once. `FeatureCache.put` accepts the result from any machine.

    `data` is the content of the file, called `name` in errors; views are 0 to 7 (`images.view`).
    Returns for each view its key (`row_keys`) and its row, float32 (D + `EXTRA`,): D features, the
    mean red, green and blue of the fitted image, 0 to 255, and its field score. Raises `ImageError`
    if the image cannot be read. Raises `ModelError` if the backbone fails on it.
    """
    return _computed(data, row_keys(data, views), extractor, name)


def row_of(fitted: NDArray[np.uint8], extractor: Extractor) -> NDArray[np.float32]:
    """Compute the row of an image uint8 (224, 224, 3), on this thread; see `rows_of`."""
    alone = fitted[None]
    colour = images.mean_colours(alone)[0].astype(np.float32)
    field = bundled_field_score().score(alone)
    return np.concatenate([extractor.features(alone)[0], colour, field])


def _resized(data: bytes, name: str) -> NDArray[np.uint8]:
    return images.load(data, name=name)


def _computed(
    data: bytes, keys: Sequence[bytes], extractor: Extractor, name: str, load: Load = _resized
) -> list[Row]:
    fitted = load(data, name)
    return [(key, row_of(images.view(fitted, key[-1]), extractor)) for key in keys]


def extract(
    views: Sequence[View],
    extractor: Extractor,
    cache: FeatureCache,
    progress: Progress = no_progress,
    load: Load = _resized,
) -> Features:
    """Return the features of `views`, computing only those that are not in the cache.

    Each file is read once and decoded at most once, on one thread per CPU.

    `progress` is called with the number of views done. Unreadable images are left out, and listed
    once each. By default images are resized; another `load` needs a cache of its own (`inputs` of
    `open_cache`).
    """
    places: dict[Path, list[int]] = {}
    for place, view in enumerate(views):
        places.setdefault(view.path, []).append(place)
    files = list(places.items())
    tasks = [files[start : start + _FILES] for start in range(0, len(files), _FILES)]

    def read(task: Sequence[tuple[Path, list[int]]]) -> list[_FileRows | ImageError]:
        return [
            _file_rows(path, [views[place].index for place in wanted], extractor, cache, load)
            for path, wanted in task
        ]

    collector = _Collector(len(views), cache.n_features)
    results = ahead(read, tasks, reading_threads())
    fresh: list[Row] = []
    try:
        with closing(results):
            for task, found in zip(tasks, results, strict=True):
                for (_, wanted), result in zip(task, found, strict=True):
                    fresh += collector.add(wanted, result)
                if len(fresh) >= _BATCH:
                    cache.put(fresh)
                    fresh = []
                if collector.report_due():
                    progress(collector.done, len(views), "features", "images")
    finally:
        cache.put(fresh)  # also after Ctrl-C
    progress(collector.done, len(views), "features", "images")
    features = collector.features()
    n = len(features.kept)
    cached = n - features.computed
    _LOG.info("Features of %d images and views; %d were cached in %s.", n, cached, cache.path)
    return features


_FileRows: TypeAlias = tuple[list[Row], list[Row]]
"""A row for every requested view of a file, and the rows that were not cached."""


def _file_rows(
    path: Path, indices: Sequence[int], extractor: Extractor, cache: FeatureCache, load: Load
) -> _FileRows | ImageError:
    try:
        data = images.read_bytes(path)
        keys = row_keys(data, indices)
        rows = {key: row for key in keys if (row := cache.get(key)) is not None}
        missing = [key for key in dict.fromkeys(keys) if key not in rows]
        fresh = _computed(data, missing, extractor, str(path), load) if missing else []
    except ImageError as error:
        return error
    rows.update(fresh)
    return [(key, rows[key]) for key in keys], fresh


class _Collector:
    """Collects rows in the requested order."""

    def __init__(self, n: int, n_features: int) -> None:
        self.done = self._computed = self._reported = 0
        self._values = np.zeros((n, n_features), np.float32)
        self._colours = np.zeros((n, 3), np.float32)
        self._fields = np.zeros(n, np.float32)
        self._digests: list[str | None] = [None] * n
        self._refused: list[ImageError] = []

    def add(self, places: Sequence[int], result: _FileRows | ImageError) -> list[Row]:
        """Add the rows of a file; return those that were not cached."""
        self.done += len(places)
        if isinstance(result, ImageError):
            self._refused.append(result)
            return []
        rows, fresh = result
        self._computed += len(fresh)
        for place, (key, row) in zip(places, rows, strict=True):
            self._values[place] = row[:-EXTRA]
            self._colours[place], self._fields[place] = row[-EXTRA:-1], row[-1]
            self._digests[place] = key[:-1].hex()
        return fresh

    def report_due(self) -> bool:
        """Return whether a batch was completed since the last True."""
        if self.done - self._reported < _BATCH:
            return False
        self._reported = self.done
        return True

    def features(self) -> Features:
        kept = [place for place, digest in enumerate(self._digests) if digest is not None]
        whole = len(kept) == len(self._digests)  # Then nothing is copied.
        return Features(
            self._values if whole else self._values[kept],
            np.array(kept, np.int64),
            self._colours if whole else self._colours[kept],
            self._fields if whole else self._fields[kept],
            tuple(digest for digest in self._digests if digest is not None),
            tuple(self._refused),
            self._computed,
        )
