"""Images inside a page, as ``data:`` URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["data_uri", "svg_uri"]

_SIDE = 224
_QUALITY = 88
_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def data_uri(image: NDArray[np.uint8] | bytes, side: int = _SIDE) -> str:
    """Return an image as a ``data:`` URI.

    Pixels, uint8 (H, W, 3), are reduced to `side` at the longer side and encoded as JPEG; bytes of
    a PNG or JPEG are used as they are. Raises `ValueError` if it is neither.
    """
    if isinstance(image, bytes):
        kind = next((kind for start, kind in _SIGNATURES if image.startswith(start)), None)
        if kind is None:
            raise ValueError(
                f"`image` must be the bytes of a PNG or JPEG. Received: {image[:8]!r}..."
            )
        return _uri(image, kind)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            "`image` must be RGB pixels of shape (H, W, 3), dtype uint8. "
            f"Received: shape {image.shape}, dtype {image.dtype}"
        )
    reduced, buffer = Image.fromarray(image), io.BytesIO()
    reduced.thumbnail((side, side))
    reduced.save(buffer, "JPEG", quality=_QUALITY)
    return _uri(buffer.getvalue(), "image/jpeg")


def svg_uri(svg: str) -> str:
    """Return an SVG document as a ``data:`` URI; scripts don't run in images."""
    return _uri(svg.encode("utf-8"), "image/svg+xml")


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
