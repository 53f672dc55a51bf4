"""The bytes of one image with bounds kept, and what its container says about the picture."""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import (
    NotAnImageError,
    TooManyPixelsError,
    TruncatedImageError,
)
from hematovision.extras import missing_extra

__all__ = ["MAX_ASPECT", "MAX_SIDE", "Picture", "Source"]

MAX_SIDE = 65_535
"""Longest side in pixels: JPEG and GIF hold no more, and no microscope camera has as many."""

MAX_ASPECT = 100
"""Longer to shorter side: stretched to a square, no cell could be told beyond far less."""


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one image file, read with their bounds checked.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What errors call it.
    max_pixels : int
        Width times height that may not be exceeded.
    max_aspect : int
        Longer to shorter side that may not be exceeded.
    """

    data: bytes
    name: str
    max_pixels: int
    max_aspect: int = MAX_ASPECT

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Read whole numbers at `offset`, laid out as `struct` describes.

        Raises
        ------
        TruncatedImageError
            If they are not all inside the file.
        """
        self.require(offset, struct.calcsize(layout))
        return struct.unpack_from(layout, self.data, offset)

    def take(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; raises as `unpack` does."""
        self.require(offset, length)
        return self.data[offset : offset + length]

    def require(self, offset: int, length: int) -> None:
        """Raise `TruncatedImageError` unless the file holds `length` bytes from `offset`."""
        if offset < 0 or length < 0 or offset + length > len(self.data):
            raise self.damaged(
                f"the file ends early: it has {len(self.data):,} bytes, but its header announces "
                f"at least {offset + length:,}"
            )

    def check_size(self, width: int, height: int) -> None:
        """Refuse a picture of no pixels, of more than the limit, or out of all proportion.

        Decoders and `fit` take time and memory for each row and column, too, so that a file of
        1 kB with a side of millions would cost more than any real image.

        Raises
        ------
        TruncatedImageError, TooManyPixelsError
        """
        if width < 1 or height < 1:
            raise self.damaged(f"it declares {width} x {height} pixels")
        short, long = sorted((width, height))
        if width * height > self.max_pixels:
            reason = (
                f"{width} x {height} = {width * height:,} pixels; the limit is "
                f"{self.max_pixels:,}. Cut it into parts, or make it smaller."
            )
        elif long > MAX_SIDE:
            reason = (
                f"{width} x {height} pixels; the limit is {MAX_SIDE:,} for either side. Cut it "
                "into parts, or make it smaller."
            )
        elif long > self.max_aspect * short:
            reason = (
                f"{width} x {height} pixels; one side may be at most {self.max_aspect} times the "
                "other. Cut it into parts that show whole cells."
            )
        else:
            return
        raise TooManyPixelsError(self.name, f"it declares {reason}")

    def require_module(self, module: str, kind: str) -> None:
        """Raise `NotAnImageError` if the extra that reads this kind of image is not installed."""
        if importlib.util.find_spec(module) is None:
            missing = missing_extra("formats", module, f"it is {kind}. Reading it")
            raise NotAnImageError(self.name, str(missing))

    def damaged(self, reason: str) -> TruncatedImageError:
        """Make the error for an image that is cut or altered."""
        return TruncatedImageError(
            self.name, f"{reason}. Copy it again from where it came from, or leave it out."
        )

    def overloaded(self, kind: str, limit: int, parts: str) -> TruncatedImageError:
        """Make the error for a file of more parts than any encoder writes.

        Each part costs time, however small it is, so that they are counted before work is done.
        """
        return TruncatedImageError(
            self.name,
            f"the {kind} has more than {limit:,} {parts}, far more than its pixels need. Open it "
            "and save it again, or leave it out.",
        )

    def unsupported(self, reason: str, advice: str = "Save it as an 8-bit PNG.") -> NotAnImageError:
        """Make the error for content that is no image of an accepted kind."""
        return NotAnImageError(self.name, f"{reason}. {advice}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as its container describes it, ready for the decoder.

    Parameters
    ----------
    format : {"JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "AVIF", "HEIF", "JPEG2000", "DICOM"}
        Which decoder it needs.
    width, height : int
        In pixels as stored, before the orientation is applied.
    data : bytes
        The file, reduced to what the pixels need.
    orientation : int
        1 to 8, as in Exif 2.32, section 4.6.4, tag Orientation.
    bits : int
        Per sample, as stored: 16, or anything else for pictures that are 8 bits once decoded.
    transparent : tuple of int
        The grey or RGB value that stands for "nothing here", in stored units; empty if none.
    inverted : bool
        Whether the decoded numbers run from white to black.
    associated : bool
        Whether colours are stored already multiplied by their alpha.
    open_ended : bool
        Whether decoding does not fail where coded data end early: a JPEG in several scans. Such
        data are whole if the decoder makes nothing of what is put between them and the end marker.
    planes : int
        How many pages of `data` hold one sample each, in order; 1 where the picture is one page.
    parts : tuple of Picture
        The JPEGs inside a TIFF, which its own decoder does not check; each must decode by itself.
    white : int
        Of 16-bit samples, the largest value that is declared; 0 where none is.
    negative : bool
        Whether the picture, once decoded, has black and white swapped.
    pixels : array of uint8, (H, W, 3), or None
        The picture itself, where reading the container brings it.
    """

    format: str
    width: int
    height: int
    data: bytes
    orientation: int = 1
    bits: int = 8
    transparent: tuple[int, ...] = ()
    inverted: bool = False
    associated: bool = False
    open_ended: bool = False
    planes: int = 1
    parts: tuple[Picture, ...] = ()
    white: int = 0
    negative: bool = False
    pixels: NDArray[np.uint8] | None = None
