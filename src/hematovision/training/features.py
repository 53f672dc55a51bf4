"""Features of the frozen backbone: computed once per image and view, then remembered.

The backbone does not change while a head learns, so an epoch needs no pass through it, and the
next experiment on the same images needs none at all (`feature_cache`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.errors import ImageError, UnreadableFileError
from hematovision.files import sha256_bytes
from hematovision.model.architecture import FEATURES
from hematovision.progress import Progress, no_progress
from hematovision.training.feature_cache import FeatureCache

__all__ = [
    "N_VIEWS",
    "Extractor",
    "Features",
    "View",
    "extract",
    "plan_views",
]

N_VIEWS = 8
"""The rotations and flips of a square: all the views that invent no pixel."""

_BATCH = 32


class Extractor(Protocol):
    """What turns images into features; `hematovision.model.backbone.Backbone` is one."""

    sha256: str

    def features(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """Return features (N, 1280) of images (N, 224, 224, 3)."""


@dataclass(frozen=True, slots=True)
class View:
    """An image file seen from one of `N_VIEWS` sides; 0 is the image itself."""

    path: Path
    index: int = 0


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


def plan_views(labels: NDArray[np.int64], extra: float = 0.25) -> NDArray[np.int64]:
    """Say from how many sides each training image is shown.

    The rarest class gets a further view, again and again, until every class has as many rows as
    the largest, or all `N_VIEWS`, or the budget is spent.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Class indices.
    extra : float
        Budget: rows beyond one for each image, as a fraction of N.

    Returns
    -------
    ndarray of int, shape (N,)
        1 to 8 for each image.
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


def extract(
    views: Sequence[View],
    extractor: Extractor,
    cache: FeatureCache,
    progress: Progress = no_progress,
) -> Features:
    """Return the features of `views`, computing only those that the cache does not know.

    Parameters
    ----------
    views : sequence of View
        What to look at, in this order.
    extractor : Extractor
        The backbone.
    cache : FeatureCache
        Where features are remembered.
    progress : Progress
        Told after every batch.

    Returns
    -------
    Features
        Unreadable images are left out and listed, once each.
    """
    rows: list[NDArray[np.float32]] = []
    kept: list[int] = []
    digests: list[str] = []
    refused: dict[str, ImageError] = {}
    computed = done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for chunk in _ahead(pool, views, cache):
            fresh = [item for item in chunk if item.row is None and item.error is None]
            _compute(fresh, extractor, cache)
            for item in chunk:
                if item.row is None:
                    assert item.error is not None
                    refused.setdefault(item.error.path, item.error)
                else:
                    rows.append(item.row)
                    kept.append(done)
                    digests.append(item.key[:-1].hex())
                done += 1
            computed += len(fresh)
            progress(done, len(views), "features")
    table = np.stack(rows) if rows else np.zeros((0, FEATURES + 3), np.float32)
    return Features(
        np.ascontiguousarray(table[:, :FEATURES]),
        np.array(kept, np.int64),
        table[:, FEATURES:],
        tuple(digests),
        tuple(refused.values()),
        computed,
    )


@dataclass
class _Item:
    """One view on its way: known from the cache, decoded, or refused."""

    key: bytes
    row: NDArray[np.float32] | None = None
    pixels: NDArray[np.uint8] | None = None
    error: ImageError | None = None


def _ahead(
    pool: ThreadPoolExecutor, views: Sequence[View], cache: FeatureCache
) -> Iterator[list[_Item]]:
    """Give the views batch by batch, decoding the next batch while one is being worked on."""
    waiting: list[_Item] | None = None
    for start in range(0, len(views), _BATCH):
        batch = views[start : start + _BATCH]
        read = list(pool.map(_read, batch))
        items = [_look_up(content, cache) for content in read]
        decoding = [
            pool.submit(_decode, item, content[1], view)
            for item, content, view in zip(items, read, batch, strict=True)
            if item.row is None and not isinstance(content, ImageError)
        ]
        if waiting is not None:
            yield waiting
        for future in decoding:
            future.result()
        waiting = items
    if waiting is not None:
        yield waiting


def _read(view: View) -> tuple[bytes, bytes] | ImageError:
    """Return key and content of the view's file."""
    try:
        size = view.path.stat().st_size
        data = view.path.read_bytes() if size <= images.MAX_BYTES else b""
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}. Check the file."
        return UnreadableFileError(view.path, reason)
    return bytes.fromhex(sha256_bytes(data)) + bytes([view.index]), data


def _look_up(content: tuple[bytes, bytes] | ImageError, cache: FeatureCache) -> _Item:
    if isinstance(content, ImageError):
        return _Item(b"", error=content)
    return _Item(content[0], row=cache.get(content[0]))


def _decode(item: _Item, data: bytes, view: View) -> None:
    try:
        # Too large a file was not read; the path lets the decoder say so itself.
        pixels = images.read(data or view.path, name=str(view.path))
        item.pixels = images.view(images.fit(pixels), view.index)
    except ImageError as error:
        item.error = error


def _compute(items: list[_Item], extractor: Extractor, cache: FeatureCache) -> None:
    batch = [(item, item.pixels) for item in items if item.pixels is not None]
    if not batch:
        return
    stacked = np.stack([pixels for _, pixels in batch])
    colours = images.mean_colours(stacked).astype(np.float32)
    values = extractor.features(stacked)
    for (item, _), row in zip(batch, np.hstack([values, colours]), strict=True):
        item.row, item.pixels = row, None
    cache.put((item.key, item.row) for item, _ in batch if item.row is not None)
