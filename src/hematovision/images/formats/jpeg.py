"""JPEG: markers from the first to the end of the image (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct

from hematovision.images.formats.exif import read_orientation
from hematovision.images.formats.picture import Picture, Source

__all__ = ["inspect"]

# A marker is 0xFF and a code; 0xFF00 is a stuffed data byte and D0 to D7 are restarts inside the
# coded data (T.81, B.1.1.5), so neither ends a scan. Fill bytes 0xFF may stand before a marker.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_STANDALONE = frozenset({0x01, 0xD8})
_END, _SCAN, _APP0, _APP1, _APP14, _COMMENT = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_READABLE_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # not lossless or hierarchical
_COMPONENTS = (1, 3, 4)

# Each scan of a progressive JPEG passes over the whole picture, so a file of a few kB with
# thousands of empty scans keeps a decoder busy for minutes. Encoders write about 10 scans.
_MAX_SCANS = 100

# Each marker costs a loop's round, and a file has room for 134 million. `MAX_BYTES` of metadata
# come in 4,096 segments; restart markers are not among them.
_MAX_SEGMENTS = 2**14


class _Walk:
    """The segments of one JPEG, gathered from start to end."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.pieces = [b"\xff\xd8"]
        self.frame: tuple[int, ...] = ()
        self.scans = 0
        self.orientation = 1
        self.adobe = False

    def run(self) -> None:
        """Visit every segment up to the end of the image."""
        start, code, stop = self._next_marker(2)
        for _ in range(_MAX_SEGMENTS):
            if code == _END:
                self.pieces.append(b"\xff\xd9")
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
            self._count_scan()
        elif code == _APP1 and content.startswith(b"Exif\0\0"):
            self.orientation = read_orientation(content)
        elif code == _APP14 and content.startswith(b"Adobe") and len(content) >= 12:
            self.adobe = True
            return True
        if code == _APP0:  # JFIF says that three components are YCbCr
            return content.startswith(b"JFIF\0")
        return code not in _APPLICATION and code not in _STANDALONE and code != _COMMENT

    def _read_frame(self, code: int, content: bytes) -> None:
        if len(content) < 6 or self.frame:
            raise self.source.damaged("the JPEG's frame header is cut or given twice")
        bits, components = content[0], content[5]
        if code not in _READABLE_FRAMES or bits != 8 or components not in _COMPONENTS:
            raise self.source.unsupported(
                f"it is a JPEG of an uncommon kind (frame type {code - 0xC0}, {bits} bits, "
                f"{components} components)"
            )
        height, width = struct.unpack_from(">HH", content, 1)
        self.source.check_size(width, height)
        self.frame = (width, height, components)

    def _count_scan(self) -> None:
        self.scans += 1
        if self.scans > _MAX_SCANS:
            raise self.source.overloaded("JPEG", _MAX_SCANS, "scans")


def inspect(source: Source) -> Picture:
    """Check a JPEG from start to end and describe it; bytes after its end are ignored."""
    walk = _Walk(source)
    walk.run()
    if not walk.frame or not walk.scans:
        raise source.damaged("the JPEG has no picture in it")
    width, height, components = walk.frame
    return Picture(
        format="JPEG",
        width=width,
        height=height,
        data=b"".join(walk.pieces),
        orientation=walk.orientation,
        # Adobe's programs store CMYK inverted and say so by their marker (libjpeg.txt, "Special
        # color spaces").
        inverted=walk.adobe and components == 4,
    )
