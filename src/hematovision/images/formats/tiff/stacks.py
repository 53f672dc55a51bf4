"""Channels, slices and time points of a TIFF, as declared by OME-XML, ImageJ or tifffile."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from hematovision import safe_xml

__all__ = ["Stack", "colour_order", "read_imagej", "read_ome", "read_shaped"]

RGB = ("red", "green", "blue")
_SHORT_NAMES: Final = {"r": "red", "g": "green", "b": "blue"}
# Names without a colour: "Channel:0:1", "ch 2", "c:1/3 - cell", "C1".
_NUMBERED: Final = re.compile(r"(channel|ch|c|component|plane|image)?[\s:#_/-]*[\d:/]*( - .*)?")
_FULL, _NONE = 200, 55  # of 255: thresholds for a full and an absent primary colour
_LARGEST: Final = 65_535


@dataclass(frozen=True, slots=True)
class Stack:
    """The pages of a TIFF as declared by its metadata."""

    origin: str = "its metadata"  # the kind of metadata, for messages
    # sizes in pages: channels with separate pages, slices of a z-stack, time points
    channels: int = 1
    slices: int = 1
    frames: int = 1
    samples: int = 0  # channels in one page; 0 if not declared
    names: tuple[str, ...] = ()  # of the channels; may be incomplete
    # RGB in which each channel is shown; may be incomplete
    colours: tuple[tuple[int, int, int], ...] = ()
    white: int = 0  # the largest value of a sample; 0 if not declared
    # the page of each channel, -1 if missing; None for consecutive pages
    pages: tuple[int, ...] | None = None
    total: int = 0  # number of pages; 0 if not declared


def _integer(text: str | None, most: int = 2**31, default: int = 0) -> int:
    """Parse an integer from 0 to `most`; return `default` for any other text."""
    stripped = (text or "").strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 10):
        return default
    return number if (number := int(stripped)) <= most else default


def read_shaped(description: bytes, samples: int) -> Stack | None:
    """Read the sizes that tifffile writes as JSON, ``{"shape": [3, 224, 224], "axes": "CYX"}``.

    `samples` is the number of samples per pixel of a page, and so of channels per page.
    """
    try:
        content = json.loads(description.rstrip(b"\0"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    shape, axes = content.get("shape"), content.get("axes")
    if not (isinstance(shape, list) and isinstance(axes, str) and len(axes) == len(shape)):
        return None
    sizes = {"C": 1, "Z": 1, "T": 1}
    for axis, size in zip(axes.upper(), shape, strict=True):
        if axis not in "YXS":
            name = axis if axis in sizes else "T"  # any other axis is not a colour
            sizes[name] *= size if isinstance(size, int) and 0 < size < _LARGEST else 1
    in_page = samples if sizes["C"] == samples else 1
    channels = sizes["C"] // in_page
    return Stack("its JSON description", channels, sizes["Z"], sizes["T"], samples=in_page)


def colour_order(stack: Stack) -> tuple[int, int, int] | None:
    """Return which of three channels are red, green and blue; None if that is ambiguous.

    Channels are recognised by their names and display colours. Without either, the order is red,
    green, blue, as in ImageJ and Bio-Formats.
    """
    names = [_plain(name) for name in stack.names]
    shown = [_primary(colour) for colour in stack.colours]
    found = {order for order in (_order(names), _order(shown)) if order}
    if len(found) == 1:
        return found.pop()
    return None if any(names) or any(shown) else (0, 1, 2)


def _order(colours: Sequence[str]) -> tuple[int, int, int] | None:
    if sorted(colours) != sorted(RGB):
        return None
    red, green, blue = (colours.index(colour) for colour in RGB)
    return red, green, blue


def _plain(name: str) -> str:
    """Return a channel's name in lower case; empty if it is only a number."""
    lower = name.strip().lower()
    return "" if _NUMBERED.fullmatch(lower) else _SHORT_NAMES.get(lower, lower)


def _primary(colour: tuple[int, int, int]) -> str:
    """Return the name of a channel's colour; empty for grey and white."""
    if max(colour) - min(colour) <= _NONE:
        return ""
    for index, name in enumerate(RGB):
        others = colour[:index] + colour[index + 1 :]
        if colour[index] >= _FULL and max(others) <= _NONE:
            return name
    return "mixed"


_MAX_BYTES, _MAX_ELEMENTS = 2**21, 20_000
_MAX_PAGES: Final = 65_535
_MAX_CHANNELS: Final = 8  # the limit for pages, labels and lookup tables


