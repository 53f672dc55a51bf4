"""The bytes of an image file, read with bounds checks, and the description of its image."""

from __future__ import annotations

import importlib.util
import io
import struct
import threading
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import (
    NotAnImageError,
    TooManyPixelsError,
    TruncatedImageError,
    UnreadableFileError,
)
from hematovision.extras import missing_extra
from hematovision.limits import MAX_PIXELS

__all__ = [
    "MAX_ASPECT", "MAX_SIDE", "SLIDE_ADVICE", "EncodedImage", "FileSource", "Source",
    "read_orientation", "shown_bytes",
]  # fmt: skip

MAX_SIDE = 65_535
"""Longest side in pixels: the limit of JPEG and GIF, and more than any microscope camera's."""

MAX_ASPECT = 100
"""Longer side over shorter side: beyond this, no cell is recognisable."""


SLIDE_ADVICE = ", or count the cells of a whole slide with `hematovision analyze`"


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one image file, read with bounds checks."""

    data: bytes  # the whole file
    name: str  # the image's name in errors
    max_pixels: int  # maximum width times height
    max_aspect: int = MAX_ASPECT  # maximum longer side over shorter side

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Read integers at `offset` in a `struct` layout; raises like `require`."""
        return struct.unpack(layout, self.take(offset, struct.calcsize(layout)))

    def take(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; raises like `require`."""
        self.require(offset, length)
        return self.data[offset : offset + length]

    def require(self, offset: int, length: int) -> None:
        """Raise `TruncatedImageError` unless the file has `length` bytes from `offset`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.damaged(
                f"the file ends early: it has {self.size:,} bytes, but its header declares "
                f"at least {offset + length:,}"
            )

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return len(self.data)

    def check_size(self, width: int, height: int) -> None:
        """Raise an error for an image without pixels, or with a size beyond the limits.

        Each row and column costs time and memory: a file of 1 kB with a side of millions of pixels
        would cost more than any real image.
        """
        if width < 1 or height < 1:
            raise self.damaged(f"it declares {width} x {height} pixels")
        short, long = sorted((width, height))
        if width * height > self.max_pixels:
            reason = (
                f"{width} x {height} = {width * height:,} pixels; the limit is "
                f"{self.max_pixels:,}. Crop it or scale it down"
                f"{self._slide_advice or _tiling_advice(width * height)}."
            )
        elif long > MAX_SIDE:
            reason = (
                f"{width} x {height} pixels; the limit for each side is {MAX_SIDE:,}. Crop it or "
                f"scale it down{self._slide_advice}."
            )
        elif long > self.max_aspect * short:
            reason = (
                f"{width} x {height} pixels; one side may be at most {self.max_aspect} times the "
                "other. Crop it to regions that show whole cells."
            )
        else:
            return
        raise TooManyPixelsError(self.name, f"it declares {reason}")

    @property
    def _slide_advice(self) -> str:
        """Advice for a TIFF, which may be a slide."""
        return SLIDE_ADVICE if self.data.startswith((b"II", b"MM")) else ""

    def require_module(self, module: str, kind: str) -> None:
        """Raise `NotAnImageError` if the module that reads this kind of image is not installed."""
        if importlib.util.find_spec(module) is None:
            missing = missing_extra("formats", module, f"it is {kind}. Reading it")
            raise NotAnImageError(self.name, str(missing))

    def damaged(self, reason: str) -> TruncatedImageError:
        """Return the error for a truncated or damaged image."""
        return TruncatedImageError(
            self.name, f"{reason}. Copy the file again from its source, or leave it out."
        )

    def overloaded(self, kind: str, limit: int, parts: str) -> TruncatedImageError:
        """Return the error for a file with more parts than any encoder writes.

        Even a small part takes time, so parts are counted before they are processed.
        """
        return TruncatedImageError(
            self.name,
            f"the {kind} has more than {limit:,} {parts}, far more than its pixels need. Save it "
            "again in an image editor, or leave it out.",
        )

    def unsupported(self, reason: str, advice: str = "Save it as an 8-bit PNG.") -> NotAnImageError:
        """Return the error for content that is not an image of an accepted kind."""
        return NotAnImageError(self.name, f"{reason}. {advice}")


def _tiling_advice(pixels: int) -> str:
    """Return advice for an image that no command reads at once."""
    tiled = ", or save it as a TIFF in tiles, which `hematovision analyze` reads by region"
    return tiled if pixels > MAX_PIXELS else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource(Source):
    """A file that may be larger than memory: only the bytes that are needed are read.

    `data` is empty. Threads take turns to read.
    """

    stream: BinaryIO
    length: int  # in bytes
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, stream: BinaryIO, name: str, max_pixels: int) -> FileSource:
        """Return the source of an open file."""
        return cls(b"", name, max_pixels, stream=stream, length=stream.seek(0, io.SEEK_END))

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self.length

    def take(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; raises like `require`."""
        self.require(offset, length)
        try:
            with self.lock:
                self.stream.seek(offset)
                content = self.stream.read(length)
        except (OSError, ValueError) as error:  # ValueError: the file was closed
            raise UnreadableFileError(self.name, f"the file cannot be read: {error}.") from error
        if len(content) < length:
            raise self.damaged("the file was cut while it was read")
        return content


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image as described by its container, ready for the decoder."""

    format: str  # JPEG, PNG, TIFF, BMP, WEBP, GIF, AVIF, HEIF, JPEG2000 or DICOM
    width: int  # in pixels as stored, before the orientation is applied
    height: int
    data: bytes  # the file, reduced to the data that the pixels need
    orientation: int = 1  # 1 to 8, as in Exif 2.32, section 4.6.4, tag Orientation
    # per sample, as stored; unless it is 16, the decoded image has 8 bits
    bits: int = 8
    # the grey or RGB value of transparent pixels, in stored units; empty if there is none
    transparent: tuple[int, ...] = ()
    inverted: bool = False  # whether decoded values run from white to black
    associated: bool = False  # whether stored colours are already multiplied by alpha
    # whether the decoder accepts coded data that ends early: a JPEG in several scans. Such data is
    # complete if bytes inserted before the end marker do not change the decoded image
    open_ended: bool = False
    # number of pages of `data` with one sample each, in order; 1 if the image is one page
    planes: int = 1
    # the JPEGs inside a TIFF, which the TIFF decoder does not check; each is decoded separately
    parts: tuple[EncodedImage, ...] = ()
    white: int = 0  # the declared maximum of 16-bit samples; 0 if none is declared
    negative: bool = False  # whether to swap black and white after decoding
    pixels: NDArray[np.uint8] | None = None  # the decoded image, if reading the container yields it


_ORIENTATION = 0x0112
_SHORT = 3
_PREFIX = b"Exif\0\0"


def read_orientation(block: bytes) -> int:
    """Return the orientation in an EXIF block: 1 to 8; 1 (upright) if it is missing or damaged.

    The block is the content of JPEG's APP1, PNG's ``eXIf`` or WebP's ``EXIF``: a small TIFF
    directory (Exif 2.32, section 4.5.2), with or without the prefix ``Exif``.
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


def shown_bytes(data: bytes) -> str:
    """Return bytes for a message: plain text quoted, everything else in hexadecimal.

    Examples
    --------
    >>> shown_bytes(b"<html>")
    '"<html>"'
    >>> shown_bytes(bytes([0, 255]))
    'the bytes 00 ff'
    """
    if data and all(32 <= byte < 127 for byte in data):
        return f'"{data.decode("ascii")}"'
    return f"the bytes {data.hex(' ')}"
