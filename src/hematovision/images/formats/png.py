"""PNG: chunks with their checksums from signature to IEND (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

from hematovision.images.formats.exif import read_orientation
from hematovision.images.formats.picture import Picture, Source
from hematovision.images.formats.wording import shown_bytes

__all__ = ["inspect"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE = 0, 2, 3
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 2**14  # inflates to 16 MB at most
# Each chunk costs a loop's round whatever it holds, and a file has room for 22 million empty ones.
# Encoders put 8 kB of pixels or more into each, so that `MAX_BYTES` come in 32,768.
_MAX_CHUNKS = 2**16
# First column and row, steps to the next, of each pass over the picture (PNG, section 8).
_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# An image with any other critical chunk cannot be shown faithfully (PNG, section 5.4).
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


def inspect(source: Source) -> Picture:
    """Check every chunk of a PNG and describe it; bytes after IEND are ignored.

    Only the chunks that pixels need are handed on, so a text or profile chunk that would inflate
    to gigabytes is checked but never inflated.
    """
    chunks = dict[bytes, bytes]()
    pieces, pixels = [_SIGNATURE], list[bytes]()
    for kind, content in _chunks(source):
        if kind == b"IHDR" or not chunks:
            _check_first(source, kind, content, again=bool(chunks))
            source.check_size(*struct.unpack(">II", content[:8]))
        if kind in _CRITICAL or (kind == b"tRNS" and chunks[b"IHDR"][9] == _PALETTE):
            pieces.append(_pack(kind, content))
        elif kind[0:1].isupper():
            raise source.unsupported(f"it is a PNG with the unknown chunk {shown_bytes(kind)}")
        if kind == b"IDAT":
            pixels.append(content)
        chunks[kind] = content
    if b"IDAT" not in chunks:
        raise source.damaged("the PNG contains no image")
    width, height, bits, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    _check_rows(source, chunks[b"IHDR"], pixels)
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
    offset = len(_SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        (length,) = source.unpack(">I", offset)
        kind, content = source.take(offset + 4, 4), source.take(offset + 8, length)
        (checksum,) = source.unpack(">I", offset + 8 + length)
        if zlib.crc32(content, zlib.crc32(kind)) != checksum:
            raise source.damaged(f"the PNG's chunk {shown_bytes(kind)} fails its checksum")
        yield kind, content
        if kind == b"IEND":
            return
        offset += 12 + length
    raise source.overloaded("PNG", _MAX_CHUNKS, "chunks")


def _check_first(source: Source, kind: bytes, content: bytes, *, again: bool) -> None:
    if again or kind != b"IHDR" or len(content) != 13:
        raise source.damaged("the PNG's header is missing, cut or given twice")
    bits, colour = content[8], content[9]
    if bits not in _DEPTHS.get(colour, ()):
        raise source.damaged(f"the PNG declares {bits} bits of colour type {colour}")


def _check_rows(source: Source, header: bytes, pixels: list[bytes]) -> None:
    """Refuse a stream of pixels that ends properly, but before the last row.

    The decoder would leave the missing rows black without a word. This inflates the stream once
    more, in small pieces and not beyond what the picture needs.
    """
    needed, found = _raw_bytes(header), 0
    inflater = zlib.decompressobj()
    pieces = (part[i : i + _PIECE] for part in pixels for i in range(0, len(part), _PIECE))
    try:
        while found < needed and not inflater.eof and (piece := next(pieces, b"")):
            found += len(inflater.decompress(piece))
    except zlib.error as error:
        raise source.damaged(f"the PNG's pixels cannot be inflated ({error})") from error
    if found < needed:
        raise source.damaged(f"the PNG holds {found:,} bytes of pixels; its size needs {needed:,}")


def _raw_bytes(header: bytes) -> int:
    """Return how many bytes the rows have once inflated, each with its filter's byte."""
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else _ONE_PASS:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * _SAMPLES[colour] // 8))
    return total


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
    return replace(source, data=content).unpack(f">{samples}H", 0)
