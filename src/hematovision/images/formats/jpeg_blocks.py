"""Checking that each JPEG strip or tile of a TIFF is complete."""

from __future__ import annotations

from typing import Final

from hematovision.images.formats import jpeg
from hematovision.images.formats import page as kind
from hematovision.images.formats.blocks import Blocks
from hematovision.images.formats.page import Page
from hematovision.images.formats.picture import MAX_SIDE, Picture, Source

__all__ = ["read_jpegs"]

_TABLES: Final = 347
_START, _END = b"\xff\xd8", b"\xff\xd9"
# Each costs the decoder a start. Common tiles have 65,536 pixels, and the smallest strips 8 rows.
_FEW, _LEAST_PIXELS = 1024, 4096


def read_jpegs(page: Page, blocks: Blocks) -> tuple[Picture, ...]:
    """Describe each strip or tile of a page as a JPEG of its own; none if it is compressed else.

    libtiff paints what is missing of them grey and says nothing, so that each is decoded by itself
    as well.

    Raises
    ------
    TruncatedImageError
        If one is cut or smaller than its part of the page, or if there are too many.
    NotAnImageError
        If one is of a kind that cannot be read.
    """
    if page.one(kind.COMPRESSION, kind.RAW) != kind.JPEG:
        return ()
    width, height = page.one(kind.WIDTH), page.one(kind.HEIGHT)
    most = _FEW + width * height // _LEAST_PIXELS
    if len(blocks.offsets) > most:
        raise page.source.overloaded("TIFF", most, "JPEGs as strips or tiles")
    entry = page.entry(_TABLES)
    tables = page.source.take(entry.place, entry.count) if entry else b""
    places = zip(blocks.offsets, blocks.lengths, strict=True)
    pictures = tuple(_read(page.source, tables, *place) for place in places)
    rows = -(-height // blocks.down)
    for index, picture in enumerate(pictures if blocks.planes == 1 else ()):
        is_last = not blocks.tiled and index == rows - 1
        least = height - index * blocks.down if is_last else blocks.down
        if picture.width < blocks.across or picture.height < least:
            raise page.source.damaged(
                f"the TIFF has a JPEG of {picture.width} x {picture.height} pixels where "
                f"{blocks.across} x {least} are needed"
            )
    return pictures


def _read(source: Source, tables: bytes, offset: int, length: int) -> Picture:
    """Describe one JPEG, with the tables that it shares with the others put in front."""
    content = source.take(offset, length)
    if not content.startswith(_START):
        raise source.damaged("the TIFF has a strip or tile that is not a JPEG")
    if tables.startswith(_START):
        content = tables[: tables.rfind(_END)] + content[len(_START) :]
    return jpeg.inspect(Source(content, source.name, source.max_pixels, max_aspect=MAX_SIDE))
