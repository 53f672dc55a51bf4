"""WebP: RIFF chunks (RFC 9649, section 2)."""

from __future__ import annotations

from dataclasses import replace

from hematovision.images.formats.exif import read_orientation
from hematovision.images.formats.picture import Picture, Source

__all__ = ["inspect"]

# Each frame of an animation is a chunk, and there are five others; a file has room for 33 million.
_MAX_CHUNKS = 2**16


def inspect(source: Source) -> Picture:
    """Check a WebP's chunks against its declared length and describe it.

    The size is read here because the decoder allocates two canvases when it is opened, before
    anyone could ask it how large they are.
    """
    (length,) = source.unpack("<I", 4)
    source.require(8, length)
    whole = replace(source, data=source.data[: 8 + length])
    chunks = dict[bytes, tuple[int, int]]()
    whole.check_size(*_size(whole))
    offset, count = 12, 0
    while offset < len(whole.data):
        count += 1
        if count > _MAX_CHUNKS:
            raise source.overloaded("WebP", _MAX_CHUNKS, "chunks")
        kind = whole.take(offset, 4)
        (size,) = whole.unpack("<I", offset + 4)
        whole.require(offset + 8, size)
        chunks.setdefault(kind, (offset + 8, size))
        offset += 8 + size + size % 2
    width, height = _size(whole)
    exif = whole.take(*chunks.get(b"EXIF", (0, 0)))
    return Picture("WEBP", width, height, whole.data, orientation=read_orientation(exif))


def _size(source: Source) -> tuple[int, int]:
    kind = source.take(12, 4)
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = source.unpack("<HBHB", 24)
        return (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    if kind == b"VP8L" and source.take(20, 1) == b"\x2f":
        (packed,) = source.unpack("<I", 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and source.take(23, 3) == b"\x9d\x01\x2a":
        width, height = source.unpack("<HH", 26)
        return width & 0x3FFF, height & 0x3FFF
    raise source.damaged("the WebP's first chunk contains no image")
