"""GIF: blocks from header to trailer (GIF89a specification, CompuServe 1990)."""

from __future__ import annotations

import struct

from hematovision.images.formats.picture import Picture, Source

__all__ = ["inspect"]

_EXTENSION, _IMAGE, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
# The sub-blocks of all frames: each costs a loop's round, even an empty one. Encoders fill them
# with 255 bytes, so that `MAX_BYTES` come in about as many. A block costs as much as 16 of them.
_MAX_BLOCKS, _BLOCK_COST = 2**20, 16


def inspect(source: Source) -> Picture:
    """Check every block of a GIF up to its trailer and describe its first frame.

    Only that frame is handed on, in a screen that is large enough for it.
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
        raise source.damaged("the GIF's first frame lies outside of any screen")
    parts = header[:6], struct.pack("<HH", width, height), header[10:], control, frame, b";"
    return Picture("GIF", width, height, b"".join(parts))


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _block_end(source: Source, kind: int, offset: int, blocks: int) -> tuple[int, int]:
    """Return where the block at `offset` ends, behind its last sub-block, and the blocks so far."""
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