def read_ome(description: bytes, samples: int) -> Stack | None:
    """Read the OME-XML of a file's first image (Open Microscopy Environment, schema 2016-06).

    `samples` is the number per pixel of a page, which holds as many channels. None if the
    description is not OME-XML, describes no pixels, or exceeds the limits (2 MiB, 20,000 elements,
    no DOCTYPE).
    """
    if len(description) > _MAX_BYTES or b"<" not in description[:64]:
        return None
    try:
        root = safe_xml.parse(description.rstrip(b"\0 \t\r\n"), max_elements=_MAX_ELEMENTS)
    except ValueError:
        return None
    pixels = next((element for element in root.iter() if _name(element) == "Pixels"), None)
    if _name(root) != "OME" or pixels is None:
        return None
    sizes = [_integer(pixels.get(f"Size{axis}"), _MAX_PAGES, 1) or 1 for axis in "CZT"]
    channels = [element for element in pixels if _name(element) == "Channel"]
    bits = _integer(pixels.get("SignificantBits"), 16)
    planes = max(1, sizes[0] // max(samples, 1))
    return Stack(
        "its OME-XML",
        planes,
        sizes[1],
        sizes[2],
        samples=sizes[0] // planes,
        names=tuple(channel.get("Name", "") for channel in channels),
        colours=tuple(_colour(channel.get("Color")) for channel in channels),
        white=2**bits - 1,
        pages=_pages(pixels, root.get("UUID"), planes),
    )


def _name(element: Element) -> str:
    return str(element.tag).rpartition(":")[2]


def _colour(text: str | None) -> tuple[int, int, int]:
    """Parse a colour, RGBA as a signed number of 32 bits; white if there is none."""
    stripped = (text or "").strip()
    sign = -1 if stripped.startswith("-") else 1
    value = sign * _integer(stripped.removeprefix("-"), 2**32, 1) if stripped else -1
    red, green, blue, _ = (value % 2**32).to_bytes(4, "big")
    return red, green, blue


def _pages(pixels: Element, file: str | None, channels: int) -> tuple[int, ...] | None:
    """Return the page of each channel of the first slice and time point.

    A ``TiffData`` without ``PlaneCount`` describes one plane if it names a page, otherwise all
    (OME-TIFF specification, "The TiffData element"). Planes with another UUID are in other files.
    """
    blocks = [element for element in pixels if _name(element) == "TiffData"]
    if not blocks or channels > _MAX_CHANNELS:
        return None
    pages = [-1] * channels
    for block in blocks:
        other = next((child.text for child in block if _name(child) == "UUID"), file)
        elsewhere = file is not None and (other or "").strip() != file.strip()
        first = _integer(block.get("FirstC"), _MAX_PAGES)
        if elsewhere or _integer(block.get("FirstZ")) or _integer(block.get("FirstT")):
            continue
        page = _integer(block.get("IFD"), _MAX_PAGES)
        count = 1 if "IFD" in block.attrib else channels
        count = _integer(block.get("PlaneCount"), _MAX_PAGES, count)
        for index in range(min(count, channels - first)):
            pages[first + index] = page + index
    return tuple(pages)


_MAX_TEXT: Final = 2**16
_ORDERS: Final = {b"IJIJ": ">", b"JIJI": "<"}
_TABLE_BYTES: Final = 768  # 256 each of red, green and blue


def read_imagej(
    description: bytes, block: bytes = b"", lengths: Sequence[int] = ()
) -> Stack | None:
    """Read ImageJ's description of the pages of a file; None if it is not ImageJ's.

    Its display range (``min``, ``max``) is how the image was last viewed, not the range of samples.
    It is used only if it runs from 0 to the largest number of 8 to 16 bits. `block` and `lengths`
    are the fields 50839 (labels, lookup tables and more) and 50838 (their lengths).
    """
    if not description.startswith(b"ImageJ"):
        return None
    lines = description[:_MAX_TEXT].decode("utf-8", "replace").splitlines()
    values = {
        key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)
    }
    channels, slices, frames, images = (
        max(1, _integer(values.get(key))) for key in ("channels", "slices", "frames", "images")
    )
    names, colours = _channels(block, lengths)
    if sorted(names) != sorted(RGB):
        names = ()  # labels are mostly file names
    elif (channels, slices, frames) == (1, 3, 1):
        channels, slices = 3, 1  # "RGB stack": slices by number, colours by their labels
    return Stack(
        "ImageJ's description",
        channels,
        slices,
        frames,
        names=names,
        colours=colours[:channels],
        white=_window(values.get("min", ""), values.get("max", "")),
        total=images,
    )


def _window(low: str, high: str) -> int:
    try:
        least, most = float(low), float(high)
    except ValueError:
        return 0
    return next((2**bits - 1 for bits in range(8, 17) if most == 2**bits - 1 and not least), 0)


def _channels(
    block: bytes, lengths: Sequence[int]
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Return the labels and the colours of the first channels."""
    names, colours = list[str](), list[tuple[int, int, int]]()
    order = _ORDERS.get(block[:4], "")
    codec = "utf-16-le" if order == "<" else "utf-16-be"
    for kind, part in _parts(block, lengths, order) if order and lengths else ():
        if kind == b"labl":
            names.append(part.decode(codec, "replace").strip().lower())
        elif kind == b"luts" and len(part) == _TABLE_BYTES:
            colours.append((part[255], part[511], part[767]))
    return tuple(names[:_MAX_CHANNELS]), tuple(colours[:_MAX_CHANNELS])


def _parts(block: bytes, lengths: Sequence[int], order: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and content of each part of ImageJ's block (ImageJ, TiffDecoder.java)."""
    header = block[4 : lengths[0]]
    number, position = 1, lengths[0]
    for start in range(0, len(header) - 7, 8):
        kind, count = header[start : start + 4], *struct.unpack_from(f"{order}I", header, start + 4)
        for length in lengths[number : number + count]:
            yield kind if order == ">" else kind[::-1], block[position : position + length]
            position += length
        number += count
