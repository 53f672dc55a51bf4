"""JPEG 2000: boxes and codestream up to its end (ISO/IEC 15444-1, annexes A and I)."""

from __future__ import annotations

from PIL import features

from hematovision.images.formats.isobmff import boxes
from hematovision.images.formats.picture import Picture, Source

__all__ = ["CODESTREAM", "CONTAINER", "inspect"]

CODESTREAM, CONTAINER = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"

_SIZE, _TILE_PART = 0xFF51, 0xFF90
_SIGNED = 0x80
# Each segment and tile-part costs a loop's round. A tile has one part or a few, and the largest
# image of tiles of 256 x 256 has 1,024 tiles.
_MAX_SEGMENTS = 2**15


def inspect(source: Source) -> Picture:
    """Check that a codestream's parts follow each other up to its end, and describe the picture.

    The decoder would leave what is missing grey or blurred without a word.
    """
    start, stop = 0, len(source.data)
    if source.data.startswith(CONTAINER):
        found = [box for box in boxes(source, 0, stop) if box.kind == b"jp2c"]
        if not found:
            raise source.damaged("the JPEG 2000 contains no codestream")
        start, stop = found[0].start, found[0].stop
    marker, _, _, right, bottom, left, top = source.unpack(">HHHIIII", start + 2)
    if marker != _SIZE:
        raise source.damaged("the JPEG 2000 does not begin with its size")
    width, height = right - left, bottom - top
    source.check_size(width, height)
    bits = _check_components(source, start)
    _check_parts(source, start + 2, stop)
    if not features.check("jpg_2000"):
        raise source.unsupported(
            "it is a JPEG 2000 image, which this installation of Pillow cannot read"
        )
    # Greys of more than 8 bits come in the high bits of 16, colours in 8.
    deep = bits > 8 and source.unpack(">H", start + 40) == (1,)
    white = ((1 << bits) - 1) << (16 - bits) if deep else 0
    return Picture("JPEG2000", width, height, source.data, bits=16 if deep else 8, white=white)


def _check_components(source: Source, start: int) -> int:
    """Refuse signed samples, and more than 16 bits of any; return the bits of a sample."""
    (count,) = source.unpack(">H", start + 40)
    if not 1 <= count <= 4:
        raise source.unsupported(f"it is a JPEG 2000 of {count} components, not 1 to 4")
    parts = [source.unpack("BBB", start + 42 + 3 * i) for i in range(count)]
    bits = {(depth & ~_SIGNED) + 1 for depth, _, _ in parts}
    if any(depth & _SIGNED for depth, _, _ in parts) or max(bits) > 16:
        raise source.unsupported(
            "it is a JPEG 2000 of signed samples, or of more than 16 bits, which do not say what "
            "is black and what is white",
            "Choose the range in the program that made it and save 8 or 16 bits, unsigned.",
        )
    if len(bits) > 1:
        raise source.unsupported(f"it is a JPEG 2000 of mixed depths ({sorted(bits)} bits)")
    return bits.pop()


def _check_parts(source: Source, position: int, stop: int) -> None:
    for _ in range(_MAX_SEGMENTS):
        marker, length = source.unpack(">HH", position) if position + 4 <= stop else (0, 0)
        if source.data[position : position + 2] == b"\xff\xd9" and position + 2 <= stop:
            return
        if marker == _TILE_PART:
            (size,) = source.unpack(">I", position + 6)
            if not size:  # The last part, which reaches to the end.
                size = source.data.rfind(b"\xff\xd9", position, stop) - position
            length = size - 2
        if marker < 0xFF01 or length < 2 or position + 2 + length > stop:
            raise source.damaged(
                f"the JPEG 2000 ends early, or its part at byte {position:,} is damaged"
            )
        position += 2 + length
    raise source.overloaded("JPEG 2000", _MAX_SEGMENTS, "parts")
