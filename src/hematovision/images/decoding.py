"""From a checked picture to RGB: Pillow decodes, the rules for depth and alpha are ours."""

from __future__ import annotations

import importlib
import io
import struct
import sys
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.images.formats import Picture, Source

__all__ = ["decode"]

_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}

# What Pillow's decoders raise on damaged files; hostile ones also lead them into plain Python
# mistakes, which stand for the same thing here.
_DECODER_ERRORS = (
    OSError, ValueError, struct.error, zlib.error, EOFError, LookupError, TypeError,
    AttributeError, ArithmeticError, AssertionError, RuntimeError,
)  # fmt: skip

_BAND_PIXELS = 2**18

# Changes whatever blocks are decoded from it; no byte is 0xFF, which begins a JPEG's marker.
_NOISE = bytes((151 * i + i * i // 7) % 255 for i in range(256))
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def decode(picture: Picture, source: Source) -> NDArray[np.uint8]:
    """Decode a picture that `formats.inspect` described, upright and on white.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB, C-contiguous, the caller's own.

    Raises
    ------
    TruncatedImageError
        If the decoder finds the pixel data damaged.
    NotAnImageError
        If it is of a variant that the decoder does not know.
    MemoryError
        If the memory does not suffice.
    """
    try:
        colours, alpha = _deep(picture) if picture.bits == 16 else _shallow(picture)
        pixels = _on_white(colours, alpha, associated=picture.associated)
    except SyntaxError as error:  # how Pillow says that it does not know a variant
        raise source.unsupported(f"it cannot be decoded ({error})") from error
    except _DECODER_ERRORS as error:
        raise source.damaged(f"its pixels cannot be decoded ({error})") from error
    return np.require(_upright(pixels, picture.orientation), requirements=["C", "W"])


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn pixels as their EXIF orientation says (Exif 2.32, section 4.6.4, tag Orientation)."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    down, across = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
    return pixels[::down, ::across]


def _open(picture: Picture) -> Any:
    """Open a picture with its own plug-in.

    `PIL.Image.open` would try others, warn on large images by a limit that is global, and
    register every format on first use.
    """
    module, name = _PLUGINS[picture.format]
    image = getattr(importlib.import_module(module), name)(io.BytesIO(picture.data))
    if image.size != (picture.width, picture.height):
        raise ValueError(
            f"declared {picture.width} x {picture.height}, found {image.width} x {image.height}"
        )
    return image


def _set_raw_mode(image: Any, raw_mode: str) -> None:
    """Have the decoder lay out its bytes as another of Pillow's raw modes."""
    image.tile = [
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
        for tile in image.tile
    ]


def _shallow(picture: Picture) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Decode samples of up to 8 bits to colours (H, W, 3) and alpha (H, W), where there is one."""
    image = _loaded(picture)
    if picture.open_ended:
        noisy = picture.data[:-2] + _NOISE + picture.data[-2:]
        _check_end(image, _loaded(replace(picture, data=noisy)))
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image
        rgba = np.asarray(straight.convert("RGBA"))
        colours, alpha = rgba[..., :3], rgba[..., 3]
        # Screenshots are often BMPs whose unused fourth byte is declared as alpha and left at 0.
        return colours, None if picture.format == "BMP" and not alpha.any() else alpha
    colours = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    levels = 2**picture.bits - 1
    key = [(value & levels) * 255 // levels for value in picture.transparent]
    return colours, _keyed(colours, key)


def _loaded(picture: Picture) -> Any:
    image = _open(picture)
    if picture.format == "JPEG" and image.mode == "CMYK" and not picture.inverted:
        _set_raw_mode(image, "CMYK")  # Pillow takes every CMYK JPEG for an inverted one
    image.load()
    return image


def _check_end(image: Any, noisy: Any) -> None:
    """Raise `ValueError` if noise behind its coded data changes a picture: then they end early."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = (0, top, width, min(top + rows, height))
        if image.crop(band).tobytes() != noisy.crop(band).tobytes():
            raise ValueError("its coded data end before the last block")


def _deep(picture: Picture) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None]:
    """Decode 16-bit samples to colours (H, W, 1 or 3) and alpha (H, W), all bits kept."""
    samples = _deep_samples(picture)
    if picture.inverted:
        samples = np.iinfo(np.uint16).max - samples
    colours = samples[..., : samples.shape[2] - (samples.shape[2] + 1) % 2]
    if samples.shape[2] % 2 == 0:
        return colours, samples[..., -1]
    return colours, _keyed(colours, list(picture.transparent))


def _deep_samples(picture: Picture) -> NDArray[np.uint16]:
    """Decode 16-bit samples (H, W, 1 to 4), although Pillow keeps only the high byte of colours.

    Its raw modes for either byte order read the high or the low byte, so two passes give both.
    Grey with alpha has no such pair, but four bytes a pixel, as RGBA has.
    """
    image = _open(picture)
    args = image.tile[0].args
    raw_mode = args if isinstance(args, str) else args[0]
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if raw_mode == "LA;16B":
        _set_raw_mode(image, "RGBA")
        pairs = np.asarray(image)
        return _join(pairs[..., ::2], pairs[..., 1::2])
    second = _open(picture)
    _set_raw_mode(second, raw_mode[:-1] + _SWAPPED[raw_mode[-1]])
    return _join(np.asarray(image), np.asarray(second))


def _join(high: NDArray[Any], low: NDArray[Any]) -> NDArray[np.uint16]:
    return high.astype(np.uint16) << np.uint16(8) | low.astype(np.uint16)


def _keyed(colours: NDArray[Any], key: list[int]) -> NDArray[Any] | None:
    """Return the alpha of pictures in which one colour stands for "nothing here"."""
    if not key:
        return None
    opaque = np.any(colours != np.array(key), axis=2)
    return np.where(opaque, np.iinfo(colours.dtype).max, 0).astype(colours.dtype)


def _on_white(
    colours: NDArray[Any], alpha: NDArray[Any] | None, *, associated: bool
) -> NDArray[np.uint8]:
    """Lay colours over white by their alpha and scale them to 8 bits by the range of their type.

    ``round(255 * (c * a + m * (m - a)) / m**2)`` with ``m`` the largest value of the type, in
    whole numbers and in bands of rows, so that large pictures need little memory beside their own.
    """
    largest = int(np.iinfo(colours.dtype).max)
    height, width = colours.shape[:2]
    if largest == 255 and (alpha is None or alpha.min() == 255):
        return np.broadcast_to(colours, (height, width, 3))
    result = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = colours[top : top + rows].astype(np.uint64)
        scale = largest
        if alpha is not None:
            cover = alpha[top : top + rows, :, None].astype(np.uint64)
            ink = np.minimum(band, cover) * largest if associated else band * cover
            band, scale = ink + largest * (largest - cover), largest * largest
        result[top : top + rows] = (band * 255 + scale // 2) // scale
    return result
