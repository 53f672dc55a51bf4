"""The directories of TIFF and BigTIFF files, and the pages they describe (TIFF 6.0).

Directories are read with limits and written as classic TIFF.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from hematovision.images.formats.source import Source

__all__ = [
    "Directory", "Entry", "Field", "Layout", "Page", "append_directories", "bytes_each",
    "can_decode", "check_kind", "field", "longs", "numbers", "read_directories", "read_layout",
    "shorts",
]  # fmt: skip

# Directories may overlap, so a small file could cause hours of work: pages and entries are counted
# before they are read. Pages rarely have more than 16 entries; more pages are a recording.
_MAX_PAGES = 4096
_MAX_ENTRIES = 16 * _MAX_PAGES

SHORT, LONG = 3, 4
# Bytes per value of each field type (TIFF 6.0, section 2; 13 and 16 to 18 from its supplements).
_TYPE_BYTES = dict(zip(range(1, 14), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), strict=True))
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_VALUES_BYTES = 2**20  # of a copied field; JPEG tables have a few hundred
_BIG_TYPES = frozenset({13, 16, 18})


@dataclass(frozen=True, slots=True)
class Layout:
    """A TIFF's byte order, and the `struct` formats of classic TIFF or BigTIFF."""

    order: str
    count: str  # of the entries of a directory
    entry: str  # tag, type, number of values, and the values or their offset
    offset: str  # in the file


@dataclass(frozen=True, slots=True)
class Entry:
    """A field in the file: its type, the number of its values, and their offset."""

    kind: int
    count: int
    place: int


Directory = Mapping[int, Sequence[Entry]]
"""The entries of each tag; readers differ on which of several they use."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field to write: its type, the number of its values, and their bytes."""

    kind: int
    count: int
    values: bytes


def read_layout(source: Source) -> Layout:
    """Read the byte order and version from a TIFF's first four bytes."""
    order = "<" if source.take(0, 2) == b"II" else ">"
    (version,) = source.unpack(f"{order}H", 2)
    formats = ("Q", "HHQ8s", "Q") if version == 43 else ("H", "HHI4s", "I")
    return Layout(order, *(order + name for name in formats))


def read_directories(
    source: Source, layout: Layout, offset: int | None = None
) -> Iterator[Directory]:
    """Yield the directory of every page; check that it and its values are inside the file.

    The chain of pages begins at `offset`, by default at the first page of the file.
    """
    if offset is None:
        (offset,) = source.unpack(layout.offset, struct.calcsize(layout.offset))
    seen, entries = set[int](), 0
    while offset:
        if offset in seen:
            raise source.damaged("the TIFF's chain of pages is circular")
        seen.add(offset)
        (count,) = source.unpack(layout.count, offset)
        entries += count
        if len(seen) > _MAX_PAGES or entries > _MAX_ENTRIES:
            raise source.unsupported(
                f"it is a TIFF of more than {_MAX_PAGES:,} pages or {_MAX_ENTRIES:,} fields; "
                "expected one image",
                "Save the page that shows the cell as a separate file.",
            )
        start = offset + struct.calcsize(layout.count)
        size = count * struct.calcsize(layout.entry)
        source.require(start, size + struct.calcsize(layout.offset))
        yield _entries(source, layout, start, size)
        (offset,) = source.unpack(layout.offset, start + size)


def _entries(source: Source, layout: Layout, start: int, size: int) -> Directory:
    directory = dict[int, list[Entry]]()
    position = start + struct.calcsize(layout.entry) - struct.calcsize(layout.offset)
    block = source.take(start, size)
    for tag, kind, count, tail in struct.iter_unpack(layout.entry, block):
        length, place = _TYPE_BYTES.get(kind, 0) * count, position
        if length > len(tail):
            (place,) = struct.unpack(layout.offset, tail)
            source.require(place, length)
        directory.setdefault(tag, []).append(Entry(kind, count, place))
        position += struct.calcsize(layout.entry)
    return directory


def numbers(source: Source, layout: Layout, entry: Entry) -> tuple[int, ...]:
    """Read the values of a field of integers."""
    code = _WHOLE_NUMBERS.get(entry.kind)
    if code is None or not entry.count:
        raise source.damaged("a field of the TIFF that must contain integers does not")
    return source.unpack(f"{layout.order}{entry.count}{code}", entry.place)


def bytes_each(entry: Entry) -> int:
    """Return the number of bytes of each value of a field."""
    return _TYPE_BYTES.get(entry.kind, 0)


def field(source: Source, layout: Layout, entry: Entry) -> Field:
    """Copy a field; numbers of 8 bytes, which classic TIFF lacks, become LONGs."""
    if entry.kind in _BIG_TYPES:
        return longs(layout, numbers(source, layout, entry))
    length = _TYPE_BYTES.get(entry.kind, 0) * entry.count
    if length > _MAX_VALUES_BYTES:
        raise source.damaged(f"a field of the TIFF has {length:,} bytes, more than any needs")
    return Field(entry.kind, entry.count, source.take(entry.place, length))


