"""Matching boxes to an image's pixels: scale and EXIF orientation.

Annotation tools differ in whether they apply the EXIF orientation, and images are sometimes resized
without updating the box files. The size in a box file shows which is the case. If it fits neither,
the boxes would be in the wrong places.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hematovision.errors import AnnotationError, ImageError
from hematovision.images import MAX_PIXELS
from hematovision.images.boxes import Box, Size, scale_box, turn_box
from hematovision.images.formats import Source, inspect, read_orientation

__all__ = ["Frame", "find_frame"]

_JPEG, _EXIF, _EXIF_BYTES = b"\xff\xd8", b"Exif\0\0", 2**17
_ROUNDING = 1.0  # pixel, of the smaller size
_UNCLEAR = (
    "Images have an EXIF rotation, and their box file does not show whether its boxes are for the "
    "rotated image; they were read as for the rotated image"
)
_ROUNDED = (
    "Sizes in the box file differ from those of the images by one pixel; boxes were not scaled"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The transformation from a box file's coordinates to pixels of the upright image."""

    width: int  # of the upright image
    height: int
    scale: tuple[float, float] = (
        1.0,
        1.0,
    )  # from the box file's pixels to the image's, before it is turned
    orientation: int = 1  # EXIF orientation to apply to the boxes
    note: str = ""  # describes the transformation in the report

    def upright(self, box: Box) -> Box:
        """Return a box in pixels of the upright image."""
        if self.scale == (1.0, 1.0) and self.orientation == 1:
            return box
        return turn_box(scale_box(box, *self.scale), self.orientation, self.width, self.height)


def find_frame(image: Path, pixels: Size, declared: Size | None) -> Frame:
    """Compare the size of an upright image with the size declared in its box file.

    Raises `AnnotationError` if they contradict each other.
    """
    width, height = pixels
    if declared is None or declared == pixels:
        return Frame(width, height, note=_unclear(image, declared))
    stored = (height, width)
    as_stored = declared == stored and _orientation(image) > 4
    if _is_rounding(declared, pixels) and not as_stored:
        return Frame(width, height, note=_unclear(image, declared) or _ROUNDED)
    if _is_scaled(declared, pixels) and not as_stored:
        scale = (width / declared[0], height / declared[1])
        return Frame(width, height, scale, note=f"Boxes were {_scaled(scale, declared, pixels)}")
    orientation = _orientation(image)
    if orientation > 4 and _is_scaled(declared, stored):
        scale, done = (1.0, 1.0), "turned upright"
        if not _is_rounding(declared, stored):
            scale = (stored[0] / declared[0], stored[1] / declared[1])
            done = f"{_scaled(scale, declared, stored)}, and {done}"
        note = f"Boxes were {done}: they are for the image as stored, without its EXIF rotation"
        return Frame(width, height, scale, orientation, note)
    raise AnnotationError(
        f"its box file declares {_show(declared)} pixels, but the image has {_show(pixels)}, so "
        "the boxes would be in the wrong places. Correct the size in the box file, or use the "
        "image that was annotated"
    )


def _unclear(image: Path, declared: Size | None) -> str:
    """Return a note if it is unknown whether the boxes are for the upright image."""
    orientation = _camera_orientation(image)
    clear = declared is not None and declared[0] != declared[1] and orientation > 4
    return "" if orientation == 1 or clear else _UNCLEAR


def _is_rounding(declared: Size, pixels: Size) -> bool:
    """Return whether two sizes differ by at most a pixel, as when a tool counts from 0."""
    return all(abs(a - b) <= _ROUNDING for a, b in zip(declared, pixels, strict=True))


def _is_scaled(declared: Size, pixels: Size) -> bool:
    """Return whether one size is a multiple of the other, with sides rounded to whole pixels."""
    difference = abs(declared[0] * pixels[1] - declared[1] * pixels[0])
    return difference <= max(*declared, *pixels) * _ROUNDING


def _orientation(image: Path) -> int:
    try:
        return inspect(Source(image.read_bytes(), str(image), MAX_PIXELS)).orientation
    except (ImageError, OSError):
        return 1


def _camera_orientation(image: Path) -> int:
    """Return a JPEG's orientation from its first bytes; cameras do not write other formats."""
    with image.open("rb") as stream:
        start = stream.read(_EXIF_BYTES)
    position = start.find(_EXIF) if start.startswith(_JPEG) else -1
    return 1 if position < 0 else read_orientation(start[position:])


def _scaled(scale: tuple[float, float], declared: Size, pixels: Size) -> str:
    return f"scaled by {scale[0]:.4g}, from {_show(declared)} to {_show(pixels)}"


def _show(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
