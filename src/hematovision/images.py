"""The one decoder and the one resize: from bytes to RGB pixels to the model's input."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hematovision.errors import (
    DatasetError,
    EmptyImageError,
    NotAnImageError,
    TooManyBytesError,
    TooManyPixelsError,
    TruncatedImageError,
    UnreadableFileError,
)
from hematovision.files import write_bytes

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "SIZE",
    "find_images",
    "fit",
    "is_image_name",
    "load",
    "read",
    "view",
    "write",
]

SIZE = 224
MAX_PIXELS = 2**26
MAX_BYTES = 2**28
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")


def read(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> NDArray[np.uint8]:
    """Read an image as RGB uint8 (H, W, 3)."""
    label = name or ("bytes in memory" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _read_file(Path(source), label, max_bytes)
    if not data:
        raise EmptyImageError(label, "the file has no bytes. Copy it again from its source.")
    if len(data) > max_bytes:
        raise TooManyBytesError(label, f"{len(data)} bytes; the limit is {max_bytes}.")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(label, f"more than {max_pixels} pixels.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise NotAnImageError(label, "not a JPEG, PNG, TIFF, BMP, WebP or GIF image.") from error
    if image.width * image.height > max_pixels:
        raise TooManyPixelsError(label, f"more than {max_pixels} pixels.")
    try:
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise TruncatedImageError(label, f"the data end early or are damaged ({error}).") from error
    return _to_rgb(ImageOps.exif_transpose(image))


def _read_file(path: Path, label: str, max_bytes: int) -> bytes:
    try:
        if not path.is_file():
            raise UnreadableFileError(label, "there is no such file.")
        if (size := path.stat().st_size) > max_bytes:
            raise TooManyBytesError(label, f"{size} bytes; the limit is {max_bytes}.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableFileError(label, f"cannot be read: {error}.") from error


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        grey = (grey * 255 + 32767) // 65535
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return np.array(image.convert("RGB"))


def fit(image: NDArray[np.uint8], size: int = SIZE) -> NDArray[np.uint8]:
    """Stretch an image to (size, size, 3): area averaging where it shrinks, else bilinear.

    All arithmetic is on integers, so that the result is the same on every machine.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return np.ascontiguousarray(image).copy()
    rows, row_total = _resample_rows(image, size)
    turned = np.ascontiguousarray(rows.swapaxes(0, 1))
    columns, column_total = _resample_rows(turned, size)
    total = row_total * column_total
    mean = (columns + total // 2) // total
    return np.ascontiguousarray(mean.astype(np.uint8).swapaxes(0, 1))


def _resample_rows(image: NDArray[np.generic], size: int) -> tuple[NDArray[np.int64], int]:
    taps = _area_taps if size < image.shape[0] else _bilinear_taps
    indices, weights, total = taps(image.shape[0], size)
    result = np.zeros((size, *image.shape[1:]), dtype=np.int64)
    for index, weight in zip(indices, weights, strict=True):
        result += image[index] * weight[:, None, None]
    return result, total


def _area_taps(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    start = np.arange(size) * length
    stop = start + length
    count = -(-length // size) + 1
    pixels = start // size + np.arange(count)[:, None]
    covered = np.minimum(stop, (pixels + 1) * size) - np.maximum(start, pixels * size)
    return np.minimum(pixels, length - 1), np.maximum(covered, 0), length


def _bilinear_taps(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    position = (2 * np.arange(size) + 1) * length - size
    first, far = np.divmod(position, 2 * size)
    pixels = np.clip(np.stack([first, first + 1]), 0, length - 1)
    return pixels, np.stack([2 * size - far, far]), 2 * size


def load(source: str | Path | bytes) -> NDArray[np.uint8]:
    """Read an image and fit it to the model's input: (224, 224, 3) RGB uint8."""
    return fit(read(source))


def view(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Return one of the 8 rotations and flips; 0 is the image itself."""
    turned = np.rot90(image, index % 4)
    return np.ascontiguousarray(turned[:, ::-1] if index >= 4 else turned)


def write(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write an image as PNG or JPEG by the suffix, atomically."""
    buffer = io.BytesIO()
    if path.suffix.lower() == ".png":
        Image.fromarray(image).save(buffer, "PNG")
    else:
        Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=0)
    return write_bytes(path, buffer.getvalue())


def is_image_name(path: str | Path) -> bool:
    """Tell by its suffix whether a file claims to be an image."""
    return Path(path).suffix.lower() in SUFFIXES


def find_images(paths: Iterable[Path]) -> list[Path]:
    """List files as given and the images in folders, recursively and sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = _images_in(path)
            if not inside:
                raise DatasetError(f"No images ({', '.join(sorted(SUFFIXES))}) in {path}.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UnreadableFileError(path, "there is no such file or folder.")
    return found


def _images_in(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        names = (name for name in files if is_image_name(name) and not _is_hidden(name))
        found += (Path(root, name) for name in names)
    return sorted(found)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
