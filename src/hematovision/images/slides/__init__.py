"""Slides: images too large to be read at once, read by region."""

from __future__ import annotations

import stat
from pathlib import Path

from hematovision.errors import ImageError, NotAnImageError
from hematovision.images.formats import slide_format
from hematovision.images.slides import vendors
from hematovision.images.slides.slide import MAX_SLIDE_PIXELS, Slide, SlideLevel
from hematovision.images.slides.tiled import STARTS, open_tiled
from hematovision.limits import MAX_BYTES, MAX_PIXELS

__all__ = ["MAX_SLIDE_PIXELS", "Slide", "SlideLevel", "is_slide", "open_slide"]

_DICOM = b"DICM"


def open_slide(path: str | Path) -> Slide:
    """Open a slide to read regions of it.

    Formats of scanners (SVS, NDPI, MRXS, SCN, BIF and more) and DICOM are read with OpenSlide, an
    optional package (the extra ``slides``). Other TIFF files, also OME-TIFF and BigTIFF, need no
    optional package: pyramids, and large images in tiles or strips, of 8-bit greys or colours.

    Parameters
    ----------
    path : str or Path
        The slide's file; of a slide in DICOM any of its files, of MRXS the ``.mrxs`` file.

    Returns
    -------
    Slide
        Use it in a ``with`` block, or close it.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read.
    NotAnImageError
        If it is not a slide, is of an unsupported kind, or needs OpenSlide, which is not installed;
        the message has the command that installs it.
    TooManyPixelsError
        If it declares more than `MAX_SLIDE_PIXELS`.
    TruncatedImageError
        If its header is damaged. Damaged tiles are reported when they are read.

    Examples
    --------
    >>> with open_slide("smear.svs") as slide:  # doctest: +SKIP
    ...     print(slide)
    ...     field = slide.read_region(20_000, 8_000, 1024, 1024)
    <Slide 'smear.svs': aperio, 50000 x 40000 pixels, 4 levels, 0.25 um/px>
    """
    path = Path(path)
    if slide_format(path) is None and _start(path).startswith(STARTS):
        vendor = vendors.detect(path)
        if vendor in (None, vendors.GENERIC):
            try:
                return open_tiled(path)
            except NotAnImageError:
                if vendor is None:
                    raise
    return vendors.open_vendor(path)


def is_slide(path: str | Path) -> bool:
    """Return whether a file is a slide, to be read by region, not an ordinary image.

    Slides are the formats of scanners, DICOM files of whole slides, tiled TIFFs with smaller copies
    of the image, and TIFFs that are too large for `read`. A file in the format of a scanner is a
    slide even if it is damaged, or OpenSlide is not installed: `open_slide` reports that.
    """
    path = Path(path)
    if slide_format(path) is not None:
        return _is_file(path)
    try:
        start = _start(path)
        if start.startswith(STARTS):
            return _is_tiff_slide(path)
        return start[128:132] == _DICOM and vendors.detect(path) == "dicom"
    except (ImageError, OSError):
        return False


def _is_tiff_slide(path: Path) -> bool:
    if path.stat().st_size > MAX_BYTES:
        return True
    vendor = vendors.detect(path)
    if vendor not in (None, vendors.GENERIC):
        return True
    with open_slide(path) as slide:
        is_large = slide.width * slide.height > MAX_PIXELS
        return is_large or (len(slide.levels) > 1 and slide.is_tiled)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _start(path: Path) -> bytes:
    """Return the first bytes of a regular file; empty if it cannot be read."""
    if not _is_file(path):
        return b""
    try:
        with path.open("rb") as stream:
            return stream.read(132)
    except OSError:
        return b""
