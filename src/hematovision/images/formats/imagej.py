"""ImageJ's metadata in a TIFF: its description, and the channels' labels and lookup tables."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from hematovision.images.formats.stack import RGB, Stack, whole

__all__ = ["read_imagej"]

_MAX_BYTES: Final = 2**16
_MAX_CHANNELS: Final = 8  # as many labels and lookup tables are looked at
_ORDERS: Final = {b"IJIJ": ">", b"JIJI": "<"}
_TABLE_BYTES: Final = 768  # 256 each of red, green and blue


def read_imagej(
    description: bytes, block: bytes = b"", lengths: Sequence[int] = ()
) -> Stack | None:
    """Read what ImageJ says about the pages of a file.

    Its display range (``min``, ``max``) is how an image was last looked at, and no range of the
    samples. Only a window from 0 to the largest number of 8 to 16 bits is taken for one.

    Parameters
    ----------
    description : bytes
        The content of the field ImageDescription: lines ``key=value``, the first ``ImageJ``.
    block, lengths : bytes, sequence of int
        The contents of the fields 50839 and 50838 (labels, lookup tables and more; lengths of the
        parts of these).

    Returns
    -------
    Stack or None
        None if the description is not ImageJ's.
    """
    if not description.startswith(b"ImageJ"):
        return None
    lines = description[:_MAX_BYTES].decode("utf-8", "replace").splitlines()
    values = {
        key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)
    }
    channels, slices, frames, images = (
        max(1, whole(values.get(key))) for key in ("channels", "slices", "frames", "images")
    )
    names, colours = _channels(block, lengths)
    if sorted(names) != sorted(RGB):
        names = ()  # labels are mostly names of files
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
    """Yield kind and content of each part of ImageJ's block (ImageJ, TiffDecoder.java)."""
    header = block[4 : lengths[0]]
    number, position = 1, lengths[0]
    for start in range(0, len(header) - 7, 8):
        kind, count = header[start : start + 4], *struct.unpack_from(f"{order}I", header, start + 4)
        for length in lengths[number : number + count]:
            yield kind if order == ">" else kind[::-1], block[position : position + length]
            position += length
        number += count