def shorts(layout: Layout, *values: int) -> Field:
    """Return a field of SHORTs."""
    return Field(SHORT, len(values), struct.pack(f"{layout.order}{len(values)}H", *values))


def longs(layout: Layout, values: Sequence[int]) -> Field:
    """Return a field of LONGs; offsets within our limits do not need more."""
    large = [min(value, 2**32 - 1) for value in values]
    return Field(LONG, len(large), struct.pack(f"{layout.order}{len(large)}I", *large))


def append_directories(
    source: Source, layout: Layout, directories: Sequence[Mapping[int, Field]]
) -> bytes:
    """Return the file as a classic TIFF with only the pages `directories`; pixels are not moved.

    Pillow cannot read BigTIFFs of the other byte order; classic TIFF is large enough.
    """
    mark = b"II*\0" if layout.order == "<" else b"MM\0*"
    position = len(source.data) + len(source.data) % 2
    if position > 2**31:
        raise source.unsupported(
            f"it is a TIFF of {len(source.data):,} bytes; the limit is {2**31:,}"
        )
    header = mark + struct.pack(f"{layout.order}I", position)
    pieces: list[bytes | memoryview] = [
        header,
        memoryview(source.data)[len(header) :],
        bytes(len(source.data) % 2),
    ]
    for index, directory in enumerate(directories):
        piece = _directory(layout, directory, position, last=index == len(directories) - 1)
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def _directory(layout: Layout, directory: Mapping[int, Field], start: int, *, last: bool) -> bytes:
    """Serialise one directory, which begins at `start`, and its values."""
    size = 2 + 12 * len(directory) + 4
    entries, values = list[bytes](), bytearray()
    for tag, item in sorted(directory.items()):
        tail = item.values.ljust(4, b"\0")
        if len(tail) > 4:
            tail = struct.pack(f"{layout.order}I", start + size + len(values))
            values += item.values + bytes(len(item.values) % 2)
        entries.append(struct.pack(f"{layout.order}HHI", tag, item.kind, item.count) + tail)
    following = 0 if last else start + size + len(values)
    count = struct.pack(f"{layout.order}H", len(entries))
    return b"".join((count, *entries, struct.pack(f"{layout.order}I", following), values))


WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
STRIPS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANES = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, PREDICTOR = 338, 339, 317
_SUBFILE, _OLD_SUBFILE = 254, 255

RAW, JPEG = 1, 7
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, _CMYK, YCBCR = 0, 1, 2, 3, 5, 6
ASSOCIATED_ALPHA, ALPHA = 1, 2
SEPARATE = 2

