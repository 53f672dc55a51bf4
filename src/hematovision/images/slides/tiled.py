"""Slides in TIFF files: plain and OME pyramids, and large images in tiles or strips.

Only the tiles of a region are read, checked and decoded, by the decoder of ordinary images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import ImageError, TooManyPixelsError, UnreadableFileError
from hematovision.images.decoding import decode
from hematovision.images.formats.source import FileSource
from hematovision.images.formats.tiff.pyramid import MAX_BLOCK_PIXELS, Level, read_levels
from hematovision.images.resolution import page_um_per_px
from hematovision.images.slides.slide import Slide

__all__ = ["STARTS", "open_tiled"]

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of TIFF and BigTIFF files."""

_WHITE = 255


class _Tiles:
    """Reads rectangles from the tiles of a pyramid."""

    def __init__(self, stream: BinaryIO, source: FileSource, levels: Sequence[Level]) -> None:
        self._stream, self._source, self._levels = stream, source, levels

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return RGB uint8 (height, width, 3); see `LevelReader`."""
        own = self._levels[level]
        result = np.full((height, width, 3), _WHITE, np.uint8)
        for row in range(y // own.down, (y + height - 1) // own.down + 1):
            for column in range(x // own.across, (x + width - 1) // own.across + 1):
                block = self._decode(own, column, row)
                if block is not None:
                    _paste(result, block, column * own.across - x, row * own.down - y)
        return result

    def _decode(self, level: Level, column: int, row: int) -> NDArray[np.uint8] | None:
        encoded = level.block(column, row)
        if encoded is None:
            return None
        try:
            return decode(encoded, self._source)
        except MemoryError as error:
            raise TooManyPixelsError(
                self._source.name, "not enough free memory for a tile. Close other programs."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def open_tiled(path: Path) -> Slide:
    """Open a TIFF file as a slide.

    Raises
    ------
    UnreadableFileError
        If the file cannot be opened.
    NotAnImageError
        If it is not one image of 8-bit greys or colours, in tiles or strips of a usable size.
    TruncatedImageError
        If its directories are damaged. Damaged tiles are reported when they are read.
    """
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(
            path, f"the file cannot be read: {reason}. Check its path and permissions."
        ) from error
    try:
        source = FileSource.of(stream, str(path), MAX_BLOCK_PIXELS)
        levels = read_levels(source)
        sizes = [(level.width, level.height) for level in levels]
        reader = _Tiles(stream, source, levels)
        return Slide(
            path,
            "tiff",
            sizes,
            reader,
            um_per_px=_um_per_px(levels[0]),
            is_tiled=levels[0].tiled,
        )
    except BaseException:
        stream.close()
        raise


def _um_per_px(level: Level) -> float | None:
    try:
        return page_um_per_px(level.page)
    except ImageError:
        return None


def _paste(target: NDArray[np.uint8], block: NDArray[np.uint8], x: int, y: int) -> None:
    """Copy the part of a block that is inside the target, with its corner at (x, y)."""
    height, width = target.shape[:2]
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + block.shape[1], width), min(y + block.shape[0], height)
    target[top:bottom, left:right] = block[top - y : bottom - y, left - x : right - x]
