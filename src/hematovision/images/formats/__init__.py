"""Image formats: each file is checked from start to end and described, but not decoded.

Decoders fill the missing part of a truncated file with grey and report nothing, so each module
checks its container to the end. Only the data that the pixels need is passed to the decoder: text,
colour profiles, thumbnails and further pages could be inflated, misread or warned about.
"""

from __future__ import annotations

import importlib
from pathlib import PurePath
from typing import Final

from hematovision.images.formats import bitmaps, isobmff, jpeg, tiff
from hematovision.images.formats.source import (
    MAX_ASPECT,
    MAX_SIDE,
    EncodedImage,
    Source,
    read_orientation,
    shown_bytes,
)

__all__ = [
    "MAX_ASPECT", "MAX_SIDE", "EncodedImage", "Source", "inspect", "read_orientation",
    "slide_format", "unsupported_format",
]  # fmt: skip

_EXPORT = "Export it as TIFF or PNG from the program that made it."

_SLIDE, _RAW = "a whole slide image", "a camera's raw image"
_OTHER_SLIDE = "a slide"

_WITH_SUFFIX: Final = {
    "a Zeiss image": "czi lsm zvi",
    "a Nikon image": "nd2",
    "a Leica image": "lif lof xlif",
    "an Olympus image": "oib oif oir",
    "an Olympus slide": "vsi",
    "an Imaris image": "ims",
    _SLIDE: "svs ndpi scn mrxs bif svslide vms vmu",
    _OTHER_SLIDE: "ndpis isyntax",
    _RAW: "cr2 cr3 crw nef nrw dng arw orf raf rw2 pef srw",
    "raw data": "raw",
    "a Photoshop document": "psd psb",
    "a GIMP document": "xcf",
    "a Krita document": "kra",
    "a vector drawing": "svg svgz",
    "a PostScript drawing": "eps",
    "a Radiance image": "hdr",
    "an icon": "ico",
}
_WITHOUT_SUFFIX: Final = {
    "a PDF document": "pdf",
    "a JPEG XL image": "jxl",
    "a JPEG XR image": "jxr wdp",
    "a JPEG-LS image": "jls",
    "an OpenEXR image": "exr",
    "a Targa image": "tga",
    "a FITS image": "fits",
    "an MRC image": "mrc",
    "a Netpbm image": "pbm pgm ppm pnm pam",
    "a HEIC sequence": "heics",
    "an AVIF sequence": "avifs",
}
_SUFFIXES: Final = {
    f".{name}": f"{kind} ({name.upper()})"
    for kind, names in _WITH_SUFFIX.items()
    for name in names.split()
} | {f".{name}": kind for kind, names in _WITHOUT_SUFFIX.items() for name in names.split()}

_CONTENTS: Final = (
    (b"ZISRAWFILE", "a Zeiss image (CZI)"),
    (b"\xda\xce\xbe\x0a", "a Nikon image (ND2)"),
    (b"\x70\0\0\0", "a Leica image (LIF)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a compound file (Olympus OIB, Zeiss ZVI or other)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Imaris or other)"),
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"gimp xcf", "a GIMP document (XCF)"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript drawing (EPS)"),
    (b"<svg", "a vector drawing (SVG)"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"FUJIFILMCCD-RAW", f"{_RAW} (RAF)"),
    (b"IIU\0", f"{_RAW} (RW2)"),
    (b"IIRO", f"{_RAW} (ORF)"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance image (HDR)"),
    (b"SIMPLE  =", "a FITS image"),
    *((b"P%d\n" % number, "a Netpbm image") for number in range(1, 8)),
    (b"\0\0\1\0", "an icon (ICO)"),
)

_SIGNATURES = (
    (b"\xff\xd8\xff", jpeg.inspect),
    (b"\x89PNG\r\n\x1a\n", bitmaps.inspect_png),
    (b"II*\0", tiff.inspect),
    (b"MM\0*", tiff.inspect),
    (b"II+\0", tiff.inspect),
    (b"MM\0+", tiff.inspect),
    (b"BM", bitmaps.inspect_bmp),
    (b"GIF87a", bitmaps.inspect_gif),
    (b"GIF89a", bitmaps.inspect_gif),
    (isobmff.JPEG2000_CODESTREAM, isobmff.inspect_jpeg2000),
    (isobmff.JPEG2000_CONTAINER, isobmff.inspect_jpeg2000),
)


def inspect(source: Source) -> EncodedImage:
    """Recognise the format by the first bytes, check that the file is complete, and describe it.

    Raises `NotAnImageError` if the format is not accepted, or the variant cannot be decoded
    correctly. Raises `TruncatedImageError` if the container ends early, is inconsistent or fails a
    checksum.
    """
    data, called = source.data, unsupported_format(source.name)
    if slide := slide_format(source.name):
        raise source.unsupported(
            f"it is {slide} with many cells",
            "Count them with `hematovision analyze`, or export single cells as PNG.",
        )
    if called and _is_raw_or_slide(source.name):
        raise source.unsupported(f"it is {called}, which HematoVision cannot read", _EXPORT)
    for signature, inspect_format in _SIGNATURES:
        if data.startswith(signature):
            return inspect_format(source)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return bitmaps.inspect_webp(source)
    if data[4:8] == b"ftyp":
        return isobmff.inspect_heif(source)
    if data[128:132] == b"DICM":
        return _inspect_dicom(source)
    if known := _name_content(data) or called:
        raise source.unsupported(f"it is {known}, which HematoVision cannot read", _EXPORT)
    raise source.unsupported(
        f"its content is not an image (it begins with {shown_bytes(data[:8])})",
        "Expected a JPEG, PNG, TIFF, BMP, WebP, GIF, HEIC, AVIF, JPEG 2000 or DICOM file. "
        "Convert this file, or leave it out.",
    )


def _inspect_dicom(source: Source) -> EncodedImage:
    """Import the DICOM reader on first use: it needs an extra, and is slow to import."""
    source.require_module("pydicom", "a DICOM image")
    module = importlib.import_module("hematovision.images.formats.dicom")
    encoded: EncodedImage = module.inspect(source)
    return encoded


def unsupported_format(path: str | PurePath) -> str | None:
    """Return the name of an unsupported image format by a file's suffix, without opening it.

    None for supported formats and for files that are not images.

    Examples
    --------
    >>> unsupported_format("slide 3/cell.czi")
    'a Zeiss image (CZI)'
    >>> unsupported_format("cell.png") is unsupported_format("notes.txt") is None
    True
    """
    return _SUFFIXES.get(PurePath(path).suffix.lower())


def slide_format(path: str | PurePath) -> str | None:
    """Return the name of a slide's format by a file's suffix, if slides of that format can be read.

    `images.slides` reads them by region; `inspect` rejects them.

    Examples
    --------
    >>> slide_format("smear.svs")
    'a whole slide image (SVS)'
    """
    found = unsupported_format(path) or ""
    return found if found.startswith(_SLIDE) else None


def _name_content(data: bytes) -> str | None:
    """Return the name of an unsupported image format by a file's first bytes."""
    return next((name for start, name in _CONTENTS if data.startswith(start)), None)


def _is_raw_or_slide(path: str | PurePath) -> bool:
    """Return whether the suffix is a raw image's or slide's: the first page may be a preview."""
    return (unsupported_format(path) or "").startswith((_RAW, _OTHER_SLIDE, "an Olympus slide"))
