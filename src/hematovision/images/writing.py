"""Saving pixels as an image file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.errors import OutputError
from hematovision.files import write_bytes
from hematovision.images.geometry import check_rgb

__all__ = ["write"]

_PNG_LEVEL = 1  # a third of the time of the default 6, for files that are a fifth larger
_JPEG_QUALITY = 95  # Pillow's highest sensible value; colours are not subsampled


def write(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write an image as PNG (without loss) or JPEG (quality 95, 4:4:4), by the suffix of `path`.

    Parameters
    ----------
    path : Path
        Ends in ``.png``, ``.jpg`` or ``.jpeg``; folders are created, an old file is replaced.
    image : ndarray of uint8, shape (H, W, 3)
        RGB.

    Returns
    -------
    Path
        `path` itself.

    Raises
    ------
    OutputError
        If the suffix is another, or the place cannot be written.
    ValueError
        If the image is of another shape or type.
    """
    check_rgb(image)
    picture, buffer = Image.fromarray(np.ascontiguousarray(image)), io.BytesIO()
    suffix = path.suffix.lower()
    if suffix == ".png":
        picture.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    elif suffix in {".jpg", ".jpeg"}:
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling="4:4:4")
    else:
        raise OutputError(
            f"Cannot write {path}: images are written as .png or .jpg, not {suffix or 'without'} "
            "suffix. Choose one of these."
        )
    return write_bytes(path, buffer.getvalue())
