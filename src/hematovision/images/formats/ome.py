"""OME-XML, the metadata of OME-TIFF (Open Microscopy Environment, schema 2016-06)."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from hematovision import safe_xml
from hematovision.images.formats.stack import Stack, whole

__all__ = ["read_ome"]

_MAX_BYTES, _MAX_ELEMENTS = 2**21, 20_000
_MAX_PAGES: Final = 65_535
_MAX_CHANNELS: Final = 8  # of more, nobody asks for the pages


def read_ome(description: bytes, samples: int) -> Stack | None:
    """Read what OME-XML says about the first image of a file.

    Parameters
    ----------
    description : bytes
        The content of the field ImageDescription.
    samples : int
        Per pixel of a page; a page holds as many channels.

    Returns
    -------
    Stack or None
        None if it is no OME-XML, describes no pixels, or exceeds the limits (2 MiB, 20,000
        elements, no DOCTYPE).
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
    sizes = [whole(pixels.get(f"Size{axis}"), _MAX_PAGES, 1) or 1 for axis in "CZT"]
    channels = [element for element in pixels if _name(element) == "Channel"]
    bits = whole(pixels.get("SignificantBits"), 16)
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
    """Read a colour: RGBA as one signed number of 32 bits; white where there is none."""
    stripped = (text or "").strip()
    sign = -1 if stripped.startswith("-") else 1
    value = sign * whole(stripped.removeprefix("-"), 2**32, 1) if stripped else -1
    red, green, blue, _ = (value % 2**32).to_bytes(4, "big")
    return red, green, blue


def _pages(pixels: Element, file: str | None, channels: int) -> tuple[int, ...] | None:
    """Tell which page holds each channel of the first slice and time point.

    A ``TiffData`` without ``PlaneCount`` stands for one plane if it names a page, else for all
    (OME-TIFF specification, "The TiffData element"). Planes with another UUID are in other files.
    """
    blocks = [element for element in pixels if _name(element) == "TiffData"]
    if not blocks or channels > _MAX_CHANNELS:
        return None
    pages = [-1] * channels
    for block in blocks:
        other = next((child.text for child in block if _name(child) == "UUID"), file)
        elsewhere = file is not None and (other or "").strip() != file.strip()
        first = whole(block.get("FirstC"), _MAX_PAGES)
        if elsewhere or whole(block.get("FirstZ")) or whole(block.get("FirstT")):
            continue
        page = whole(block.get("IFD"), _MAX_PAGES)
        count = 1 if "IFD" in block.attrib else channels
        count = whole(block.get("PlaneCount"), _MAX_PAGES, count)
        for index in range(min(count, channels - first)):
            pages[first + index] = page + index
    return tuple(pages)
