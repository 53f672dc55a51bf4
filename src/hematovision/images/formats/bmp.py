"""BMP: header, palette and rows (Microsoft, Bitmap Storage; BITMAPINFOHEADER)."""

from __future__ import annotations

from hematovision.images.formats.picture import Picture, Source

__all__ = ["inspect"]

_CORE_HEADER = 12
_HEADERS = frozenset({40, 52, 56, 64, 108, 124})
_RAW, _BITFIELDS = 0, 3


def inspect(source: Source) -> Picture:
    """Check that a BMP holds every row that its header declares, and describe it.

    Run-length coded BMPs are refused: they are rare, and their end cannot be told from a cut.
    """
    file_size, _, start, header = source.unpack("<IIII", 2)
    width, height, bits, compression = _shape(source, header)
    if compression not in (_RAW, _BITFIELDS) or bits not in (1, 4, 8, 16, 24, 32):
        raise source.unsupported(f"it is a BMP of {bits} bits, compression {compression}")
    if width <= 0 or height == 0 or start < 14 + header:
        raise source.damaged("the BMP's header contradicts itself")
    row = (width * bits + 31) // 32 * 4
    source.require(start, row * abs(height))
    source.require(0, file_size)
    return Picture("BMP", width, abs(height), source.data)


def _shape(source: Source, header: int) -> tuple[int, int, int, int]:
    if header == _CORE_HEADER:
        width, height, _, bits = source.unpack("<HHHH", 18)
        return width, height, bits, _RAW
    if header not in _HEADERS:
        raise source.unsupported(f"it begins like a BMP, but its header size is {header}")
    width, height, _, bits, compression = source.unpack("<iiHHI", 18)
    return width, height, bits, compression
