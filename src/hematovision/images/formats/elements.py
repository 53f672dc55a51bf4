"""DICOM's data elements up to the pixels, with limits (PS3.5, section 7; PS3.10, section 7).

Of some 5,000 attributes the picture needs twenty, and those of the header's first level only. So
they are walked here, counted, and nothing else is made of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hematovision.images.formats.picture import Source

__all__ = ["PREFIX", "UNKNOWN_LENGTH", "Header", "read_header"]

PREFIX = b"DICM"
"""Stands at byte 128 of every DICOM file."""

UNKNOWN_LENGTH = 0xFFFFFFFF
"""Declared where the end is marked instead."""

_IMPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_SYNTAX, _PIXELS = 0x00020010, 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
# Each element costs a loop's round. Headers have some hundred; 65,536 fit into half a second.
_MAX_ELEMENTS = 2**16
_MAX_VALUE = 2**18  # of a value that is kept: a table of colours has 131,072 bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says of its picture.

    Parameters
    ----------
    values : mapping of int to bytes
        The values of the first level, by group and number as one.
    syntax : str
        The transfer syntax.
    start, length : int
        Where the value of the pixels begins, and how long it is.
    """

    values: Mapping[int, bytes]
    syntax: str
    start: int
    length: int

    @property
    def order(self) -> str:
        """The order of bytes, as `struct` writes it."""
        return ">" if self.syntax == _BIG else "<"

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the 16-bit numbers of an element; none where it is missing."""
        value = self.values.get(tag, b"")
        return struct.unpack(f"{self.order}{len(value) // 2}H", value[: len(value) // 2 * 2])

    def text(self, tag: int) -> str:
        """Return the text of an element; empty where it is missing."""
        return self.values.get(tag, b"").decode("latin-1").strip(" \0")

    def decimals(self, tag: int) -> tuple[float, ...]:
        """Return the numbers that an element holds as text.

        Raises
        ------
        ValueError
            If they are none.
        """
        text = self.text(tag)
        return tuple(map(float, text.split("\\"))) if text else ()


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    start: int
    length: int


def read_header(source: Source) -> Header:
    """Read the elements of a file up to its pixels.

    Raises
    ------
    TruncatedImageError
        If the file ends before them, or has too many elements.
    NotAnImageError
        If there are none, or the elements are deflated, which may inflate to any size.
    """
    begin, syntax = _read_syntax(source)
    if not syntax:
        raise source.damaged("the DICOM file has no transfer syntax, which says how it is coded")
    if syntax == _DEFLATED:
        raise source.unsupported("it is a deflated DICOM file", "Save it uncompressed.")
    values = dict[int, bytes]()
    order, implicit = ">" if syntax == _BIG else "<", syntax == _IMPLICIT
    for element in _walk(source, begin, order, implicit=implicit):
        if element.tag == _PIXELS:
            return Header(values, syntax, element.start, element.length)
        if element.length <= _MAX_VALUE:
            values[element.tag] = source.take(element.start, element.length)
    raise source.unsupported("it is a DICOM file without an image")


def _read_syntax(source: Source) -> tuple[int, str]:
    """Return where the data set begins, and its transfer syntax; the elements before are few."""
    position, syntax = 128 + len(PREFIX), ""
    for _ in range(_MAX_ELEMENTS):
        if position >= len(source.data) or source.unpack("<H", position) != (2,):
            return position, syntax
        element, _ = _element(source, position, "<", implicit=False)
        value = source.take(element.start, element.length)
        if element.tag == _SYNTAX:
            syntax = value.decode("latin-1").strip(" \0")
        position = element.start + element.length
    raise source.overloaded("DICOM file", _MAX_ELEMENTS, "elements before its pixels")


def _walk(source: Source, position: int, order: str, *, implicit: bool) -> Iterator[_Element]:
    """Give the elements of the first level up to the pixels; what is nested is passed over."""
    coding = [implicit]  # of each level: what a sequence of unknown type holds is implicit
    for _ in range(_MAX_ELEMENTS):
        if position >= len(source.data):
            return
        element, known = _element(source, position, order, implicit=coding[-1])
        position = element.start
        if element.tag in (_ITEM_END, _SEQUENCE_END):
            if len(coding) < 2:
                raise source.damaged("its DICOM header ends a sequence that did not begin")
            coding.pop()
            continue
        first_level = len(coding) == 1
        if first_level and element.tag == _PIXELS:
            yield element
            return
        if element.length == UNKNOWN_LENGTH:
            coding.append(coding[-1] or not known)
            continue
        source.require(position, element.length)
        position += element.length
        if first_level:
            yield element
    raise source.overloaded("DICOM file", _MAX_ELEMENTS, "elements before its pixels")


def _element(source: Source, position: int, order: str, *, implicit: bool) -> tuple[_Element, bool]:
    """Read the head of an element; also return whether its type is given and known."""
    group, number = source.unpack(f"{order}HH", position)
    tag = group << 16 | number
    if implicit or group == 0xFFFE:
        (length,) = source.unpack(f"{order}I", position + 4)
        return _Element(tag, position + 8, length), group == 0xFFFE
    kind = source.take(position + 4, 2)
    if not kind.isalpha() or not kind.isupper():
        raise source.damaged("its DICOM header has an element of no known type")
    if kind in _LONG:
        (length,) = source.unpack(f"{order}I", position + 8)
        return _Element(tag, position + 12, length), kind != b"UN"
    (length,) = source.unpack(f"{order}H", position + 6)
    return _Element(tag, position + 8, length), True