_COLOURS: Final = {
    WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, _CMYK: 4, YCBCR: 3
}  # fmt: skip
# Supported by every build of Pillow. Trying any other would print a message.
_READABLE: Final = frozenset({RAW, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 50000})
_COMPRESSIONS: Final = {
    RAW: "none", 2: "CCITT RLE", 3: "CCITT Fax 3", 4: "CCITT Fax 4", 5: "LZW",
    6: "old-style JPEG", JPEG: "JPEG", 8: "Deflate", 9: "JBIG", 10: "JBIG", 32766: "NeXT RLE",
    32771: "CCITT RLE", 32773: "PackBits", 32809: "ThunderScan", 32908: "PixarFilm",
    32909: "PixarLog", 32946: "Deflate", 33003: "JPEG 2000", 33004: "JPEG 2000",
    33005: "JPEG 2000", 33007: "JPEG", 34661: "JBIG", 34676: "SGI LogLuv", 34677: "SGI LogLuv",
    34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 34926: "Zstandard",
    34927: "WebP", 34933: "PNG", 34934: "JPEG XR", 48124: "Jetraw", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_UNSIGNED, _UNDEFINED = 1, 4
_FEW: Final = 64  # maximum values of a field with one per sample


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a TIFF; its fields are read when needed."""

    source: Source
    layout: Layout
    fields: Directory
    is_rgb: bool = False  # whether metadata declares three grey samples to be red, green and blue

    def all(self, tag: int, default: tuple[int, ...] = (), most: int = _FEW) -> tuple[int, ...]:
        """Read all values of a field of up to `most` integers."""
        entry = self.entry(tag)
        if entry is None:
            return default
        if entry.count > most:
            raise self.source.damaged(
                f"the TIFF's field {tag} has {entry.count:,} values, more than {most:,}"
            )
        return numbers(self.source, self.layout, entry)

    def one(self, tag: int, default: int | None = None) -> int:
        """Read a field of one integer."""
        values = self.all(tag, () if default is None else (default,))
        if len(values) != 1:
            raise self.source.damaged(f"the TIFF's field {tag} has {len(values)} values, not one")
        return values[0]

    def entry(self, tag: int) -> Entry | None:
        """Return the only entry of a field, or None."""
        entries = self.fields.get(tag, ())
        if len(entries) > 1:
            raise self.source.damaged(f"the TIFF has the field {tag} twice")
        return entries[0] if entries else None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height; 0 if they are missing."""
        return self.one(WIDTH, 0), self.one(HEIGHT, 0)

    @property
    def is_reduced(self) -> bool:
        """Whether flags mark the page as a smaller copy or a mask of another page."""
        flags = self.all(_SUBFILE, (0,))[0]
        return bool(flags & 0b101) or self.all(_OLD_SUBFILE, (1,))[0] == 2

    @property
    def is_grey(self) -> bool:
        """Whether the page has no colours; a palette may only be how a channel is shown."""
        return self.all(PHOTOMETRIC, (BLACK_IS_ZERO,))[0] in (WHITE_IS_ZERO, BLACK_IS_ZERO)

    @property
    def photometric(self) -> int:
        """The field PhotometricInterpretation."""
        return RGB if self.is_rgb else self.one(PHOTOMETRIC)

    @property
    def extra(self) -> tuple[int, ...]:
        """The field ExtraSamples: the meaning of the samples that are not colours."""
        return () if self.is_rgb else self.all(EXTRA_SAMPLES)

    @property
    def is_tiled(self) -> bool:
        """Whether the pixels are in tiles, not strips; writers may use the fields of strips."""
        fields = self.fields
        return TILES in fields or (TILE_WIDTH in fields and ROWS_PER_STRIP not in fields)

    @property
    def is_planar(self) -> bool:
        """Whether samples are stored in separate planes."""
        return self.one(PLANES, 1) == SEPARATE and self.one(SAMPLES, 1) > 1


def check_kind(page: Page) -> tuple[int, ...]:
    """Check that the pixels can be decoded correctly; return the bits of each sample."""
    _check_compression(page)
    photometric = page.photometric
    colours = _COLOURS.get(photometric, 0)
    samples = page.one(SAMPLES, 1)
    bits = page.all(BITS, (1,))
    bits = bits * samples if len(bits) == 1 and samples <= 8 else bits
    if bits[0] > 16 or not set(page.all(SAMPLE_FORMAT)) <= {_UNSIGNED, _UNDEFINED}:
        raise page.source.unsupported(
            f"it is a TIFF of {bits[0]}-bit samples whose black and white levels are undefined "
            "(signed, floating-point, or more than 16 bits)",
            "Set the range in the program that made it, and save it with unsigned 8-bit or 16-bit "
            "samples.",
        )
    # A fourth, undeclared sample of RGB is alpha.
    extra = len(page.extra) or int(photometric == RGB and samples == 4)
    if colours == 1 and samples > 2:  # decoders would keep only the first one
        raise page.source.unsupported(
            f"it is a TIFF of {samples} grey samples per pixel that are not declared as red, green "
            "and blue",
            "Save it as RGB.",
        )
    readable = (
        len(bits) == samples == colours + extra
        and set(bits) in ({1}, {2}, {4}, {8}, {16})
        and not (bits[0] == 16 and photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB))
    )
    if not readable:
        raise page.source.unsupported(
            f"it is a TIFF of an uncommon kind (photometric {photometric}, {samples} samples of "
            f"bits {bits[:8]})"
        )
    return bits


def _check_compression(page: Page) -> None:
    compression = page.one(COMPRESSION, RAW)
    if compression not in _READABLE or not can_decode(compression):
        name = _COMPRESSIONS.get(compression, "an unknown method")
        raise page.source.unsupported(
            f"it is a TIFF compressed with {name} (number {compression}), which cannot be read",
            "Save it as PNG, or as TIFF with LZW or Deflate compression.",
        )


def can_decode(compression: int) -> bool:
    """Return whether Pillow's libtiff supports a compression (field 259); True if unknown."""
    library = _library()
    return library is None or bool(library.TIFFIsCODECConfigured(compression))


@cache
def _library() -> ctypes.CDLL | None:
    """Find libtiff in Pillow and silence it; None if Pillow doesn't show it (Windows).

    libtiff would print errors to standard error without the image's name. Pillow, its only user,
    raises exceptions anyway.
    """
    try:
        library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = getattr(library, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
        library.TIFFIsCODECConfigured.argtypes = [ctypes.c_uint16]
        library.TIFFIsCODECConfigured.restype = ctypes.c_int
    except (ImportError, AttributeError, OSError):  # where it is, is not part of Pillow's API
        return None
    return library
