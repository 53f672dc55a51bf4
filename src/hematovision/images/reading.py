"""The one decoder: any image file a microscope or a person makes, as RGB, or a typed error."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import (
    EmptyImageError,
    TooManyBytesError,
    TooManyPixelsError,
    UnreadableFileError,
)
from hematovision.images import formats
from hematovision.images.budget import PixelBudget
from hematovision.images.decoding import decode
from hematovision.images.geometry import fit
from hematovision.limits import MAX_BYTES, MAX_PIXELS

__all__ = ["load", "read", "read_bytes"]

# Pillow itself warns beyond this size (`PIL.Image.MAX_IMAGE_PIXELS`), and later refuses.
_PILLOW_PIXELS = 89_478_485


def read(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> NDArray[np.uint8]:
    """Read an image as upright RGB.

    The kind is told by the content, whatever the file is called. Rules, for every door alike:

    - JPEG (baseline and progressive; grey, RGB, YCbCr, CMYK and YCCK, inverted if Adobe's marker
      says so), PNG, TIFF (also big), BMP, WebP and GIF; the first frame. JPEG 2000 and AVIF where
      Pillow has their libraries; HEIC and DICOM with the extra ``formats``.
    - TIFF: three grey pages, or grey samples of one page, that the metadata (OME-XML, ImageJ,
      tifffile) call the channels of one picture become its red, green and blue, in the order that
      their names or colours say. Other stacks (slices, time points, several grey pages) are
      refused. Else the first page is read that is no thumbnail or mask; smaller copies and
      further pages in colour are ignored.
    - DICOM: one frame. The stored bits are the range of greys, or the window where there is one.
    - Grey, 1-bit and palette images become RGB. Transparent parts are laid over white.
    - 16-bit samples are scaled by their range, ``round(value / 65535 * 255)``, not by what the
      picture uses of it: the same grey is the same number in every file. Another range than 65535
      counts where a TIFF declares it: OME's SignificantBits; MaxSampleValue or SMaxSampleValue,
      unless it is the picture's brightest sample and not ``2**n - 1`` (then it is a statistic);
      ImageJ's display range, if it is 0 to ``2**n - 1``. A range that a sample exceeds is not used.
      16-bit samples that use at most 14 bits and declare no range are refused, as they would be
      read nearly black.
    - 32-bit, signed and floating-point samples are refused, as they do not say what is black and
      what is white, unless a DICOM's window says it. So are TIFFs in CIELab, 16-bit CMYK or 16-bit
      grey with alpha, run-length coded BMPs, and DICOMs of several frames.
    - The EXIF orientation is applied. Colour profiles are not.
    - A file that is cut anywhere, or fails a checksum, is refused: half a cell is not a cell.
      Bytes behind the end of the image are ignored. In TIFF, lengths of strips or tiles that are
      missing or 0 are found from the size, or from where the next begins; doubled fields matter
      only where pixels need them.

    Nothing is changed outside of this call, so that threads may read at once; only the libtiff
    inside Pillow is told, once, to print nothing. While a DICOM file is read, which one thread at a
    time does, Python's warnings are ignored in the whole process, and what pydicom logs goes to
    handlers of its own logger only; both are put back at the end.

    Parameters
    ----------
    source : str, Path or bytes
        A file's path, or the content of a file.
    name : str, optional
        What errors call the image; by default the path, or ``"<bytes>"``.
    max_pixels : int
        Width times height above which an image is refused before it is decoded; values above
        89,478,485, Pillow's own limit, act like that number.
    max_bytes : int
        Size above which a file is refused before it is read.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB, C-contiguous.

    Raises
    ------
    UnreadableFileError
        If the file is missing, a folder, a broken link, a device, or may not be read.
    EmptyImageError
        If it has no bytes.
    TooManyBytesError, TooManyPixelsError
        If it is above a limit, has a side above `MAX_SIDE` or sides further apart than
        `MAX_ASPECT`, or does not fit into memory.
    NotAnImageError
        If the content is no image of an accepted kind.
    TruncatedImageError
        If the image is cut or damaged.

    Examples
    --------
    >>> from hematovision import images
    >>> images.read("field.jpg").shape  # doctest: +SKIP
    (480, 640, 3)
    """
    label = _label(source, name)
    with _within_memory(label):
        return decode(*_described(source, label, max_pixels, max_bytes))


def _described(
    source: str | Path | bytes, label: str, max_pixels: int, max_bytes: int
) -> tuple[formats.Picture, formats.Source]:
    """Check an image within its limits, without decoding it."""
    data = source if isinstance(source, bytes) else read_bytes(Path(source), label, max_bytes)
    if len(data) > max_bytes:
        raise _too_many_bytes(label, len(data), max_bytes)
    if not data:
        raise EmptyImageError(label, "the file is empty (0 bytes). Copy it again or leave it out.")
    content = formats.Source(data, label, min(max_pixels, _PILLOW_PIXELS))
    picture = formats.inspect(content)
    content.check_size(picture.width, picture.height)
    return picture, content


def load(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    budget: PixelBudget | None = None,
) -> NDArray[np.uint8]:
    """Read an image and fit it to the model's input, uint8 of shape (224, 224, 3).

    See `read` for what is accepted and raised, and `fit` for the resize. Threads that load images
    at once share a `budget`, so that few large ones are in memory together.
    """
    label = _label(source, name)
    with _within_memory(label):
        picture, content = _described(source, label, max_pixels, MAX_BYTES)
        room = budget.taken(picture.width * picture.height) if budget else nullcontext()
        with room:
            return fit(decode(picture, content))


def _label(source: str | Path | bytes, name: str | None) -> str:
    if not isinstance(source, str | Path | bytes):
        raise TypeError(
            f"`source` must be a path or the bytes of a file. Received: {type(source).__name__}"
        )
    return name or ("<bytes>" if isinstance(source, bytes) else str(source))


@contextmanager
def _within_memory(label: str) -> Iterator[None]:
    """Refuse one image for which the memory does not suffice, so that the others go on."""
    try:
        yield
    except MemoryError as error:
        raise TooManyPixelsError(
            label,
            "it does not fit into this machine's free memory. Make the image smaller, run fewer "
            "programs at once, or use another machine.",
        ) from error


def read_bytes(path: Path, name: str | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of an image file, undecoded, for `read` to take.

    Only a regular file within the limit is read; anything else might never end, or never begin.

    Parameters
    ----------
    path : Path
    name : str, optional
        What errors call the image; by default the path.
    max_bytes : int
        Size above which a file is refused before it is read.

    Raises
    ------
    UnreadableFileError
        If the file is missing, a folder, a broken link, a device, or may not be read.
    TooManyBytesError
        If it is above the limit.
    """
    label = name or str(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFileError(label, _what_it_is(path, status.st_mode))
        if status.st_size > max_bytes:
            raise _too_many_bytes(label, status.st_size, max_bytes)
        with path.open("rb") as stream:
            # Asking for more sets aside that much memory, for every file.
            return stream.read(status.st_size + 1)
    except FileNotFoundError as error:
        raise UnreadableFileError(label, _why_missing(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise UnreadableFileError(
            label, f"the file cannot be read: {reason}. Check its path and permissions."
        ) from error


def _what_it_is(path: Path, mode: int) -> str:
    if stat.S_ISDIR(mode):
        try:
            next(path.iterdir(), None)
        except OSError as error:
            return (
                f"the folder cannot be listed: {error.strerror}. The images in it were left out. "
                "Check its permissions."
            )
        return "it is a folder, not an image. Give the images in it, or use `find_images`."
    return "it is a device, pipe or socket, not a file. Give the path of an image file."


def _why_missing(path: Path) -> str:
    if path.is_symlink():
        return f"it is a broken link: {path.readlink()} does not exist. Restore what it points to."
    return "there is no such file. Check the path."


def _too_many_bytes(label: str, size: int, limit: int) -> TooManyBytesError:
    return TooManyBytesError(
        label,
        f"the file has {size:,} bytes; the limit is {limit:,}. Save it compressed, for instance "
        "as PNG.",
    )
