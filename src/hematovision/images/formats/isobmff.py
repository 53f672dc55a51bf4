"""HEIC, AVIF and JPEG 2000: files of boxes (ISO/IEC 14496-12, 23008-12 and 15444-1)."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import features

from hematovision.images.formats.source import (
    EncodedImage,
    Source,
    read_orientation,
    shown_bytes,
)

__all__ = ["JPEG2000_CODESTREAM", "JPEG2000_CONTAINER", "inspect_heif", "inspect_jpeg2000"]

_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_IMAGES = frozenset({b"hvc1", b"grid", b"iden", b"iovl"})
# Each box takes time; an image has about ten, and one for each of its tiles.
_MAX_BOXES = 2**14


@dataclass(frozen=True, slots=True)
class _Box:
    """A box: its type, and the start and end of its content."""

    kind: bytes
    start: int
    stop: int


def inspect_heif(source: Source) -> EncodedImage:
    """Check that all boxes of a HEIC or AVIF are present, and describe the primary image.

    The size is the largest declared by a property; smaller ones are those of tiles.
    """
    top = {box.kind: box for box in reversed(list(_boxes(source, 0, len(source.data))))}
    brands = _brands(source, top[b"ftyp"])
    if not brands & (_AVIF | _HEIF):
        raise source.unsupported(
            f"it is a video or another ISO media file ({_shown(brands)})", "Export images from it."
        )
    name = "AVIF" if brands & _AVIF else "HEIC"
    if b"meta" not in top:
        raise source.damaged(f"the {name} image has no metadata")
    sizes = list(_sizes(source, top[b"meta"]))
    if not sizes:
        raise source.damaged(f"the {name} image does not declare its size")
    for width, height in sizes:
        source.check_size(width, height)
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    kind = "AVIF" if brands & _AVIF else "HEIF"
    _check_reader(source, kind)
    if kind == "AVIF":
        return EncodedImage(kind, width, height, source.data, orientation=_orientation(source))
    # libheif applies the orientation itself.
    return EncodedImage(kind, width, height, _without_metadata(source, top[b"meta"]))


def _boxes(source: Source, start: int, stop: int) -> Iterator[_Box]:
    """Yield the boxes between `start` and `stop`, which they must fill."""
    for _ in range(_MAX_BOXES):
        if start >= stop:
            return
        size, kind = source.unpack(">I", start)[0], source.take(start + 4, 4)
        content = start + 8
        if size == 1:
            (size,) = source.unpack(">Q", content)
            content += 8
        end = start + size if size else stop
        if end < content:
            raise source.damaged(
                f"the box {shown_bytes(kind)} at byte {start:,} is shorter than its header"
            )
        if end > stop:
            raise source.damaged(
                f"the file ends early: its box {shown_bytes(kind)} extends to byte {end:,} of only "
                f"{stop:,}"
            )
        yield _Box(kind, content, end)
        start = end
    raise source.overloaded("file", _MAX_BOXES, "boxes")


def _brands(source: Source, box: _Box) -> set[bytes]:
    content = source.data[box.start : min(box.stop, box.start + 256)]
    return {content[:4], *(content[i : i + 4] for i in range(8, len(content) - 3, 4))}


def _shown(brands: set[bytes]) -> str:
    return ", ".join(sorted(brand.decode("ascii", "replace") for brand in brands)[:4])


def _sizes(source: Source, meta: _Box) -> Iterator[tuple[int, int]]:
    """Yield the sizes among the properties of a file's images (ISO/IEC 23008-12, 6.5.3)."""
    for properties in _inside(source, meta.start + 4, meta.stop, b"iprp"):
        for container in _inside(source, properties.start, properties.stop, b"ipco"):
            for extent in _inside(source, container.start, container.stop, b"ispe"):
                width, height = source.unpack(">II", extent.start + 4)
                yield width, height


