"""Features of the frozen backbone: computed once per image and view, then remembered.

The backbone does not change while a head learns, so an epoch needs no pass through it, and the
next experiment on the same images needs none at all (`feature_cache`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError
from hematovision.files import sha256_bytes
from hematovision.model.architecture import FEATURES
from hematovision.model.inference import ahead
from hematovision.model.session import reading_threads
from hematovision.progress import Progress, no_progress
from hematovision.training.feature_cache import FeatureCache
from hematovision.training.views import View

__all__ = [
    "Extractor",
    "Features",
    "extract",
    "row_keys",
    "row_of",
    "rows_of",
]

_BATCH = 64
"""Rows that are remembered, and told of, at once."""

_FILES = 8
"""Files that a thread takes at once: handing over each by itself took longer than to look it up."""

Row = tuple[bytes, NDArray[np.float32]]
"""A key of the cache, and what it stands for: 1280 features, then the mean colour."""


class Extractor(Protocol):
    """What turns images into features; `hematovision.model.backbone.Backbone` is one."""

    sha256: str

    def features(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """Return features (N, 1280) of images (N, 224, 224, 3); several threads may ask."""


@dataclass(frozen=True)
class Features:
    """What `extract` found.

    Parameters
    ----------
    values : ndarray of float32, shape (N, 1280)
        A row for every asked-for view of a readable image, in the order asked for.
    kept : ndarray of int, shape (N,)
        The positions of those views among the asked-for ones.
    mean_colours : ndarray of float32, shape (N, 3)
        Mean red, green and blue of the fitted image, 0 to 255.
    digests : tuple of str
        SHA-256 of each row's file.
    refused : tuple of ImageError
        One for every image that could not be read.
    computed : int
        How many rows were not in the cache.
    """

    values: NDArray[np.float32]
    kept: NDArray[np.int64]
    mean_colours: NDArray[np.float32]
    digests: tuple[str, ...]
    refused: tuple[ImageError, ...]
    computed: int


def row_keys(data: bytes, views: Sequence[int]) -> list[bytes]:
    """Return what the cache calls the views of an image: SHA-256 of the bytes, then the view.

    Parameters
    ----------
    data : bytes
        The content of the file.
    views : sequence of int
        0 to 7 each; see `images.view`.

    Returns
    -------
    list of bytes
        33 bytes for each view, in the same order.
    """
    digest = bytes.fromhex(sha256_bytes(data))
    return [digest + bytes([index]) for index in views]


def rows_of(
    data: bytes, views: Sequence[int], extractor: Extractor, name: str = "<bytes>"
) -> list[Row]:
    """Compute the rows of some views of one image, on the caller's thread.

    The image is hashed and decoded once, whatever the number of views. Nothing is looked up or
    remembered here, so that any machine may do it; `FeatureCache.put` takes what comes out.

    Parameters
    ----------
    data : bytes
        The content of the image file.
    views : sequence of int
        0 to 7 each; see `images.view`.
    extractor : Extractor
        The backbone.
    name : str
        What errors call the image.

    Returns
    -------
    list of tuple of bytes and ndarray of float32, shape (1283,)
        For each view, in the same order, its key (`row_keys`) and its row: 1280 features, then the
        mean red, green and blue of the fitted image, 0 to 255.

    Raises
    ------
    ImageError
        If the image cannot be read.
    ModelError
        If the backbone fails on it.
    """
    return _computed(data, row_keys(data, views), extractor, name)


def row_of(fitted: NDArray[np.uint8], extractor: Extractor) -> NDArray[np.float32]:
    """Compute the row (1283,) of an image as the backbone takes it, uint8 (224, 224, 3).

    The backbone runs a single image on the caller's thread, which may be one of many.
    """
    alone = fitted[None]
    colour = images.mean_colours(alone)[0].astype(np.float32)
    return np.concatenate([extractor.features(alone)[0], colour])


def _computed(data: bytes, keys: Sequence[bytes], extractor: Extractor, name: str) -> list[Row]:
    fitted = images.load(data, name=name)
    return [(key, row_of(images.view(fitted, key[-1]), extractor)) for key in keys]


def extract(
    views: Sequence[View],
    extractor: Extractor,
    cache: FeatureCache,
    progress: Progress = no_progress,
) -> Features:
    """Return the features of `views`, computing only those that the cache does not know.

    Each file is read once, and decoded once if any of its views is not known, on one of as many
    threads as there are processors; the same thread runs the backbone on it.

    Parameters
    ----------
    views : sequence of View
        What to look at, in this order.
    extractor : Extractor
        The backbone.
    cache : FeatureCache
        Where features are remembered.
    progress : Progress
        Told now and then how many views are done.

    Returns
    -------
    Features
        Unreadable images are left out and listed, once each.
    """
    found = _Found(len(views))
    looking = ahead(_looker(extractor, cache), _by_file(views), reading_threads())
    fresh: list[Row] = []
    try:
        with closing(looking):
            for few in looking:
                for seen in few:
                    found.add(seen)
                    fresh += seen.fresh
                if len(fresh) >= _BATCH:
                    cache.put(fresh)
                    fresh = []
                if found.is_time():
                    progress(found.done, len(views), "features")
    finally:
        cache.put(fresh)  # What Ctrl-C would cost otherwise.
    progress(found.done, len(views), "features")
    return found.features()


@dataclass(frozen=True, slots=True)
class _File:
    """A file, the views of it that were asked for, and where their rows belong."""

    path: Path
    indices: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of a file: a row for every view, or an error; `fresh` were not known before."""

    file: _File
    rows: Sequence[Row] = ()
    fresh: Sequence[Row] = ()
    error: ImageError | None = None


