"""The one thing wanted from EXIF metadata: which way up the camera was held."""

from __future__ import annotations

import struct

__all__ = ["read_orientation"]

_ORIENTATION = 0x0112
_SHORT = 3
_PREFIX = b"Exif\0\0"


def read_orientation(block: bytes) -> int:
    """Return the orientation, 1 to 8, that an EXIF block gives.

    Metadata never refuse a picture: a block that is missing, cut or nonsense gives 1 (upright).

    Parameters
    ----------
    block : bytes
        The content of JPEG's APP1, PNG's ``eXIf`` or WebP's ``EXIF``: a small TIFF directory
        (Exif 2.32, section 4.5.2), with or without the prefix ``Exif``.
    """
    block = block.removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, directory)
        for position in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, position)
            if tag == _ORIENTATION and kind == _SHORT:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
