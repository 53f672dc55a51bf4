"""The inference loop: read ahead on threads, predict, yield results in the order of the inputs.

The CLI, the web app, the HTTP server, the Ray engine and the evaluation all predict through
`predict_image`. `infer` runs it on a thread pool for a stream of images; the HTTP server runs it on
the threads of its queue.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ImageError, NotAnImageError, TooManyPixelsError
from hematovision.regions import Region
from hematovision.rows import Row, Schema

__all__ = [
    "LOOK_AHEAD", "ImageResult", "Item", "Predictor", "Source", "SourcePredictor", "Together",
    "ahead", "infer", "predict_image",
]  # fmt: skip

_LOG = logging.getLogger(__name__)

LOOK_AHEAD = 4
"""Images in flight per thread: enough to hide a slow read, few enough to bound memory."""

Source: TypeAlias = str | Path | Region | bytes | NDArray[np.uint8] | ImageError
"""A file, a region of one, its bytes, an RGB array (H, W, 3), or the error that prevented reading.

Only a `SourcePredictor` takes regions.
"""

_Read: TypeAlias = Callable[[str | Path | bytes | NDArray[np.uint8], str], NDArray[np.uint8]]

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")
_Row = TypeVar("_Row", bound=Row)
_RowOut = TypeVar("_RowOut", bound=Row, covariant=True)


class Predictor(Protocol[_RowOut]):
    """Predicts rows for images; thread-safe.

    Attributes
    ----------
    schema : Schema
        The columns of its rows.
    classes : tuple of str
        The labels it can predict.
    identity : mapping of str to str or float
        Everything its predictions depend on, such as hashes and thresholds. Only rows of
        predictors with equal identities may share a table.
    threads : int
        How many images to process at once.
    explains : bool
        Whether it can return explanation maps.
    """

    @property
    def schema(self) -> Schema: ...  # noqa: D102 - described above

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def identity(self) -> Mapping[str, str | float]: ...  # noqa: D102

    @property
    def threads(self) -> int: ...  # noqa: D102

    @property
    def explains(self) -> bool: ...  # noqa: D102

    def read(self, source: str | Path | bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Read an image for `predict_rows`.

        Raises
        ------
        ImageError
            If it cannot be read.
        """

    def predict_rows(
        self, pixels: NDArray[np.uint8], name: str, *, explain: bool = False
    ) -> tuple[Sequence[_RowOut], NDArray[np.float32] | None]:
        """Predict 0 to n rows for an image.

        The second result is the explanation map, float32 (K, K), with `explain`; else None.
        """

    def unreadable(self, name: str, reason: str) -> _RowOut:
        """Return the row of an image that could not be read."""


@runtime_checkable
class SourcePredictor(Protocol[_RowOut]):
    """A `Predictor` that needs more than pixels: a file's metadata, or regions of a slide."""

    def predict_source(
        self, source: str | Path | Region | bytes | NDArray[np.uint8], name: str
    ) -> tuple[NDArray[np.uint8] | None, Sequence[_RowOut]]:
        """Read an image or region, and predict its rows.

        The first result are the pixels, if the source is one image. Raises `ImageError` if it
        cannot be read.
        """

    def unreadable_region(self, region: Region, name: str, reason: str) -> _RowOut:
        """Return the row of a region that could not be read."""


class Item(NamedTuple):
    """An image to predict."""

    name: str  # its name in the rows
    source: Source


@dataclass(frozen=True, slots=True)
class ImageResult(Generic[_Row]):
    """The result for one image."""

    name: str
    source: Source  # as given
    rows: tuple[_Row, ...]  # 0 to n; one if the image could not be read
    error: ImageError | None = None  # why the image could not be read
    pixels: NDArray[np.uint8] | None = None  # the image as read by the predictor, if requested
    attention: NDArray[np.float32] | None = None  # shape (K, K): explanation map, if requested

    @property
    def prediction(self) -> _Row:
        """The only row, for predictors with one row per image."""
        (row,) = self.rows
        return row


