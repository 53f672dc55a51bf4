"""BMP, GIF, PNG and WebP: each file is checked to the end and described.

Specifications: Microsoft's Bitmap Storage, GIF89a (CompuServe 1990), W3C PNG (third edition) and
RFC 9649.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

from hematovision.images.formats.source import (
    EncodedImage,
    Source,
    read_orientation,
    shown_bytes,
)

__all__ = ["inspect_bmp", "inspect_gif", "inspect_png", "inspect_webp"]

_CORE_HEADER = 12
_HEADERS = frozenset({40, 52, 56, 64, 108, 124})
_RAW, _BITFIELDS = 0, 3


def inspect_bmp(source: Source) -> EncodedImage:
    """Check that a BMP contains every row that its header declares, and describe it.

    Run-length coded BMPs are rejected: they are rare, and truncation cannot be detected.
    """
    file_size, _, start, header = source.unpack("<IIII", 2)
    width, height, bits, compression = _bmp_header(source, header)
    if compression not in (_RAW, _BITFIELDS) or bits not in (1, 4, 8, 16, 24, 32):
        raise source.unsupported(
            f"it is a BMP of {bits} bits per pixel with compression {compression}; expected 1, 4, "
            "8, 16, 24 or 32 bits, uncompressed"
        )
    if width <= 0 or height == 0 or start < 14 + header:
        raise source.damaged("the BMP's header is inconsistent")
    row = (width * bits + 31) // 32 * 4
    source.require(start, row * abs(height))
    source.require(0, file_size)
    return EncodedImage("BMP", width, abs(height), source.data)


def _bmp_header(source: Source, header: int) -> tuple[int, int, int, int]:
    if header == _CORE_HEADER:
        width, height, _, bits = source.unpack("<HHHH", 18)
        return width, height, bits, _RAW
    if header not in _HEADERS:
        raise source.unsupported(f"it begins like a BMP, but has a header of {header} bytes")
    width, height, _, bits, compression = source.unpack("<iiHHI", 18)
    return width, height, bits, compression


_EXTENSION, _IMAGE, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
# Limit on the sub-blocks of all frames, since even empty ones take time. Encoders write 255 bytes
# per sub-block, so `MAX_BYTES` need about this many. A block takes as long as 16 sub-blocks.
_MAX_BLOCKS, _BLOCK_COST = 2**20, 16


def inspect_gif(source: Source) -> EncodedImage:
    """Check every block of a GIF up to its trailer and describe its first frame.

    Only that frame is passed to the decoder, on a screen that fits it.
    """
    *screen, flags = source.unpack("<HHB", 6)
    start = 13 + _table_bytes(flags)
    header, control, frame = source.take(0, start), b"", b""
    offset, blocks = start, 0
    while (kind := source.unpack("B", offset)[0]) != _TRAILER:
        stop, blocks = _block_end(source, kind, offset, blocks + _BLOCK_COST)
        if kind == _EXTENSION and source.data[offset + 1] == _CONTROL and not frame:
            control = source.data[offset:stop]
        elif kind == _IMAGE and not frame:
            frame = source.data[offset:stop]
        offset = stop
    if not frame:
        raise source.damaged("the GIF contains no image")
    left, top, width, height = struct.unpack_from("<HHHH", frame, 1)
    width, height = max(screen[0], left + width), max(screen[1], top + height)
    if max(width, height) > 0xFFFF:
        raise source.damaged("the GIF's first frame is outside its screen")
    parts = header[:6], struct.pack("<HH", width, height), header[10:], control, frame, b";"
    return EncodedImage("GIF", width, height, b"".join(parts))


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _block_end(source: Source, kind: int, offset: int, blocks: int) -> tuple[int, int]:
    """Return the end of the block at `offset` with its sub-blocks, and the block count so far."""
    if kind == _EXTENSION:
        source.require(offset, 2)
        position = offset + 2
    elif kind == _IMAGE:
        (flags,) = source.unpack("B", offset + 9)
        position = offset + 11 + _table_bytes(flags)
    else:
        raise source.damaged(f"the GIF has an unknown block {kind:#04x} at byte {offset}")
    data, end = source.data, len(source.data)
    for number in range(blocks, _MAX_BLOCKS):
        if position >= end:
            source.require(position, 1)
        if not data[position]:
            return position + 1, number
        position += 1 + data[position]
    raise source.overloaded("GIF", _MAX_BLOCKS, "blocks")


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE = 0, 2, 3
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 2**14  # inflates to 16 MB at most
# Each chunk of a PNG or WebP takes time, and a file can contain millions of empty ones. PNG
# encoders write at least 8 kB per chunk, so `MAX_BYTES` need 32,768; a WebP has one per frame.
_MAX_CHUNKS = 2**16
# First column and row and the steps between them, for each pass over the image (PNG, section 8).
_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# An image with any other critical chunk cannot be decoded correctly (PNG, section 5.4).
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


def inspect_png(source: Source) -> EncodedImage:
    """Check every chunk of a PNG and describe it; bytes after IEND are ignored.

    Only the chunks that pixels need are passed to the decoder: a text or profile chunk that would
    inflate to gigabytes is checked but never inflated.
    """
    chunks = dict[bytes, bytes]()
    pieces, pixels = [_SIGNATURE], list[bytes]()
    for kind, content in _png_chunks(source):
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
    return EncodedImage(
        format="PNG",
        width=width,
        height=height,
        data=b"".join(pieces),
        orientation=read_orientation(chunks.get(b"eXIf", b"")),
        bits=bits,
        transparent=_transparent(source, colour, chunks.get(b"tRNS", b"")),
    )


def _png_chunks(source: Source) -> Iterator[tuple[bytes, bytes]]:
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
        raise source.damaged("the PNG's header is missing, cut or repeated")
    bits, colour = content[8], content[9]
    if bits not in _DEPTHS.get(colour, ()):
        raise source.damaged(f"the PNG declares {bits} bits of colour type {colour}")


def _check_rows(source: Source, header: bytes, pixels: list[bytes]) -> None:
    """Check that the compressed pixels cover every row; the decoder would leave missing rows black.

    The stream is inflated in small pieces, and only as far as the image needs.
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
        raise source.damaged(f"the PNG has {found:,} bytes of pixels; its size needs {needed:,}")


def _raw_bytes(header: bytes) -> int:
    """Return the inflated size of all rows in bytes, with one filter byte per row."""
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


def inspect_webp(source: Source) -> EncodedImage:
    """Check a WebP's chunks against its declared length and describe it.

    The size is checked here because the decoder allocates two canvases on opening.
    """
    (length,) = source.unpack("<I", 4)
    source.require(8, length)
    whole = replace(source, data=source.data[: 8 + length])
    chunks = dict[bytes, tuple[int, int]]()
    whole.check_size(*_webp_size(whole))
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
    width, height = _webp_size(whole)
    exif = whole.take(*chunks.get(b"EXIF", (0, 0)))
    return EncodedImage("WEBP", width, height, whole.data, orientation=read_orientation(exif))


def _webp_size(source: Source) -> tuple[int, int]:
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
