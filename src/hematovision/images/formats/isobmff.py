"""HEIC and AVIF: boxes of the ISO base media file format (ISO/IEC 14496-12 and 23008-12)."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import features

from hematovision.images.formats.exif import read_orientation
from hematovision.images.formats.picture import Picture, Source
from hematovision.images.formats.wording import shown_bytes

__all__ = ["Box", "boxes", "inspect"]

_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_IMAGES = frozenset({b"hvc1", b"grid", b"iden", b"iovl"})
# Each box costs a loop's round; an image has some ten, and one more for each of its tiles.
_MAX_BOXES = 2**14


@dataclass(frozen=True, slots=True)
class Box:
    """A box: what it is called, and where its content begins and ends."""

    kind: bytes
    start: int
    stop: int


def inspect(source: Source) -> Picture:
    """Check that all boxes of a HEIC or AVIF are there and describe its primary image.

    The size is the largest that a property declares: that of the image, whatever its tiles are.
    """
    top = {box.kind: box for box in reversed(list(boxes(source, 0, len(source.data))))}
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
        return Picture(kind, width, height, source.data, orientation=_orientation(source))
    # Turned by libheif itself.
    return Picture(kind, width, height, _without_metadata(source, top[b"meta"]))


def boxes(source: Source, start: int, stop: int) -> Iterator[Box]:
    """Give the boxes between two places, which they have to fill.

    Raises
    ------
    TruncatedImageError
        If one reaches beyond, or there are too many.
    """
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
                f"the file ends early: its box {shown_bytes(kind)} reaches to byte {end:,}, and "
                f"there are {stop:,}"
            )
        yield Box(kind, content, end)
        start = end
    raise source.overloaded("file", _MAX_BOXES, "boxes")


def _brands(source: Source, box: Box) -> set[bytes]:
    content = source.data[box.start : min(box.stop, box.start + 256)]
    return {content[:4], *(content[i : i + 4] for i in range(8, len(content) - 3, 4))}


def _shown(brands: set[bytes]) -> str:
    return ", ".join(sorted(brand.decode("ascii", "replace") for brand in brands)[:4])


def _sizes(source: Source, meta: Box) -> Iterator[tuple[int, int]]:
    """Give the sizes among the properties of a file's images (ISO/IEC 23008-12, 6.5.3)."""
    for properties in _inside(source, meta.start + 4, meta.stop, b"iprp"):
        for container in _inside(source, properties.start, properties.stop, b"ipco"):
            for extent in _inside(source, container.start, container.stop, b"ispe"):
                width, height = source.unpack(">II", extent.start + 4)
                yield width, height


def _without_metadata(source: Source, meta: Box) -> bytes:
    """Rename the items of a HEIC that are no images, so that nobody looks into them.

    pi-heif ends the process where the name of an item's type is no text.
    """
    data = bytearray(source.data)
    for items in _inside(source, meta.start + 4, meta.stop, b"iinf"):
        first = items.start + (6 if source.unpack("B", items.start) == (0,) else 8)
        for item in _inside(source, first, items.stop, b"infe"):
            (version,) = source.unpack("B", item.start)
            place = item.start + (8 if version == 2 else 10)
            if version not in (2, 3) or place + 4 > item.stop:
                raise source.damaged("the HEIC has an item of no known type")
            if bytes(data[place : place + 4]) not in _IMAGES:
                data[place : place + 4] = b"skip"
    return bytes(data)


def _inside(source: Source, start: int, stop: int, kind: bytes) -> Iterator[Box]:
    return (box for box in boxes(source, start, stop) if box.kind == kind)


def _check_reader(source: Source, kind: str) -> None:
    """Raise a `NotAnImageError` if what reads the format is not installed."""
    if kind == "HEIF":
        source.require_module("pi_heif", "a HEIC image")
    if kind == "AVIF" and not features.check("avif"):
        raise source.unsupported(
            "it is an AVIF image, which this installation of Pillow cannot read"
        )


def _orientation(source: Source) -> int:
    """Return which way up an AVIF is: Pillow gives its properties the form of EXIF."""
    plugin = importlib.import_module("PIL.AvifImagePlugin")
    try:
        exif = plugin.AvifImageFile(io.BytesIO(source.data)).info.get("exif", b"")
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:
        raise source.damaged(f"the AVIF cannot be opened ({error})") from error
    return read_orientation(exif)
