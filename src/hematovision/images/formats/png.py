"""PNG: chunks with their checksums from signature to IEND (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from hematovision.images.formats.exif import read_orientation
from hematovision.images.formats.picture import Picture, Source

__all__ = ["inspect"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE = 0, 2, 3
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# An image with any other critical chunk cannot be shown faithfully (PNG, section 5.4).
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


def inspect(source: Source) -> Picture:
    """Check every chunk of a PNG and describe it; bytes after IEND are ignored.

    Only the chunks that pixels need are handed on, so a text or profile chunk that would inflate
    to gigabytes is checked but never inflated.
    """
    chunks = dict[bytes, bytes]()
    pieces = [_SIGNATURE]
    for kind, content in _chunks(source):
        if kind == b"IHDR" or not chunks:
            _check_first(source, kind, content, again=bool(chunks))
        if kind in _CRITICAL or (kind == b"tRNS" and chunks[b"IHDR"][9] == _PALETTE):
            pieces.append(_pack(kind, content))
        elif kind[0:1].isupper():
            raise source.unsupported(f"it is a PNG with the unknown chunk {kind!r}")
        chunks[kind] = content
    if b"IDAT" not in chunks:
        raise source.damaged("the PNG has no picture in it")
    width, height, bits, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    return Picture(
        format="PNG",
        width=width,
        height=height,
        data=b"".join(pieces),
        orientation=read_orientation(chunks.get(b"eXIf", b"")),
        bits=bits,
        transparent=_transparent(source, colour, chunks.get(b"tRNS", b"")),
    )


def _chunks(source: Source) -> Iterator[tuple[bytes, bytes]]:
    offset, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        (length,) = source.unpack(">I", offset)
        kind, content = source.take(offset + 4, 4), source.take(offset + 8, length)
        (checksum,) = source.unpack(">I", offset + 8 + length)
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise source.damaged(f"the PNG's chunk {kind!r} fails its checksum")
        yield kind, content
        offset += 12 + length


def _check_first(source: Source, kind: bytes, content: bytes, *, again: bool) -> None:
    if again or kind != b"IHDR" or len(content) != 13:
        raise source.damaged("the PNG's header is missing, cut or given twice")
    bits, colour = content[8], content[9]
    if bits not in _DEPTHS.get(colour, ()):
        raise source.damaged(f"the PNG declares {bits} bits of colour type {colour}")


def _pack(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
    )


def _transparent(source: Source, colour: int, content: bytes) -> tuple[int, ...]:
    samples = {_GREY: 1, _RGB: 3}.get(colour, 0)
    if not content or not samples:
        return ()
    return Source(content, source.name).unpack(f">{samples}H", 0)
