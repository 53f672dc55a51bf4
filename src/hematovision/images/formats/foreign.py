"""Unsupported image formats by suffix and signature, so that files can be reported by name."""

from __future__ import annotations

from pathlib import PurePath
from typing import Final

__all__ = ["is_raw_or_slide", "name_content", "unsupported_format"]

_SLIDE, _RAW = "a whole slide image", "a camera's raw image"

_SUFFIXES: Final = {
    ".czi": "a Zeiss image (CZI)",
    ".lsm": "a Zeiss LSM image",
    ".zvi": "a Zeiss image (ZVI)",
    ".nd2": "a Nikon image (ND2)",
    ".lif": "a Leica image (LIF)",
    ".lof": "a Leica image (LOF)",
    ".xlif": "a Leica image (XLIF)",
    ".oib": "an Olympus image (OIB)",
    ".oif": "an Olympus image (OIF)",
    ".oir": "an Olympus image (OIR)",
    ".vsi": "an Olympus slide (VSI)",
    ".ims": "an Imaris image (IMS)",
    **{f".{name}": f"{_SLIDE} ({name.upper()})" for name in ("svs", "ndpi", "scn", "mrxs")},
    **{f".{name}": f"{_SLIDE} ({name.upper()})" for name in ("bif", "svslide", "ndpis", "isyntax")},
    **{f".{name}": f"{_RAW} ({name.upper()})" for name in ("cr2", "cr3", "crw", "nef", "nrw")},
    **{f".{name}": f"{_RAW} ({name.upper()})" for name in ("dng", "arw", "orf", "raf", "rw2")},
    **{f".{name}": f"{_RAW} ({name.upper()})" for name in ("pef", "srw")},
    ".raw": "raw data (RAW)",
    ".psd": "a Photoshop document (PSD)",
    ".psb": "a Photoshop document (PSB)",
    ".xcf": "a GIMP document (XCF)",
    ".kra": "a Krita document (KRA)",
    ".svg": "a vector drawing (SVG)",
    ".svgz": "a vector drawing (SVGZ)",
    ".eps": "a PostScript drawing (EPS)",
    ".pdf": "a PDF document",
    ".jxl": "a JPEG XL image",
    ".jxr": "a JPEG XR image",
    ".wdp": "a JPEG XR image",
    ".jls": "a JPEG-LS image",
    ".exr": "an OpenEXR image",
    ".hdr": "a Radiance image (HDR)",
    ".tga": "a Targa image",
    ".fits": "a FITS image",
    ".mrc": "an MRC image",
    **{f".{name}": "a Netpbm image" for name in ("pbm", "pgm", "ppm", "pnm", "pam")},
    ".ico": "an icon (ICO)",
    ".heics": "a HEIC sequence",
    ".avifs": "an AVIF sequence",
}

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


def unsupported_format(path: str | PurePath) -> str | None:
    """Return what a file is by its suffix if it is an image of a format that is not read.

    Parameters
    ----------
    path : str or PurePath
        The file is not opened.

    Returns
    -------
    str or None
        A name for a sentence; None for images that are read, and for all that is no image.

    Examples
    --------
    >>> unsupported_format("slide 3/cell.czi")
    'a Zeiss image (CZI)'
    >>> unsupported_format("cell.png") is unsupported_format("notes.txt") is None
    True
    """
    return _SUFFIXES.get(PurePath(path).suffix.lower())


def name_content(data: bytes) -> str | None:
    """Return what a file is by its first bytes if it is an image of a format that is not read."""
    return next((name for start, name in _CONTENTS if data.startswith(start)), None)


def is_raw_or_slide(path: str | PurePath) -> bool:
    """Tell whether a file is called a raw image or slide: TIFFs whose first page is a preview."""
    return (unsupported_format(path) or "").startswith((_RAW, _SLIDE, "an Olympus slide"))
