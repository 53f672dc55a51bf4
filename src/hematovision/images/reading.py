"""Read an image file of any supported format as RGB."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import (
    EmptyImageError,
    TooManyBytesError,
    TooManyPixelsError,
    UnreadableFileError,
)
from hematovision.images import formats
from hematovision.images.decoding import decode, decode_pillow
from hematovision.images.formats.source import SLIDE_ADVICE
from hematovision.images.geometry import SIZE, fit
from hematovision.limits import MAX_BYTES, MAX_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PixelBudget", "check_size", "from_pillow", "load", "opened", "read", "read_bytes"]

_SMALL = 2**20  # pixels
_HEAVY = 2**23  # bytes of a file that are not kept while it waits for other images

# Pillow warns above this size (`PIL.Image.MAX_IMAGE_PIXELS`), and fails above twice that size.
_PILLOW_PIXELS = 89_478_485


def read(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> NDArray[np.uint8]:
    """Read an image as upright RGB.

    The format is recognised by content, not by file name:

    - JPEG (baseline and progressive; grey, RGB, YCbCr, CMYK and YCCK, inverted if Adobe's marker
      is present), PNG, TIFF (also big), BMP, WebP and GIF; the first frame. JPEG 2000 and AVIF if
      Pillow has their libraries; HEIC and DICOM with the extra ``formats``.
    - TIFF: the first page that is not a thumbnail or mask; smaller copies and further colour pages
      are ignored. Three grey pages, or grey samples of one page, become red, green and blue if the
      metadata (OME-XML, ImageJ, tifffile) declares them to be channels, in the order of their names
      or colours. Other stacks (slices, time points, several grey pages) are rejected.
    - DICOM: one frame. The range of greys is that of the stored bits, or the window if present.
    - Grey, 1-bit and palette images become RGB. Transparent pixels are blended with white.
    - 16-bit samples are scaled by their range, ``round(value / 65535 * 255)``, not by the values in
      the image, so equal greys are equal in every file. A TIFF may declare another range by OME's
      SignificantBits; by MaxSampleValue or SMaxSampleValue, unless it is the image's brightest
      sample and not ``2**n - 1`` (then it is a statistic); or by ImageJ's display range, if it is 0
      to ``2**n - 1``. A range that a sample exceeds is ignored. 16-bit samples that use at most 14
      bits and declare no range are rejected: they would be nearly black.
    - 32-bit, signed and floating-point samples are rejected because their black and white levels
      are undefined, unless a DICOM's window defines them. So are TIFFs in CIELab, 16-bit CMYK or
      16-bit grey with alpha, run-length coded BMPs, and DICOMs with several frames.
    - The EXIF orientation is applied. Colour profiles are not.
    - A file that is truncated or fails a checksum is rejected. Bytes after the end of the image are
      ignored. In TIFF, missing or zero lengths of strips or tiles are derived from the size or the
      next offset; repeated fields are an error only if the pixels need them.

    The function is thread-safe. libtiff inside Pillow is silenced once. DICOM files are read by one
    thread at a time. Meanwhile, Python's warnings are ignored in the whole process, and pydicom's
    log records reach only the handlers of its own logger.

    Parameters
    ----------
    source : str, Path or bytes
        A file's path or content.
    name : str, optional
        The image's name in errors; by default the path, or ``"<bytes>"``.
    max_pixels : int
        Limit on width times height, checked before decoding; at most Pillow's limit, 89,478,485.
    max_bytes : int
        Limit on the file size, checked before reading.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB, C-contiguous.

    Raises
    ------
    UnreadableFileError
        If the file is missing, a folder, a broken link, a device, or not readable.
    EmptyImageError
        If it has no bytes.
    TooManyBytesError, TooManyPixelsError
        If it exceeds a limit, has a side above `MAX_SIDE` or an aspect ratio above `MAX_ASPECT`, or
        does not fit in memory.
    NotAnImageError
        If the content is not an image of an accepted kind.
    TruncatedImageError
        If the image is truncated or damaged.

    Examples
    --------
    >>> from hematovision import images
    >>> images.read("field.jpg").shape  # doctest: +SKIP
    (480, 640, 3)
    """
    label = _label(source, name)
    with _within_memory(label):
        return decode(*_described(source, label, max_pixels, max_bytes))


def from_pillow(
    image: Image, *, name: str = "<image>", max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Convert a Pillow image to upright RGB, uint8 (H, W, 3), by the rules of `read`.

    The EXIF orientation is applied, transparent pixels are blended with white, and 16-bit greys are
    scaled by the range of 16 bits. Modes without a defined white (``I``, ``F``, ``LAB``) are
    rejected. `name` is the image's name in errors, `max_pixels` the limit on width times height.

    Raises
    ------
    ImageError
        As of `read`.
    """
    with _within_memory(name):
        return decode_pillow(image, _in_memory(name, max_pixels))


def check_size(
    pixels: NDArray[np.uint8], *, name: str = "<array>", max_pixels: int = MAX_PIXELS
) -> None:
    """Check that an array (H, W, 3) is within the limits of `read`.

    Raises
    ------
    TooManyPixelsError
        If it exceeds `max_pixels`, `MAX_SIDE` or `MAX_ASPECT`.
    """
    height, width = pixels.shape[:2]
    _in_memory(name, max_pixels).check_size(width, height)


def _in_memory(name: str, max_pixels: int) -> formats.Source:
    """Return the name and the limits of an image that was not read from a file."""
    return formats.Source(b"", name, min(max_pixels, _PILLOW_PIXELS))