def _by_file(views: Sequence[View]) -> list[list[_File]]:
    """Put the views of a file together, and a few files together."""
    files: dict[Path, _File] = {}
    for place, view in enumerate(views):
        file = files.setdefault(view.path, _File(view.path))
        file.indices.append(view.index)
        file.places.append(place)
    given = list(files.values())
    return [given[start : start + _FILES] for start in range(0, len(given), _FILES)]


def _looker(extractor: Extractor, cache: FeatureCache) -> Callable[[Sequence[_File]], list[_Seen]]:
    """Return what a thread does with files."""

    def look(file: _File) -> _Seen:
        try:
            data = images.read_bytes(file.path)
            keys = row_keys(data, file.indices)
            known = {key: row for key in keys if (row := cache.get(key)) is not None}
            missing = [key for key in dict.fromkeys(keys) if key not in known]
            fresh = _computed(data, missing, extractor, str(file.path)) if missing else []
        except ImageError as error:
            return _Seen(file, error=error)
        known.update(fresh)
        return _Seen(file, [(key, known[key]) for key in keys], fresh)

    return lambda files: [look(file) for file in files]


class _Found:
    """Gathers rows in the order in which they were asked for."""

    def __init__(self, n: int) -> None:
        self.done = self._computed = self._told = 0
        self._values = np.zeros((n, FEATURES), np.float32)
        self._colours = np.zeros((n, 3), np.float32)
        self._digests: list[str | None] = [None] * n
        self._refused: list[ImageError] = []

    def add(self, seen: _Seen) -> None:
        self.done += len(seen.file.places)
        if seen.error is not None:
            self._refused.append(seen.error)
            return
        self._computed += len(seen.fresh)
        for place, (key, row) in zip(seen.file.places, seen.rows, strict=True):
            self._values[place], self._colours[place] = row[:FEATURES], row[FEATURES:]
            self._digests[place] = key[:-1].hex()

    def is_time(self) -> bool:
        """Tell whether a batch was done since this last said so."""
        if self.done - self._told < _BATCH:
            return False
        self._told = self.done
        return True

    def features(self) -> Features:
        kept = [place for place, digest in enumerate(self._digests) if digest is not None]
        whole = len(kept) == len(self._digests)  # Then nothing is copied.
        return Features(
            self._values if whole else self._values[kept],
            np.array(kept, np.int64),
            self._colours if whole else self._colours[kept],
            tuple(digest for digest in self._digests if digest is not None),
            tuple(self._refused),
            self._computed,
        )
