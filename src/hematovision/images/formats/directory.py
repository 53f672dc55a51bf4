"""TIFF's directories of tags, classic and big, their values inside the file (TIFF 6.0, part 1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hematovision.images.formats.picture import Source

__all__ = [
    "Directory",
    "Entry",
    "Layout",
    "append_directory",
    "numbers",
    "read_directories",
    "read_layout",
    "with_short",
]

SHORT = 3
# Bytes per value of each field type (TIFF 6.0, section 2; 13 and 16 to 18 from its supplements).
_TYPE_BYTES = dict(zip(range(1, 14), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), strict=True))
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

# Directories may overlap and point back, so that a small file could hold work for hours.
_MAX_ENTRIES = 1_000_000


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
        """Tag, type, number of values."""
        return self.order + ("HHQ" if self.big else "HHI")

    @property
    def offset(self) -> str:
        """A place in the file."""
        return self.order + ("Q" if self.big else "I")

    @property
    def inline(self) -> int:
        """How many bytes of values fit into an entry itself."""
        return 8 if self.big else 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One field: its type, how many values, where they lie, and the entry's own last bytes."""

    kind: int
    count: int
    place: int
    tail: bytes


Directory = Mapping[int, Entry]


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
        If one does not, has a field twice, or if the chain of pages runs in a circle.
    """
    (offset,) = source.unpack(layout.offset, 8 if layout.big else 4)
    seen, entries = set[int](), 0
    while offset:
        if offset in seen or entries > _MAX_ENTRIES:
            raise source.damaged("the TIFF's pages run in a circle")
        seen.add(offset)
        (count,) = source.unpack(layout.count, offset)
        entries += count
        start = offset + struct.calcsize(layout.count)
        size = struct.calcsize(layout.entry) + layout.inline
        source.require(start, count * size + layout.inline)
        directory = dict(_entry(source, layout, start + i * size) for i in range(count))
        if len(directory) < count:  # readers differ on which of two counts
            raise source.damaged("the TIFF gives a field twice")
        yield directory
        (offset,) = source.unpack(layout.offset, start + count * size)


def _entry(source: Source, layout: Layout, position: int) -> tuple[int, Entry]:
    tag, kind, count = source.unpack(layout.entry, position)
    place = position + struct.calcsize(layout.entry)
    tail = source.take(place, layout.inline)
    length = _TYPE_BYTES.get(kind, 0) * count
    if length > layout.inline:
        (place,) = source.unpack(layout.offset, place)
        source.require(place, length)
    return tag, Entry(kind, count, place, tail)


def numbers(source: Source, layout: Layout, entry: Entry) -> tuple[int, ...]:
    """Read the values of a field of whole numbers."""
    code = _WHOLE_NUMBERS.get(entry.kind)
    if code is None or not entry.count:
        raise source.damaged("a field of the TIFF that must hold whole numbers does not")
    return source.unpack(f"{layout.order}{entry.count}{code}", entry.place)


def with_short(entry: Entry, layout: Layout, value: int) -> Entry:
    """Return an entry of the same tag that holds one SHORT."""
    tail = struct.pack(f"{layout.order}H", value).ljust(layout.inline, b"\0")
    return replace(entry, kind=SHORT, count=1, tail=tail)


def append_directory(source: Source, layout: Layout, directory: Directory) -> bytes:
    """Return the file with `directory` behind it as its only page; values stay where they are."""
    data = source.data + b"\0" * (len(source.data) % 2)
    entries = b"".join(
        struct.pack(layout.entry, tag, entry.kind, entry.count) + entry.tail
        for tag, entry in sorted(directory.items())
    )
    first = 8 if layout.big else 4
    header = data[:first] + struct.pack(layout.offset, len(data))
    count = struct.pack(layout.count, len(directory))
    return b"".join((header, data[len(header) :], count, entries, b"\0" * layout.inline))
