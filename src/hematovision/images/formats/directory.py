"""TIFF's directories of tags, classic and big: read with limits, written classic (TIFF 6.0)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hematovision.images.formats.picture import Source

__all__ = [
    "LONG",
    "MAX_PAGES",
    "SHORT",
    "Directory",
    "Entry",
    "Field",
    "Layout",
    "append_directories",
    "field",
    "longs",
    "numbers",
    "read_directories",
    "read_layout",
    "shorts",
]

MAX_PAGES = 4096
"""Pages of one file; more are a recording, not an image."""

# Directories may overlap, so that a small file could hold work for hours: pages and entries are
# counted before they are read. Pages with more than 16 entries each are rare.
_MAX_ENTRIES = 16 * MAX_PAGES

SHORT, LONG = 3, 4
# Bytes per value of each field type (TIFF 6.0, section 2; 13 and 16 to 18 from its supplements).
_TYPE_BYTES = dict(zip(range(1, 14), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), strict=True))
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_VALUES_BYTES = 2**20  # of a field that is taken over; JPEG tables have some hundred
_BIG_TYPES = frozenset({13, 16, 18})


@dataclass(frozen=True, slots=True)
class Layout:
    """How the numbers of one TIFF are laid out: its byte order, and classic or big."""

    order: str
    big: bool

    @property
    def count(self) -> str:
        """The number of entries that begins a directory."""
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> str:
        """Tag, type, number of values, and the values or their place."""
        return self.order + ("HHQ8s" if self.big else "HHI4s")

    @property
    def offset(self) -> str:
        """A place in the file."""
        return self.order + ("Q" if self.big else "I")


@dataclass(frozen=True, slots=True)
class Entry:
    """One field as it stands in the file: its type, how many values, and where they lie."""

    kind: int
    count: int
    place: int


Directory = Mapping[int, Sequence[Entry]]
"""The entries of each tag; readers differ on which one counts where there are several."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field to be written: its type, how many values, and their bytes."""

    kind: int
    count: int
    values: bytes


def read_layout(source: Source) -> Layout:
    """Read byte order and version from a TIFF's first four bytes."""
    order = "<" if source.data.startswith(b"II") else ">"
    (version,) = source.unpack(f"{order}H", 2)
    return Layout(order, big=version == 43)


def read_directories(source: Source, layout: Layout) -> Iterator[Directory]:
    """Yield the directory of every page, each checked to lie inside the file with its values.

    Raises
    ------
    TruncatedImageError
        If one does not, or if the chain of pages runs in a circle.
    NotAnImageError
        If there are more than `MAX_PAGES` pages, or as many entries as these could have.
    """
    (offset,) = source.unpack(layout.offset, 8 if layout.big else 4)
    seen, entries = set[int](), 0
    while offset:
        if offset in seen:
            raise source.damaged("the TIFF's pages run in a circle")
        seen.add(offset)
        (count,) = source.unpack(layout.count, offset)
        entries += count
        if len(seen) > MAX_PAGES or entries > _MAX_ENTRIES:
            raise source.unsupported(
                f"it is a TIFF of more than {MAX_PAGES:,} pages, or of more than "
                f"{_MAX_ENTRIES:,} fields; expected one picture",
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
    block = memoryview(source.data)[start : start + size]
    for tag, kind, count, tail in struct.iter_unpack(layout.entry, block):
        length, place = _TYPE_BYTES.get(kind, 0) * count, position
        if length > len(tail):
            (place,) = struct.unpack(layout.offset, tail)
            source.require(place, length)
        directory.setdefault(tag, []).append(Entry(kind, count, place))
        position += struct.calcsize(layout.entry)
    return directory


def numbers(source: Source, layout: Layout, entry: Entry) -> tuple[int, ...]:
    """Read the values of a field of whole numbers."""
    code = _WHOLE_NUMBERS.get(entry.kind)
    if code is None or not entry.count:
        raise source.damaged("a field of the TIFF that must hold whole numbers does not")
    return source.unpack(f"{layout.order}{entry.count}{code}", entry.place)


def field(source: Source, layout: Layout, entry: Entry) -> Field:
    """Take a field over as it is, but for numbers of 8 bytes, which classic TIFF lacks."""
    if entry.kind in _BIG_TYPES:
        return longs(layout, numbers(source, layout, entry))
    length = _TYPE_BYTES.get(entry.kind, 0) * entry.count
    if length > _MAX_VALUES_BYTES:
        raise source.damaged(f"a field of the TIFF has {length:,} bytes, more than any needs")
    return Field(entry.kind, entry.count, source.take(entry.place, length))


def shorts(layout: Layout, *values: int) -> Field:
    """Make a field of SHORTs."""
    return Field(SHORT, len(values), struct.pack(f"{layout.order}{len(values)}H", *values))


def longs(layout: Layout, values: Sequence[int]) -> Field:
    """Make a field of LONGs; no place in a file within our limits needs more."""
    large = [min(value, 2**32 - 1) for value in values]
    return Field(LONG, len(large), struct.pack(f"{layout.order}{len(large)}I", *large))


def append_directories(
    source: Source, layout: Layout, directories: Sequence[Mapping[int, Field]]
) -> bytes:
    """Return the file as a classic TIFF whose only pages are `directories`; pixels stay in place.

    Pillow cannot read big TIFFs of the other byte order, and classic ones hold all that fits.
    """
    mark = b"II*\0" if layout.order == "<" else b"MM\0*"
    position = len(source.data) + len(source.data) % 2
    if position > 2**31:
        raise source.unsupported(f"it is a TIFF of {len(source.data):,} bytes")
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
    """Lay out one directory that begins at `start`, with its values behind it."""
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