def _described(
    source: str | Path | bytes, label: str, max_pixels: int, max_bytes: int
) -> tuple[formats.EncodedImage, formats.Source]:
    """Check that an image is complete and within the limits, without decoding it."""
    data = source if isinstance(source, bytes) else read_bytes(Path(source), label, max_bytes)
    if len(data) > max_bytes:
        raise _too_many_bytes(label, len(data), max_bytes)
    if not data:
        raise EmptyImageError(
            label, "the file is empty (0 bytes). Copy it again from its source, or leave it out."
        )
    content = formats.Source(data, label, min(max_pixels, _PILLOW_PIXELS))
    encoded = formats.inspect(content)
    content.check_size(encoded.width, encoded.height)
    return encoded, content


def load(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    budget: PixelBudget | None = None,
    size: int = SIZE,
) -> NDArray[np.uint8]:
    """Read an image and fit it to the model's input, uint8 of shape (size, size, 3).

    See `read` for accepted files and errors, and `fit` for the resize. Threads share a `budget`,
    which limits the memory used by large images.
    """
    with opened(source, name=name, max_pixels=max_pixels, budget=budget) as pixels:
        return fit(pixels, size)


@contextmanager
def opened(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    budget: PixelBudget | None = None,
    checkpoint: Callable[[], object] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Read an image for the block, with its pixels reserved in a `budget`; see `read`.

    Threads share the budget, which limits the memory used by large images. A large file that must
    wait for others is read again when it is its turn. `checkpoint` is called then, and may raise an
    error. Don't open another image in the block: each could wait for the other.
    """
    label = _label(source, name)
    budget = budget or PixelBudget()
    with _within_memory(label):
        file_bytes = 0 if isinstance(source, bytes) else _file_bytes(Path(source))
        with budget.taken(file_bytes // 3):  # as RGB without compression
            encoded, content = _described(source, label, max_pixels, MAX_BYTES)
        size, waits = encoded.width * encoded.height, file_bytes > _HEAVY
        if waits:
            del encoded, content
        with budget.taken(size):
            if checkpoint is not None:
                checkpoint()
            if waits:
                encoded, content = _described(source, label, max_pixels, MAX_BYTES)
            pixels = decode(encoded, content)
            del encoded, content
            yield pixels


def _file_bytes(path: Path) -> int:
    """Return the size of a file; 0 if it has none, which `read_bytes` reports."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError: a path with a null character
        return 0


class PixelBudget:
    """A limit on the number of pixels that threads decode at the same time.

    Ordinary cell images never wait. An image larger than the budget is decoded alone. The default
    is enough for three images of five megapixels.

    >>> with PixelBudget().taken(8192 * 8192):
    ...     pass
    """

    def __init__(self, pixels: int = 2**24) -> None:
        self.pixels = self._free = pixels
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until an image of this size fits, and reserve its pixels for the block."""
        if pixels <= _SMALL:
            yield
            return
        share = min(pixels, self.pixels)
        with self._turn, self._changed:  # in turn: smaller images do not overtake a large one
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify()


def _label(source: str | Path | bytes, name: str | None) -> str:
    if not isinstance(source, str | Path | bytes):
        raise TypeError(
            f"`source` must be a path or the bytes of a file. Received: {type(source).__name__}"
        )
    return name or ("<bytes>" if isinstance(source, bytes) else str(source))


@contextmanager
def _within_memory(label: str) -> Iterator[None]:
    """Convert `MemoryError` to an image error, so that the rest are processed normally."""
    try:
        yield
    except MemoryError as error:
        raise TooManyPixelsError(
            label,
            "it does not fit in this computer's free memory. Scale the image down, close other "
            "programs, or use a computer with more memory.",
        ) from error


def read_bytes(path: Path, name: str | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of an image file for `read`.

    Only a regular file of up to `max_bytes` is read; a pipe or device might never end. Errors name
    the image `name`, by default its path.

    Raises `UnreadableFileError` if the file is missing, a folder, a broken link, a device, or not
    readable. Raises `TooManyBytesError` if it exceeds the limit.
    """
    label = name or str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError(label, _not_a_file(path, status.st_mode))
        if status.st_size > max_bytes:
            raise _too_many_bytes(label, status.st_size, max_bytes)
        with path.open("rb") as stream:
            # `read` allocates the requested size at once.
            return stream.read(status.st_size + 1)
    except FileNotFoundError as error:
        raise UnreadableFileError(label, _why_missing(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(
            label, f"the file cannot be read: {reason}. Check its path and permissions."
        ) from error


def _not_a_file(path: Path, mode: int) -> str:
    if stat.S_ISDIR(mode):
        try:
            next(path.iterdir(), None)
        except OSError as error:
            return (
                f"the folder cannot be listed: {error.strerror}. Its images were skipped. Check "
                "its permissions."
            )
        return "it is a folder, not an image. Pass its images, or use `find_images`."
    return "it is a device, pipe or socket, not a file. Pass the path of an image file."


def _why_missing(path: Path) -> str:
    if path.is_symlink():
        return f"it is a broken link: {path.readlink()} does not exist. Restore that file."
    return "the file does not exist. Check the path."


def _too_many_bytes(label: str, size: int, limit: int) -> TooManyBytesError:
    advice = SLIDE_ADVICE if _may_be_slide(label) else ""
    return TooManyBytesError(
        label,
        f"the file has {size:,} bytes; the limit is {limit:,}. Save it in a compressed format, for "
        f"instance as PNG{advice}.",
    )


def _may_be_slide(name: str) -> bool:
    return Path(name).suffix.lower() in (".tif", ".tiff", ".dcm") or bool(
        formats.slide_format(name)
    )
