"""The strips or tiles of a TIFF's page: their offsets, and whether they contain all pixels."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hematovision.images.formats import jpeg
from hematovision.images.formats.source import MAX_SIDE, SLIDE_ADVICE, EncodedImage, Source
from hematovision.images.formats.tiff import tags
from hematovision.images.formats.tiff.tags import Page

__all__ = ["Blocks", "check_places", "read_blocks", "read_jpegs"]

# Each strip or tile needs a decoder call, and those of all pages are read. The largest image in
# tiles of 32 x 32 pixels has 65,536.
_MAX_BLOCKS: Final = 2**16
_MAX_BLOCKS_OF_ALL: Final = 2**18

_PLACES: Final = (tags.TILES, tags.STRIPS, tags.TILE_BYTES, tags.STRIP_BYTES)

# Within these limits, a tile may be larger than the image, and two may share bytes.
_SPARE_PIXELS: Final = 2**25
_SPARE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Blocks:
    """The layout of a page's strips or tiles."""

    tiled: bool
    across: int  # width of each in pixels
    down: int  # height of each in pixels; the last strip of a plane may be lower
    offsets: tuple[int, ...]  # in bytes; plane after plane, each from the top
    lengths: tuple[int, ...]
    planes: int  # 1, or the number of samples if each is stored separately

    def plane(self, index: int) -> Blocks:
        """Return the blocks of one plane."""
        number = len(self.offsets) // self.planes
        part = slice(index * number, (index + 1) * number)
        return Blocks(self.tiled, self.across, self.down, self.offsets[part], self.lengths[part], 1)


def check_places(pages: Iterable[Page]) -> None:
    """Check that every strip and tile of every page is inside the file, and limit their number."""
    total = 0
    for page in pages:
        counts = [e.count for tag in _PLACES for e in page.fields.get(tag, ())]
        total += max(counts, default=0)
        if total > _MAX_BLOCKS_OF_ALL or max(counts, default=0) > _MAX_BLOCKS:
            raise page.source.unsupported(
                f"it is a TIFF of more than {_MAX_BLOCKS:,} strips or tiles on a page, or of more "
                f"than {_MAX_BLOCKS_OF_ALL:,} in all",
                f"Save it as an 8-bit PNG{SLIDE_ADVICE}.",
            )
        offsets, lengths = _places(page)
        if lengths and len(offsets) != len(lengths):
            raise page.source.damaged(
                f"the TIFF has {len(offsets)} strip or tile offsets, but {len(lengths)} lengths"
            )
        ends = map(sum, zip(offsets, lengths, strict=True)) if lengths else offsets
        page.source.require(0, max(ends, default=0))


def _places(page: Page) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return offsets and lengths; writers of tiles sometimes use the fields of strips."""
    tiles, strips, tile_bytes, strip_bytes = (page.all(tag, most=_MAX_BLOCKS) for tag in _PLACES)
    return tiles or strips, tile_bytes or strip_bytes


def read_blocks(page: Page, bits: tuple[int, ...]) -> Blocks:
    """Find the strips or tiles of a page, and check that they contain all of its pixels.

    Like common readers, derive missing or zero lengths: uncompressed ones from the number of
    pixels, compressed ones from the next offset or the end of the file. The page must have passed
    `check_places` and `check_kind`, which returned `bits`.
    """
    width, height = page.one(tags.WIDTH), page.one(tags.HEIGHT)
    page.source.check_size(width, height)
    tiled = page.is_tiled
    across = page.one(tags.TILE_WIDTH) if tiled else width
    rows = page.one(tags.TILE_HEIGHT) if tiled else page.one(tags.ROWS_PER_STRIP, height)
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
    """Return the offset and length of each block; `needed` are their decoded sizes in bytes."""
    offsets, lengths = _places(page)
    raw = page.one(tags.COMPRESSION, tags.RAW) == tags.RAW
    if len(offsets) >= len(needed):
        offsets = offsets[: len(needed)]
        lengths = _lengths(page, offsets, lengths[: len(needed)], needed if raw else [])
    least = sum(needed) if raw else 0
    if len(offsets) < len(needed) or sum(lengths) < least:
        raise page.source.damaged(
            f"the TIFF has {len(offsets)} strips or tiles of {sum(lengths)} bytes; its size "
            f"needs {len(needed)} of at least {least} bytes"
        )
    if sum(lengths) > len(page.source.data) + 2 * sum(needed) + _SPARE_BYTES:
        raise page.source.damaged("too many of the TIFF's strips or tiles overlap")
    if raw:  # the decoder ignores the lengths
        page.source.require(0, max(map(sum, zip(offsets, needed, strict=True))))
    return offsets, lengths


def _lengths(
    page: Page, offsets: tuple[int, ...], lengths: tuple[int, ...], needed: list[int]
) -> tuple[int, ...]:
    """Fill in lengths that are missing or 0; `needed` is empty for compressed pixels."""
    if lengths and all(lengths):
        return lengths
    if not all(offsets):  # a sparse file: some blocks were never written
        raise page.source.damaged("the TIFF lacks some of its strips or tiles")
    places = sorted({*offsets, len(page.source.data)})
    filled = []
    for index, offset in enumerate(offsets):
        following = places[min(bisect_right(places, offset), len(places) - 1)]
        length = needed[index] if needed else following - offset
        filled.append((lengths[index] if lengths else 0) or length)
    return tuple(filled)


_TABLES: Final = 347
_START, _END = b"\xff\xd8", b"\xff\xd9"
# The decoder is started for each. Common tiles have 65,536 pixels, the smallest strips 8 rows.
_FEW, _LEAST_PIXELS = 1024, 4096


def read_jpegs(page: Page, blocks: Blocks) -> tuple[EncodedImage, ...]:
    """Describe each strip or tile of a page as a separate JPEG; none for other compressions.

    libtiff fills their missing parts with grey without an error, so each is also decoded alone.
    """
    if page.one(tags.COMPRESSION, tags.RAW) != tags.JPEG:
        return ()
    width, height = page.one(tags.WIDTH), page.one(tags.HEIGHT)
    most = _FEW + width * height // _LEAST_PIXELS
    if len(blocks.offsets) > most:
        raise page.source.overloaded("TIFF", most, "JPEGs as strips or tiles")
    entry = page.entry(_TABLES)
    tables = page.source.take(entry.place, entry.count) if entry else b""
    places = zip(blocks.offsets, blocks.lengths, strict=True)
    jpegs = tuple(_read(page.source, tables, *place) for place in places)
    rows = -(-height // blocks.down)
    for index, encoded in enumerate(jpegs if blocks.planes == 1 else ()):
        is_last = not blocks.tiled and index == rows - 1
        least = height - index * blocks.down if is_last else blocks.down
        if encoded.width < blocks.across or encoded.height < least:
            raise page.source.damaged(
                f"the TIFF has a JPEG of {encoded.width} x {encoded.height} pixels where "
                f"{blocks.across} x {least} are needed"
            )
    return jpegs


def _read(source: Source, tables: bytes, offset: int, length: int) -> EncodedImage:
    """Describe one JPEG, with the shared tables prepended."""
    content = source.take(offset, length)
    if not content.startswith(_START):
        raise source.damaged("the TIFF has a strip or tile that is not a JPEG")
    if tables.startswith(_START):
        content = tables[: tables.rfind(_END)] + content[len(_START) :]
    return jpeg.inspect(Source(content, source.name, source.max_pixels, max_aspect=MAX_SIDE))
