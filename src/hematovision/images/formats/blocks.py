"""The strips or tiles of a TIFF's page: where they lie, and whether they hold all pixels."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hematovision.images.formats import page as kind
from hematovision.images.formats.page import Page

__all__ = ["Blocks", "check_places", "read_blocks"]

# Each strip or tile costs the decoder a call, and those of all pages are read. 8192 x 8192 pixels
# in tiles of 32 x 32 are as many as one page may have.
_MAX_BLOCKS: Final = 2**16
_MAX_BLOCKS_OF_ALL: Final = 2**18

_PLACES: Final = (kind.TILES, kind.STRIPS, kind.TILE_BYTES, kind.STRIP_BYTES)

# A tile may be larger than the picture, and two may share their bytes, but not by any amount.
_SPARE_PIXELS: Final = 2**25
_SPARE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where the strips or tiles of a page lie.

    Parameters
    ----------
    tiled : bool
    across, down : int
        Width and height of each in pixels; the last strip of a plane may be lower.
    offsets, lengths : tuple of int
        In bytes; plane after plane, each from the top.
    planes : int
        1, or the number of samples where each has its own.
    """

    tiled: bool
    across: int
    down: int
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]
    planes: int

    def plane(self, index: int) -> Blocks:
        """Return the blocks of one plane."""
        number = len(self.offsets) // self.planes
        part = slice(index * number, (index + 1) * number)
        return Blocks(self.tiled, self.across, self.down, self.offsets[part], self.lengths[part], 1)


def check_places(pages: Iterable[Page]) -> None:
    """Check that every strip and tile of every page lies inside the file.

    Raises
    ------
    TruncatedImageError
        If one does not.
    NotAnImageError
        If there are more than 65,536 on a page, or 262,144 in all.
    """
    total = 0
    for page in pages:
        counts = [e.count for tag in _PLACES for e in page.fields.get(tag, ())]
        total += max(counts, default=0)
        if total > _MAX_BLOCKS_OF_ALL or max(counts, default=0) > _MAX_BLOCKS:
            raise page.source.unsupported(
                f"it is a TIFF of more than {_MAX_BLOCKS:,} strips or tiles on a page, or of more "
                f"than {_MAX_BLOCKS_OF_ALL:,} in all"
            )
        offsets, lengths = _places(page)
        if lengths and len(offsets) != len(lengths):
            raise page.source.damaged(
                f"the TIFF has {len(offsets)} strip or tile offsets, but {len(lengths)} lengths"
            )
        ends = map(sum, zip(offsets, lengths, strict=True)) if lengths else offsets
        page.source.require(0, max(ends, default=0))


def _places(page: Page) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read offsets and lengths; writers of tiles sometimes use the fields of strips."""
    tiles, strips, tile_bytes, strip_bytes = (page.all(tag, most=_MAX_BLOCKS) for tag in _PLACES)
    return tiles or strips, tile_bytes or strip_bytes


def _is_tiled(page: Page) -> bool:
    fields = page.fields
    return kind.TILES in fields or (kind.TILE_WIDTH in fields and kind.ROWS_PER_STRIP not in fields)


def read_blocks(page: Page, bits: tuple[int, ...]) -> Blocks:
    """Find the strips or tiles of a page, and check that they hold all of its pixels.

    Lengths that are missing or 0 are found as common readers do: uncompressed ones by what the
    pixels need, compressed ones up to where the next begins, or up to the end of the file.

    Parameters
    ----------
    page : Page
        Checked by `check_places` and `check_kind`.
    bits : tuple of int
        Of every sample.

    Raises
    ------
    TruncatedImageError
        If there are too few, if they are too short, or out of proportion to the picture.
    """
    width, height = page.one(kind.WIDTH), page.one(kind.HEIGHT)
    page.source.check_size(width, height)
    tiled = _is_tiled(page)
    across = page.one(kind.TILE_WIDTH) if tiled else width
    rows = page.one(kind.TILE_HEIGHT) if tiled else page.one(kind.ROWS_PER_STRIP, height)
    down = rows if tiled else min(rows or height, height)
    if not (across and down):
        raise page.source.damaged("the TIFF declares tiles of impossible size")
    planes = len(bits) if page.is_planar else 1
    number = -(-width // across) * -(-height // down)
    if across * down * number > 2 * width * height + _SPARE_PIXELS:
        raise page.source.damaged("the TIFF declares tiles of impossible size")
    row_bytes = -(-across * sum(bits) // planes // 8)
    last = down if tiled else height - (number - 1) * down
    needed = [row_bytes * down] * (number - 1) + [row_bytes * last]
    offsets, lengths = _complete(page, needed * planes)
    return Blocks(tiled, across, down, offsets, lengths, planes)


def _complete(page: Page, needed: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return offset and length of each block, with `needed` bytes once decoded."""
    offsets, lengths = _places(page)
    raw = page.one(kind.COMPRESSION, kind.RAW) == kind.RAW
    if len(offsets) >= len(needed):
        offsets = offsets[: len(needed)]
        lengths = _lengths(page, offsets, lengths[: len(needed)], needed if raw else [])
    least = sum(needed) if raw else 0
    if len(offsets) < len(needed) or sum(lengths) < least:
        raise page.source.damaged(
            f"the TIFF holds {len(offsets)} strips or tiles of {sum(lengths)} bytes; its size "
            f"needs {len(needed)} of at least {least} bytes"
        )
    if sum(lengths) > len(page.source.data) + 2 * sum(needed) + _SPARE_BYTES:
        raise page.source.damaged("too many of the TIFF's strips or tiles overlap")
    if raw:  # its lengths are not what the decoder goes by
        page.source.require(0, max(map(sum, zip(offsets, needed, strict=True))))
    return offsets, lengths


def _lengths(
    page: Page, offsets: tuple[int, ...], lengths: tuple[int, ...], needed: list[int]
) -> tuple[int, ...]:
    """Fill in lengths that are missing or 0; `needed` is empty where pixels are compressed."""
    if lengths and all(lengths):
        return lengths
    if not all(offsets):  # a sparse file: what is not there was never written
        raise page.source.damaged("the TIFF lacks some of its strips or tiles")
    places = sorted({*offsets, len(page.source.data)})
    filled = []
    for index, offset in enumerate(offsets):
        following = places[min(bisect_right(places, offset), len(places) - 1)]
        length = needed[index] if needed else following - offset
        filled.append((lengths[index] if lengths else 0) or length)
    return tuple(filled)
