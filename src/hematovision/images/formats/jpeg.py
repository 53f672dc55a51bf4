"""JPEG: markers from the first to the end of the image (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from hematovision.images.formats.source import EncodedImage, Source, read_orientation

__all__ = ["inspect", "with_colours"]

# A marker is 0xFF and a code; 0xFF00 is a stuffed data byte and D0 to D7 are restarts inside the
# coded data (T.81, B.1.1.5), so neither ends a scan. Fill bytes 0xFF may precede a marker.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_STANDALONE = frozenset({0x01, 0xD8})
_END_MARKER = b"\xff\xd9"
_END, _SCAN, _APP0, _APP1, _APP14, _COMMENT = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_READABLE_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # not lossless or hierarchical
_COMPONENTS = (1, 3, 4)
_PROGRESSIVE, _ARITHMETIC = frozenset({0xC2, 0xCA}), frozenset({0xC9, 0xCA})

# A truncated JPEG with an end marker looks complete: the decoder fills the missing blocks with grey
# without an error. Without the marker, it requests more data instead. It reads up to 8 bytes ahead,
# so 8 bytes follow: all ones, which is not a Huffman code (T.81, C.2) and ends at most two blocks.
_LOOK_AHEAD = b"\xff\0" * 8

_ADOBE_SEGMENT = re.compile(rb"\xff\xee\0[\x0e-\xff]Adobe")

# Each scan of a progressive JPEG covers the whole image: a few kB with thousands of empty scans
# would keep the decoder busy for minutes. Encoders write about 10 scans.
_MAX_SCANS = 100

# Each marker takes time, and a file can contain 134 million. `MAX_BYTES` of metadata need 4,096
# segments; restart markers are not counted.
_MAX_SEGMENTS = 2**14


class _Walk:
    """Visits the segments of a JPEG, and collects those that the pixels need."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.pieces = [b"\xff\xd8"]
        self.frame: _Frame | None = None
        self.scans = 0
        self.missing = dict[int, set[int]]()
        self.orientation = 1
        self.adobe = False

    def run(self) -> None:
        """Visit every segment to the end of the image."""
        start, code, stop = self._next_marker(2)
        for _ in range(_MAX_SEGMENTS):
            if code == _END:
                return
            content = b""
            if code not in _STANDALONE:
                (length,) = self.source.unpack(">H", stop)
                if length < 2:
                    raise self.source.damaged(f"the JPEG has a segment of {length} bytes")
                content = self.source.take(stop + 2, length - 2)
                stop += length
            following = self._next_marker(stop)
            if self._wanted(code, content):
                self.pieces.append(self.source.data[start : following[0]])
            start, code, stop = following
        raise self.source.overloaded("JPEG", _MAX_SEGMENTS, "segments")

    def _next_marker(self, offset: int) -> tuple[int, int, int]:
        found = _MARKER.search(self.source.data, offset)
        if found is None:
            raise self.source.damaged("the JPEG ends early: its end-of-image marker is missing")
        return found.start(), self.source.data[found.end() - 1], found.end()

    def _wanted(self, code: int, content: bytes) -> bool:
        if code in _FRAMES:
            self._read_frame(code, content)
        elif code == _SCAN:
            self._read_scan(content)
        elif code == _APP1 and content.startswith(b"Exif\0\0"):
            self.orientation = read_orientation(content)
        elif code == _APP14 and content.startswith(b"Adobe") and len(content) >= 12:
            self.adobe = True
            return True
        if code == _APP0:  # JFIF: three components are YCbCr
            return content.startswith(b"JFIF\0")
        return code not in _APPLICATION and code not in _STANDALONE and code != _COMMENT

    def _read_frame(self, code: int, content: bytes) -> None:
        if len(content) < 6 or self.frame:
            raise self.source.damaged("the JPEG's frame header is cut or repeated")
        bits, components = content[0], content[5]
        if code not in _READABLE_FRAMES or bits != 8 or components not in _COMPONENTS:
            raise self.source.unsupported(
                f"it is a JPEG of frame type {code - 0xC0} with {bits} bits and {components} "
                "components; expected baseline or progressive, 8 bits and 1, 3 or 4 components"
            )
        height, width = struct.unpack_from(">HH", content, 1)
        self.source.check_size(width, height)
        parts = zip(content[6::3], content[7::3], strict=False)
        self.frame = _Frame(code, width, height, tuple((c, s >> 4, s & 15) for c, s in parts))
        if len(self.frame.components) != components:
            raise self.source.damaged("the JPEG's frame header is truncated")
        bands = range(64) if code in _PROGRESSIVE else range(1)
        self.missing = {name: set(bands) for name, _, _ in self.frame.components}

    def _read_scan(self, content: bytes) -> None:
        """Count a scan, and record which coefficients it completes."""
        self.scans += 1
        if self.scans > _MAX_SCANS:
            raise self.source.overloaded("JPEG", _MAX_SCANS, "scans")
        count = content[0] if content else 0
        if self.frame is None or len(content) != 4 + 2 * count:
            raise self.source.damaged(
                "the JPEG has a scan that is cut or precedes its frame header"
            )
        first, last, bits = content[-3:]
        for name in content[1:-3:2]:
            if self.frame.code not in _PROGRESSIVE:
                self.missing.get(name, set()).clear()
            elif bits & 15 == 0:
                self.missing.get(name, set()).difference_update(range(first, last + 1))


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame header; components are (name, across, down): name and sampling factors."""

    code: int
    width: int
    height: int
    components: tuple[tuple[int, int, int], ...]

    def least_bytes(self) -> int:
        """Return the minimum number of bytes for the blocks of an image of one colour.

        Each 8 x 8 block needs a Huffman code for its mean and one for the end of the rest, which
        progressive JPEGs share among blocks. Arithmetic codes may be shorter than a bit.
        """
        if self.code in _ARITHMETIC:
            return 0
        across = max(x for _, x, _ in self.components) or 1
        down = max(y for _, _, y in self.components) or 1
        blocks = sum(
            -(-self.width * x // (8 * across)) * -(-self.height * y // (8 * down))
            for _, x, y in self.components
        )
        return blocks * (1 if self.code in _PROGRESSIVE else 2) // 8


def inspect(source: Source) -> EncodedImage:
    """Check a JPEG from start to end and describe it; bytes after the end are ignored."""
    walk = _Walk(source)
    walk.run()
    frame = walk.frame
    if frame is None or not walk.scans:
        raise source.damaged("the JPEG contains no image")
    data = b"".join(walk.pieces)
    if any(walk.missing.values()) or len(data) < frame.least_bytes():
        raise source.damaged(
            f"the JPEG ends early: its {walk.scans} scans of {len(data):,} bytes are too short for "
            f"its {frame.width} x {frame.height} pixels"
        )
    at_once = walk.scans == 1 and frame.code not in _PROGRESSIVE | _ARITHMETIC
    return EncodedImage(
        format="JPEG",
        width=frame.width,
        height=frame.height,
        data=data + (_LOOK_AHEAD if at_once else _END_MARKER),
        orientation=walk.orientation,
        # Adobe's programs store CMYK inverted, with their marker (libjpeg.txt, "Special color
        # spaces").
        inverted=walk.adobe and len(frame.components) == 4,
        open_ended=not at_once and frame.code not in _ARITHMETIC,
    )


def with_colours(data: bytes, *, ybr: bool) -> bytes:
    """Add Adobe's marker, which declares RGB or YCbCr, to a JPEG without it or JFIF's.

    The containers of such JPEGs, DICOM and TIFF, declare the colours, but without a marker the
    decoder assumes YCbCr. The decoder ignores markers that are too short.
    """
    start = data[: 2**12]
    if _ADOBE_SEGMENT.search(start) or b"JFIF\0" in start:
        return data
    marker = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([ybr])
    return data[:2] + marker + data[2:]
