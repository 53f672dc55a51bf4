"""A slide: an image too large to be read at once, in levels of decreasing size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.errors import NotAnImageError, TooManyPixelsError
from hematovision.limits import MAX_PIXELS

__all__ = ["MAX_SLIDE_PIXELS", "LevelReader", "Slide", "SlideLevel"]

MAX_SLIDE_PIXELS = 2**38
"""524,288 x 524,288: more than any scanner's, few enough for a list of tiles."""

_MAX_SIDE = 2**22
_BLOCK = 4096  # side of the largest rectangle that is read at once, in pixels of a level
_SAME = 0.005  # relative difference of two downsamples that count as equal


@dataclass(frozen=True, slots=True)
class SlideLevel:
    """One level of a slide."""

    width: int  # in its own pixels
    height: int
    downsample: float  # pixels of level 0 per pixel, at least 1


class LevelReader(Protocol):
    """Reads rectangles of a file's levels; thread-safe."""

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return RGB uint8 (height, width, 3); the rectangle is inside the level, in its pixels.

        Missing tiles have the background's colour. Raises `ImageError` if the data are damaged.
        """

    def close(self) -> None:
        """Close the file."""


class Slide:
    """A slide, read by region; see `open_slide`. Thread-safe; a context manager.

    Attributes
    ----------
    path : Path
    format : str
        The format, as OpenSlide names it (``"aperio"``, ``"hamamatsu"``, ...), or ``"tiff"``.
    width, height : int
        Of level 0, in pixels.
    levels : tuple of SlideLevel
        Largest first.
    um_per_px : float or None
        Micrometres per pixel of level 0; None if the metadata lack it.
    objective : float or None
        Magnification of the objective; None if unknown.
    background : tuple of int
        RGB of what was not scanned.
    series : str
        Equal for the files of one slide, if it may have several; else empty.
    is_tiled : bool
        Whether regions can be read without reading whole rows.
    """

    def __init__(
        self,
        path: Path,
        format: str,  # noqa: A002
        sizes: Sequence[tuple[int, int]],
        reader: LevelReader,
        *,
        um_per_px: float | None = None,
        objective: float | None = None,
        background: tuple[int, int, int] = (255, 255, 255),
        series: str = "",
        is_tiled: bool = True,
    ) -> None:
        self.path, self.format, self._reader = path, format, reader
        self.width, self.height = sizes[0]
        self.um_per_px, self.objective = um_per_px, objective
        self.background, self.series, self.is_tiled = background, series, is_tiled
        self._check_size()
        self.levels = tuple(
            SlideLevel(w, h, max(1.0, (self.width / w + self.height / h) / 2)) for w, h in sizes
        )

    def _check_size(self) -> None:
        if min(self.width, self.height) < 1:
            raise NotAnImageError(self.path, "it is a slide without pixels. Leave it out.")
        if self.width * self.height > MAX_SLIDE_PIXELS or max(self.width, self.height) > _MAX_SIDE:
            raise TooManyPixelsError(
                self.path,
                f"it declares {self.width} x {self.height} pixels; the limit for slides is "
                f"{MAX_SLIDE_PIXELS:,} pixels and {_MAX_SIDE:,} for each side. Crop it.",
            )

    def __repr__(self) -> str:
        scale = "" if self.um_per_px is None else f", {self.um_per_px:.4g} um/px"
        return (
            f"<Slide {str(self.path)!r}: {self.format}, {self.width} x {self.height} pixels, "
            f"{len(self.levels)} levels{scale}>"
        )

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def level_for(self, downsample: float) -> int:
        """Return the smallest level that has all the detail of a downsample."""
        fits = (one.downsample <= downsample * (1 + _SAME) for one in self.levels)
        return max(index for index, fit in enumerate(fits) if fit or not index)

    def read_region(
        self, x: int, y: int, width: int, height: int, *, downsample: float = 1.0
    ) -> NDArray[np.uint8]:
        """Read a rectangle as RGB; what is outside the slide has the background's colour.

        Parameters
        ----------
        x, y, width, height : int
            The rectangle in pixels of level 0; `x` and `y` may be negative.
        downsample : float
            Pixels of level 0 per pixel of the result, at least 1. The next larger level is read and
            scaled down by averaging; ``slide.levels[2].downsample`` reads level 2 as it is.

        Returns
        -------
        ndarray of uint8, shape (round(height / downsample), round(width / downsample), 3)
            At least one pixel.

        Raises
        ------
        ValueError
            If the result would have no pixels or more than `MAX_PIXELS`, or `downsample` is below
            1.
        ImageError
            If the slide's data are damaged there, or the file can no longer be read.
        """
        if not (math.isfinite(downsample) and downsample >= 1) or min(width, height) < 1:
            raise ValueError(
                "`width` and `height` must be at least 1 pixel, and `downsample` at least 1. "
                f"Received: {width} x {height}, {downsample}"
            )
        across, down = (max(1, round(side / downsample)) for side in (width, height))
        if across * down > MAX_PIXELS:
            raise ValueError(
                f"a region may have up to {MAX_PIXELS:,} pixels. Received: {across} x {down}. Read "
                "smaller regions, or with a larger `downsample`."
            )
        level = self.level_for(downsample)
        own = self.levels[level].downsample
        scale = 1.0 if abs(downsample / own - 1) <= _SAME else downsample / own
        result = np.empty((down, across, 3), np.uint8)
        for rows, columns in _blocks(down, across, max(1, int(_BLOCK / scale))):
            left, top = x / own + columns.start * scale, y / own + rows.start * scale
            size = columns.stop - columns.start, rows.stop - rows.start
            result[rows, columns] = self._read_scaled(level, left, top, size, scale)
        return result

    def thumbnail(self, side: int = 1024) -> NDArray[np.uint8]:
        """Return the whole slide as RGB, with its longer side at most `side` pixels."""
        downsample = max(1.0, max(self.width, self.height) / side)
        return self.read_region(0, 0, self.width, self.height, downsample=downsample)

    def _read_scaled(
        self, level: int, left: float, top: float, size: tuple[int, int], scale: float
    ) -> NDArray[np.uint8]:
        """Read `size` (width, height) pixels of `scale` level pixels each, from a level."""
        if scale == 1.0:
            return self._read_filled(level, round(left), round(top), *size)
        right, bottom = left + size[0] * scale, top + size[1] * scale
        x, y = math.floor(left), math.floor(top)
        pixels = self._read_filled(level, x, y, math.ceil(right) - x, math.ceil(bottom) - y)
        box = (left - x, top - y, right - x, bottom - y)
        scaled = Image.fromarray(pixels).resize(size, Image.Resampling.BOX, box)
        return np.asarray(scaled)

    def _read_filled(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> NDArray[np.uint8]:
        """Read a rectangle of a level, which may extend beyond it."""
        one = self.levels[level]
        left, right = (min(max(edge, 0), one.width) for edge in (x, x + width))
        top, bottom = (min(max(edge, 0), one.height) for edge in (y, y + height))
        is_inside = right - left == width and bottom - top == height
        if is_inside:
            return self._reader.read(level, x, y, width, height)
        filled = np.empty((height, width, 3), np.uint8)
        filled[:] = self.background
        if right > left and bottom > top:
            inside = self._reader.read(level, left, top, right - left, bottom - top)
            filled[top - y : bottom - y, left - x : right - x] = inside
        return filled


def _blocks(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Cut a rectangle into blocks of up to `side` pixels; yield their rows and columns."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield (
                slice(top, min(top + side, height)),
                slice(left, min(left + side, width)),
            )
