"""The size of a pixel in micrometres, from the metadata of TIFF files."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from hematovision import safe_xml
from hematovision.errors import ImageError
from hematovision.images.formats.source import FileSource, Source
from hematovision.images.formats.tiff import tags
from hematovision.images.formats.tiff.tags import Page
from hematovision.limits import MAX_PIXELS

__all__ = ["is_plausible", "page_um_per_px", "um_per_px"]

_LEAST, _MOST = 0.01, 2.0
_UNEQUAL = 1.05  # ratio of height and width above which pixels are not square

_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 270, 282, 283, 296
_RATIONAL: Final = 5
_UM_PER_UNIT: Final = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre (TIFF 6.0, ResolutionUnit)
_MAX_TEXT, _MAX_ELEMENTS = 2**24, 200_000
_STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_UM_PER_OME_UNIT: Final = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6,
    "Å": 1e-4, "in": 25_400.0, "thou": 25.4,
}  # fmt: skip
_MICROMETRES: Final = frozenset({"micron", "microns", "µm", "um", r"\u00b5m", "micrometer"})
_APERIO = re.compile(rb"\|\s*MPP\s*=\s*([0-9.]{1,20})")


def um_per_px(source: str | Path | bytes) -> float | None:
    """Return the width of an image's pixels in micrometres; None if its metadata lack it.

    TIFF files have it in OME-XML (``PhysicalSizeX`` and its unit), in ImageJ's description (unit
    ``micron``), in Aperio's (``MPP``), or as resolution. The resolution is used only if it is that
    of a microscope: 0.01 to 2 micrometres per pixel. Most programs write one for printing (72 to
    600 per inch, 42 micrometres and more).

    The other formats have no such metadata. A file that cannot be read has none either.

    Examples
    --------
    >>> um_per_px("field.ome.tif")  # doctest: +SKIP
    0.25
    """
    try:
        if isinstance(source, bytes):
            return _of_source(Source(source, "<bytes>", MAX_PIXELS))
        if not Path(source).is_file():  # a pipe might never end
            return None
        with Path(source).open("rb") as stream:
            length = stream.seek(0, 2)
            return _of_source(
                FileSource(b"", str(source), MAX_PIXELS, stream=stream, length=length)
            )
    except (ImageError, OSError, ValueError):
        return None


def _of_source(source: Source) -> float | None:
    if source.size < 8 or source.take(0, 4) not in _STARTS:
        return None
    layout = tags.read_layout(source)
    first = next(tags.read_directories(source, layout), None)
    return None if first is None else page_um_per_px(Page(source, layout, first))


def page_um_per_px(page: Page) -> float | None:
    """Return the width of the pixels of a TIFF's page; None if its metadata lack it.

    Raises `ImageError` if the metadata are damaged.
    """
    entries = page.fields.get(_DESCRIPTION, ())
    texts = [page.source.take(e.place, e.count) for e in entries if 8 < e.count <= _MAX_TEXT]
    for text in texts:
        if b"OME" in text and (declared := _ome(text)) is not None:
            return declared
        if text.startswith(b"ImageJ"):
            return _imagej(page, text)
        if aperio := _APERIO.search(text):
            return _checked(_number(aperio[1].decode()))
    per_unit = _UM_PER_UNIT.get((*page.all(_UNIT), 2)[0])
    return None if per_unit is None else _resolution(page, per_unit)


def is_plausible(um: float) -> bool:
    """Return whether a microscope image of cells may have pixels of this width."""
    return _LEAST <= um <= _MOST


def _checked(x: float | None, y: float | None = None) -> float | None:
    """Return the mean of width and height, if they are plausible and about equal."""
    if x is None or not is_plausible(x):
        return None
    if y is None:
        return x
    if not is_plausible(y) or not 1 / _UNEQUAL < x / y < _UNEQUAL:
        return None
    return (x + y) / 2


def _ome(text: bytes) -> float | None:
    """Read the physical size of the first image (Open Microscopy Environment, schema 2016-06)."""
    try:
        root = safe_xml.parse(text.rstrip(b"\0 \t\r\n"), max_elements=_MAX_ELEMENTS)
    except ValueError:
        return None
    found = (one for one in root.iter() if str(one.tag).rpartition(":")[2] == "Pixels")
    pixels = next(found, None)
    return None if pixels is None else _checked(_ome_size(pixels, "X"), _ome_size(pixels, "Y"))


def _ome_size(pixels: Element, axis: str) -> float | None:
    size = _number(pixels.get(f"PhysicalSize{axis}", ""))
    unit = pixels.get(f"PhysicalSize{axis}Unit", "µm").replace("μ", "µ")
    um = _UM_PER_OME_UNIT.get(unit)
    return None if size is None or um is None else size * um


def _imagej(page: Page, text: bytes) -> float | None:
    """Read the resolution of an ImageJ TIFF, in pixels per unit of its description."""
    unit = re.search(rb"^unit=(.+)$", text.rstrip(b"\0"), re.MULTILINE)
    name = unit[1].decode("utf-8", "replace").strip().lower() if unit else ""
    return _resolution(page, 1.0) if name.replace("μ", "µ") in _MICROMETRES else None


def _resolution(page: Page, per_unit: float) -> float | None:
    x, y = _ratio(page, _X_RESOLUTION), _ratio(page, _Y_RESOLUTION)
    return _checked(per_unit / x, per_unit / y if y else None) if x else None


def _ratio(page: Page, tag: int) -> float | None:
    entry = page.entry(tag)
    if entry is None or entry.kind != _RATIONAL or entry.count != 1:
        return None
    above, below = struct.unpack(f"{page.layout.order}2I", page.source.take(entry.place, 8))
    return above / below if above and below else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
