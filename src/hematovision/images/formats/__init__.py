"""What each container says about its picture, and whether it is whole, before a pixel is decoded.

Every module has one function, ``inspect(source) -> Picture``. It walks the container from its first
byte to its last, so that a file cut anywhere is noticed (decoders fill the missing part with grey
and say nothing), and hands on only what the pixels need: no text, colour profile, thumbnail or
further page ever reaches the decoder, so none of them can be inflated, misread or warned about.
"""

from __future__ import annotations

import importlib

from hematovision.images.formats import bmp, gif, isobmff, jpeg, jpeg2000, png, tiff, webp
from hematovision.images.formats.foreign import (
    is_raw_or_slide,
    name_content,
    unsupported_format,
)
from hematovision.images.formats.picture import MAX_ASPECT, MAX_SIDE, Picture, Source
from hematovision.images.formats.wording import shown_bytes

__all__ = ["MAX_ASPECT", "MAX_SIDE", "Picture", "Source", "inspect", "unsupported_format"]

_EXPORT = "Export it as TIFF or PNG from the program that made it."

_SIGNATURES = (
    (b"\xff\xd8\xff", jpeg.inspect),
    (b"\x89PNG\r\n\x1a\n", png.inspect),
    (b"II*\0", tiff.inspect),
    (b"MM\0*", tiff.inspect),
    (b"II+\0", tiff.inspect),
    (b"MM\0+", tiff.inspect),
    (b"BM", bmp.inspect),
    (b"GIF87a", gif.inspect),
    (b"GIF89a", gif.inspect),
    (jpeg2000.CODESTREAM, jpeg2000.inspect),
    (jpeg2000.CONTAINER, jpeg2000.inspect),
)


def inspect(source: Source) -> Picture:
    """Tell the kind of image by its first bytes, check that it is whole, and describe it.

    Raises
    ------
    NotAnImageError
        If the bytes are of no accepted kind, or of a variant that cannot be shown faithfully.
    TruncatedImageError
        If the container ends early, contradicts itself or fails its checksums.
    """
    data, called = source.data, unsupported_format(source.name)
    if called and is_raw_or_slide(source.name):
        raise source.unsupported(f"it is {called}, which HematoVision can't read", _EXPORT)
    for signature, inspect_format in _SIGNATURES:
        if data.startswith(signature):
            return inspect_format(source)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return webp.inspect(source)
    if data[4:8] == b"ftyp":
        return isobmff.inspect(source)
    if data[128:132] == b"DICM":
        return _inspect_dicom(source)
    if known := name_content(data) or called:
        raise source.unsupported(f"it is {known}, which HematoVision can't read", _EXPORT)
    raise source.unsupported(
        f"its content is not an image (it begins with {shown_bytes(data[:8])})",
        "Expected a JPEG, PNG, TIFF, BMP, WebP, GIF, HEIC, AVIF, JPEG 2000 or DICOM file; leave "
        "this one out or convert it.",
    )


def _inspect_dicom(source: Source) -> Picture:
    """Import what reads DICOM when there is one: it is an extra, and takes time to load."""
    source.require_module("pydicom", "a DICOM image")
    module = importlib.import_module("hematovision.images.formats.dicom")
    picture: Picture = module.inspect(source)
    return picture