def _without_metadata(source: Source, meta: _Box) -> bytes:
    """Rename the items of a HEIC that are not images, so that the decoder ignores them.

    pi-heif crashes the process if the name of an item's type is not text.
    """
    data = bytearray(source.data)
    for items in _inside(source, meta.start + 4, meta.stop, b"iinf"):
        first = items.start + (6 if source.unpack("B", items.start) == (0,) else 8)
        for item in _inside(source, first, items.stop, b"infe"):
            (version,) = source.unpack("B", item.start)
            place = item.start + (8 if version == 2 else 10)
            if version not in (2, 3) or place + 4 > item.stop:
                raise source.damaged("the HEIC has an item of an unknown type")
            if bytes(data[place : place + 4]) not in _IMAGES:
                data[place : place + 4] = b"skip"
    return bytes(data)


def _inside(source: Source, start: int, stop: int, kind: bytes) -> Iterator[_Box]:
    return (box for box in _boxes(source, start, stop) if box.kind == kind)


def _check_reader(source: Source, kind: str) -> None:
    """Raise a `NotAnImageError` if the decoder of the format is not installed."""
    if kind == "HEIF":
        source.require_module("pi_heif", "a HEIC image")
    if kind == "AVIF" and not features.check("avif"):
        raise source.unsupported(
            "it is an AVIF image, which this installation of Pillow cannot read"
        )


def _orientation(source: Source) -> int:
    """Return the orientation of an AVIF, whose properties Pillow translates to EXIF."""
    plugin = importlib.import_module("PIL.AvifImagePlugin")
    try:
        exif = plugin.AvifImageFile(io.BytesIO(source.data)).info.get("exif", b"")
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:
        raise source.damaged(f"the AVIF cannot be opened ({error})") from error
    return read_orientation(exif)


JPEG2000_CODESTREAM, JPEG2000_CONTAINER = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"

_SIZE, _TILE_PART = 0xFF51, 0xFF90
_SIGNED = 0x80
# Each segment and tile-part takes time. A tile has a few parts, and the largest image has 1,024
# tiles of 256 x 256.
_MAX_SEGMENTS = 2**15


def inspect_jpeg2000(source: Source) -> EncodedImage:
    """Check that a codestream's parts are contiguous to the end, and describe the image.

    The decoder would leave missing parts grey or blurred without an error.
    """
    start, stop = 0, len(source.data)
    if source.data.startswith(JPEG2000_CONTAINER):
        found = [box for box in _boxes(source, 0, stop) if box.kind == b"jp2c"]
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
    # Greys of more than 8 bits are decoded to the high bits of 16, colours to 8.
    deep = bits > 8 and source.unpack(">H", start + 40) == (1,)
    white = ((1 << bits) - 1) << (16 - bits) if deep else 0
    return EncodedImage("JPEG2000", width, height, source.data, bits=16 if deep else 8, white=white)


def _check_components(source: Source, start: int) -> int:
    """Reject signed samples and more than 16 bits; return the bits of a sample."""
    (count,) = source.unpack(">H", start + 40)
    if not 1 <= count <= 4:
        raise source.unsupported(f"it is a JPEG 2000 of {count} components; expected 1 to 4")
    parts = [source.unpack("BBB", start + 42 + 3 * i) for i in range(count)]
    bits = {(depth & ~_SIGNED) + 1 for depth, _, _ in parts}
    if any(depth & _SIGNED for depth, _, _ in parts) or max(bits) > 16:
        raise source.unsupported(
            "it is a JPEG 2000 with signed samples or more than 16 bits, whose black and white "
            "levels are undefined",
            "Set the range in the program that made it, and save it with unsigned 8-bit or 16-bit "
            "samples.",
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
            if not size:  # the last part extends to the end
                size = source.data.rfind(b"\xff\xd9", position, stop) - position
            length = size - 2
        if marker < 0xFF01 or length < 2 or position + 2 + length > stop:
            raise source.damaged(f"the JPEG 2000 ends early or is damaged at byte {position:,}")
        position += 2 + length
    raise source.overloaded("JPEG 2000", _MAX_SEGMENTS, "parts")