class Together(Generic[_Row]):
    """Several predictors: each image is read once, and has the rows of all of them.

    The first of `predictors` gives the schema and the threads. `read` reads an image for predictors
    with inputs of different sizes; each then takes the array. By default the first predictor reads
    for all.
    """

    def __init__(self, predictors: Sequence[Predictor[_Row]], read: _Read | None = None) -> None:
        self._predictors, self._shared, first = predictors, read is None, predictors[0]
        self.schema, self.classes, self.threads = first.schema, first.classes, first.threads
        self.identity, self.explains = first.identity, False
        self.read, self.unreadable = read or first.read, first.unreadable

    def predict_rows(
        self, pixels: NDArray[np.uint8], name: str, *, explain: bool = False
    ) -> tuple[list[_Row], None]:
        """Return the rows of all predictors, in their order."""
        rows: list[_Row] = []
        for one in self._predictors:
            own = pixels if self._shared else one.read(pixels, name)
            rows += one.predict_rows(own, name, explain=explain)[0]
        return rows, None


def predict_image(
    predictor: Predictor[_Row], item: Item, *, explain: bool = False, keep_pixels: bool = False
) -> ImageResult[_Row]:
    """Read one image and predict its rows, on the caller's thread.

    An image that cannot be read, or does not fit into memory, yields one row with the error.
    `explain` adds the explanation map, `keep_pixels` the pixels. Raises `ModelError` if the model
    itself fails.
    """
    name, source = item
    try:
        pixels, rows, attention = _predict(predictor, source, name, explain=explain)
    except ImageError as error:
        failed = error
    except MemoryError:
        failed = TooManyPixelsError(
            name,
            "not enough free memory to classify it. Make the image smaller, close other "
            "programs, or use another machine.",
        )
    else:
        kept = pixels if keep_pixels else None
        return ImageResult(name, source, tuple(rows), None, kept, attention)
    if isinstance(source, Region) and isinstance(predictor, SourcePredictor):
        row = predictor.unreadable_region(source, name, failed.reason)
    else:
        row = predictor.unreadable(name, failed.reason)
    return ImageResult(name, source, (row,), failed)


def _predict(
    predictor: Predictor[_Row], source: Source, name: str, *, explain: bool
) -> tuple[NDArray[np.uint8] | None, Sequence[_Row], NDArray[np.float32] | None]:
    """Return the pixels, the rows and the explanation map of an image."""
    if isinstance(source, ImageError):
        raise source
    if isinstance(predictor, SourcePredictor):
        return *predictor.predict_source(source, name), None
    if isinstance(source, Region):
        raise NotAnImageError(name, "regions are for whole fields. Use `hematovision analyze`.")
    pixels = predictor.read(source, name)
    rows, attention = predictor.predict_rows(pixels, name, explain=explain)
    return pixels, rows, attention


def infer(
    predictor: Predictor[_Row],
    items: Iterable[Item],
    *,
    explain: bool = False,
    keep_pixels: bool = False,
    threads: int | None = None,
) -> Generator[ImageResult[_Row], None, None]:
    """Predict images in parallel; yield the results in their order.

    `items` are consumed lazily and may be endless; see `ahead`. `explain` and `keep_pixels` as in
    `predict_image`; `threads` defaults to the predictor's. Raises `ModelError` if the model itself
    fails.
    """

    def work(item: Item) -> ImageResult[_Row]:
        return predict_image(predictor, item, explain=explain, keep_pixels=keep_pixels)

    return ahead(work, items, threads or predictor.threads)


def ahead(
    work: Callable[[_Given], _Made],
    items: Iterable[_Given],
    threads: int,
    *,
    on_close: Callable[[], object] | None = None,
) -> Generator[_Made, None, None]:
    """Call `work` on each item in a thread pool; yield the results in the items' order.

    Closing the generator, or an error, cancels pending items and waits for running ones; `on_close`
    is called before that, and may stop them.

    `items` are consumed lazily on the caller's thread and may be endless; at most `LOOK_AHEAD`
    times `threads` are in memory. Errors of `work` are raised here, at the item's position.
    """
    _LOG.info("Images are read and processed on %d threads.", threads)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="classify")
    waiting: deque[Future[_Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= LOOK_AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        if on_close is not None:
            on_close()
        pool.shutdown(cancel_futures=True)
