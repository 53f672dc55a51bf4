"""Pictures of single cells for a report, encoded to stand inside a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ErrorExample", "data_uri", "svg_uri"]

SIDE = 224
QUALITY = 88
KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


@dataclass(frozen=True)
class ErrorExample:
    """One wrong answer, to look at.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3), or bytes
        RGB pixels, or an encoded PNG or JPEG.
    true, said : str
        The true class and the answered one.
    confidence : float
        The probability of the answered class.
    name : str
        The file, as it should be shown.
    decision : str
        ``"accepted"``, ``"review"``, or empty where not known.
    overlay : ndarray of uint8, shape (H, W, 3), bytes, or None
        The same image with the places at which the model looked, to stand beside it.
    reason : str
        Why a person should look (`Prediction.reason`); empty where accepted or not known.
    """

    image: NDArray[np.uint8] | bytes
    true: str
    said: str
    confidence: float
    name: str
    decision: str = ""
    overlay: NDArray[np.uint8] | bytes | None = None
    reason: str = ""


def data_uri(image: NDArray[np.uint8] | bytes) -> str:
    """Return an image as a ``data:`` address, so that a page needs no file beside it.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3), or bytes
        Pixels are encoded as JPEG, reduced to 224 pixels at the longer side; bytes are taken as
        they are.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(image, bytes):
        kind = next((kind for start, kind in KINDS if image.startswith(start)), None)
        if kind is None:
            raise ValueError(
                f"`image` must be the bytes of a PNG or JPEG. Received: {image[:8]!r}..."
            )
        return _address(image, kind)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            "`image` must be RGB pixels of shape (H, W, 3), dtype uint8. "
            f"Received: shape {image.shape}, dtype {image.dtype}"
        )
    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(buffer, "JPEG", quality=QUALITY)
    return _address(buffer.getvalue(), "image/jpeg")


def _address(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def svg_uri(svg: str) -> str:
    """Return an SVG document as a ``data:`` address; as an image it can run no script."""
    return _address(svg.encode("utf-8"), "image/svg+xml")
