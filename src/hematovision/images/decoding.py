"""Decodes checked images to RGB: Pillow decodes; we convert depth, alpha and orientation."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import UnreadableFileError
from hematovision.images.formats import EncodedImage, Source

__all__ = ["decode", "decode_pillow"]

_PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "HEIF": ("pi_heif.as_plugin", "HeifImageFile"),
}

# The errors of Pillow's decoders on damaged files, including bugs triggered by hostile files.
_DECODER_ERRORS = (
    OSError, ValueError, struct.error, zlib.error, EOFError, LookupError, TypeError,
    AttributeError, ArithmeticError, AssertionError, RuntimeError,
)  # fmt: skip

# Of Pillow, with samples of 8 bits or fewer and a defined white.
_EIGHT_BIT_MODES = frozenset(
    ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV")
)
_ORIENTATION = 0x0112  # the EXIF tag

_BROKEN_HEADER = ("Invalid", "Malformed", "no marker found")

_BLOCK = 2**26  # bytes
_BLOCK_VARIABLE = "PILLOW_BLOCK_SIZE"  # with which users set Pillow's block size

_BAND_PIXELS = 2**18
_LARGE = 2**22  # pixels above which bands are used: slower, but with less memory
_LARGEST = 2**16 - 1
_MOST_CAMERA_BITS = 14  # of cameras that store samples in 16 bits

# Changes any block decoded from it; no byte is 0xFF, which begins a JPEG's marker.
_NOISE = bytes((151 * i + i * i // 7) % 255 for i in range(256))
_DEEP_MODES = frozenset(
    {
        "LA;16B",
        *(f"{mode};16{order}" for mode in ("RGB", "RGBA", "RGBX", "RGBa") for order in "BLN"),
    }
)
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def decode(encoded: EncodedImage, source: Source) -> NDArray[np.uint8]:
    """Decode an image from `formats.inspect`: upright RGB uint8 (H, W, 3) on white.

    Raises `TruncatedImageError` if the pixel data is damaged. Raises `NotAnImageError` if the
    decoder does not support the variant. Raises `MemoryError` if memory runs out.
    """
    if encoded.pixels is not None:
        return np.require(encoded.pixels, requirements=["C", "W"])
    with _decoder_errors(source):
        if encoded.bits == 16:
            pixels = _deep(encoded, source)
        else:
            pixels = _on_white(*_shallow(encoded), associated=encoded.associated)
    upright = np.require(_upright(pixels, encoded.orientation), requirements=["C", "W"])
    return np.subtract(255, upright, out=upright) if encoded.negative else upright


def decode_pillow(image: Any, source: Source) -> NDArray[np.uint8]:
    """Convert a Pillow image as `decode` converts a file: upright RGB uint8 (H, W, 3) on white.

    Of an animation or stack it is the current frame. `source` has the name and the limits; its
    bytes are not used. Raises `TooManyPixelsError` before decoding if a limit is exceeded, and
    otherwise the errors of `decode`.
    """
    source.check_size(*image.size)
    with _decoder_errors(source):
        _load_pillow(image, source)
        orientation = image.getexif().get(_ORIENTATION, 1)
        if image.mode.startswith("I;16"):
            pixels = _deep_pillow(image, source)
        elif image.mode in _EIGHT_BIT_MODES:
            pixels = _on_white(*_separated(image), associated=False)
        else:
            raise source.unsupported(
                f"it is a Pillow image of mode {image.mode!r}, whose black and white levels are "
                "undefined",
                "Scale its values to 0 to 255, and convert it to mode 'RGB'.",
            )
    upright = _upright(pixels, orientation if orientation in range(1, 9) else 1)
    return np.require(upright, requirements=["C", "W"])


def _load_pillow(image: Any, source: Source) -> None:
    """Decode an image that was only opened; `UnreadableFileError` if it was closed since."""
    try:
        image.load()
    except (ValueError, AssertionError) as error:
        # Pillow has no method for this; an image that its `with` block closed fails an assertion.
        lost = isinstance(error, AssertionError) and getattr(image, "fp", None) is None
        if lost or "closed" in str(error):
            raise UnreadableFileError(
                source.name,
                "the Pillow image is closed. Pass it before its `with` block ends, or pass the "
                "path of the file.",
            ) from error
        raise


@contextmanager
def _decoder_errors(source: Source) -> Iterator[None]:
    """Turn the errors of Pillow's decoders into those of `decode`."""
    try:
        yield
    except SyntaxError as error:  # an unsupported variant, or an invalid header
        if any(word in str(error) for word in _BROKEN_HEADER):
            raise source.damaged(f"its header cannot be read ({_line(error)})") from error
        raise source.unsupported(f"it cannot be decoded ({_line(error)})") from error
    except _DECODER_ERRORS as error:
        if "truncated" in str(error):
            raise source.damaged("its pixel data ends early") from error
        raise source.damaged(f"its pixels cannot be decoded ({_line(error)})") from error


def _line(error: Exception) -> str:
    """Return a decoder's message on one line."""
    return " ".join(str(error).split())


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply the EXIF orientation (Exif 2.32, section 4.6.4, tag Orientation)."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    down, across = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
    return pixels[::down, ::across]


def _open(encoded: EncodedImage, page: int = 0) -> Any:
    """Open a page of an image with the plug-in for its format.

    `PIL.Image.open` would try others, warn about large images, and register every format on first
    use.
    """
    _use_large_blocks()
    module, name = _PLUGINS[encoded.format]
    image = getattr(importlib.import_module(module), name)(io.BytesIO(encoded.data))
    if page:
        image.seek(page)
    if encoded.format == "HEIF" and image.width * image.height <= encoded.width * encoded.height:
        return image  # already rotated and cropped
    if image.size != (encoded.width, encoded.height):
        raise ValueError(
            f"declared {encoded.width} x {encoded.height}, found {image.width} x {image.height}"
        )
    return image


@cache
def _use_large_blocks() -> None:
    """Make Pillow return the memory of large images to the system.

    By default it uses blocks of 16 MB. The C library keeps those for the thread that freed them,
    but unmaps blocks above 32 MB (mallopt(3), M_MMAP_THRESHOLD). With eight threads, that took
    2.7 GB for images of 64 megapixels, read one at a time; now 1.0 GB.
    """
    if _BLOCK_VARIABLE not in os.environ:
        with suppress(AttributeError):  # not part of Pillow's public API; only memory depends on it
            importlib.import_module("PIL.Image").core.set_block_size(_BLOCK)


def _raw_mode(image: Any) -> str | None:
    """Return how Pillow's decoder interprets the bytes of an image; None if that is unknown.

    ``tile`` is described for authors of Pillow's plug-ins, not for users: another version may have
    other modes, or none.
    """
    try:
        arguments = [tile.args for tile in image.tile]
    except AttributeError:
        return None
    modes = {one if isinstance(one, str) else one[0] for one in arguments}
    return modes.pop() if len(modes) == 1 else None


def _set_raw_mode(image: Any, raw_mode: str) -> None:
    """Set how Pillow's decoder interprets the bytes of an image that has a `_raw_mode`."""
    image.tile = [
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
        for tile in image.tile
    ]


def _shallow(encoded: EncodedImage) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Decode samples of up to 8 bits to colours (H, W, 3) and alpha (H, W) if present."""
    for part in encoded.parts:
        _shallow(part)
    if encoded.planes > 1:
        greys = [_array(_open(encoded, page), "L") for page in range(encoded.planes)]
        samples = np.stack(greys, axis=2)
        return samples[..., :3], samples[..., 3] if encoded.planes > 3 else None
    image = _whole(encoded) if encoded.open_ended else _loaded(encoded)
    colours, alpha = _separated(image)
    if alpha is not None:
        # Screenshots are often BMPs whose unused fourth byte is declared as alpha and is 0.
        return colours, None if encoded.format == "BMP" and not alpha.any() else alpha
    levels = 2**encoded.bits - 1
    key = [(value & levels) * 255 // levels for value in encoded.transparent]
    return colours, _keyed(colours, key)


def _separated(image: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the colours (H, W, 3) and the alpha (H, W), if any, of an 8-bit Pillow image."""
    if not image.has_transparency_data:
        return _array(image, "RGB"), None
    rgba = _array(image.convert("LA") if image.mode == "La" else image, "RGBA")
    return rgba[..., :3], rgba[..., 3]


def _loaded(encoded: EncodedImage) -> Any:
    image = _open(encoded)
    image.load()
    if encoded.format == "JPEG" and image.mode == "CMYK" and not encoded.inverted:
        # Pillow assumes that every CMYK JPEG is inverted.
        return importlib.import_module("PIL.ImageChops").invert(image)
    return image


def _whole(encoded: EncodedImage) -> Any:
    """Load a JPEG; raise `ValueError` if its data ends early: noise after it changes the image."""
    noisy = encoded.data[:-2] + _NOISE + encoded.data[-2:]
    expected = _digest(_loaded(replace(encoded, data=noisy)))  # not kept: only one is in memory
    image = _loaded(encoded)
    if _digest(image) != expected:
        raise ValueError("truncated")
    return image


def _digest(image: Any) -> bytes:
    digest = hashlib.blake2b()
    for _, band in _bands(image):
        digest.update(np.ascontiguousarray(band).data)
    return digest.digest()


def _bands(image: Any, mode: str = "") -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield the rows of an image, converted to `mode`; for a large image, in bands.

    Pillow uses four bytes per RGB pixel, and copies what it converts or returns: without bands, a
    large image would be in memory four times.
    """
    width, height = image.size
    rows = height if width * height <= _LARGE else max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = image if rows == height else image.crop((0, top, width, min(top + rows, height)))
        converted = band if mode in ("", band.mode) else band.convert(mode)
        yield slice(top, top + rows), np.asarray(converted)


def _array(image: Any, mode: str = "") -> NDArray[Any]:
    """Return an image's pixels, converted to `mode`."""
    image.load()
    bands = _bands(image, mode)
    rows, first = next(bands)
    if rows.stop >= image.height:
        return first
    result = np.empty((image.height, *first.shape[1:]), first.dtype)
    result[rows] = first
    for rows, band in bands:
        result[rows] = band
    return result


def _deep(encoded: EncodedImage, source: Source) -> NDArray[np.uint8]:
    """Decode 16-bit samples without losing bits, and scale them by their range."""
    samples = [_deep_samples(encoded, source, page) for page in range(encoded.planes)]
    joined = samples[0] if len(samples) == 1 else np.concatenate(samples, axis=2)
    colours = joined[..., : joined.shape[2] - (joined.shape[2] + 1) % 2]
    white = _white(colours, encoded.white, source)
    has_alpha = joined.shape[2] % 2 == 0
    key = list(encoded.transparent)
    alpha = _in_range(joined[..., -1], white) if has_alpha else _keyed(colours, key)
    if encoded.inverted:
        colours = white - colours
    return _on_white(colours, alpha, associated=encoded.associated, largest=white)


def _deep_pillow(image: Any, source: Source) -> NDArray[np.uint8]:
    """Scale a 16-bit grey Pillow image by the range of 16 bits."""
    greys = _array(image).astype(np.uint16)[..., None]
    key = image.info.get("transparency")
    alpha = _keyed(greys, [key] if isinstance(key, int) else [])
    return _on_white(greys, alpha, associated=False, largest=_white(greys, 0, source))


def _white(colours: NDArray[np.uint16], declared: int, source: Source) -> int:
    """Return the value of white: the declared value, or the largest 16-bit number.

    Samples that use fewer than 15 bits need a declared range: cameras of 10 to 14 bits leave the
    rest empty, and a guess per image would map equal greys to different numbers.
    """
    brightest = int(colours.max())
    is_range = declared > brightest or declared == 2 ** max(8, brightest.bit_length()) - 1
    if declared and is_range:  # otherwise it is a statistic of the image, or wrong
        return declared
    bits = max(8, brightest.bit_length())
    if bits > _MOST_CAMERA_BITS:
        return _LARGEST
    raise source.unsupported(
        f"its samples have 16 bits, but none is above {brightest:,}: it looks like an image of "
        f"{bits} bits that does not declare its range, and would be read far too dark",
        f"Save it with 8 bits, {2**bits - 1:,} as white, or as a TIFF that declares its range "
        f"(MaxSampleValue {2**bits - 1}, or SignificantBits {bits} in OME-XML; MaxSampleValue "
        f"{_LARGEST} if the image really is that dark).",
    )


def _in_range(alpha: NDArray[np.uint16], white: int) -> NDArray[Any]:
    """Scale alpha to the range of the colours; some writers use all 16 bits for alpha."""
    if int(alpha.max()) <= white:
        return alpha
    return (alpha.astype(np.uint64) * white + _LARGEST // 2) // _LARGEST


def _deep_samples(encoded: EncodedImage, source: Source, page: int) -> NDArray[np.uint16]:
    """Decode 16-bit samples (H, W, 1 to 4), although Pillow keeps only the high byte of colours.

    Pillow's raw modes for either byte order read the high or the low byte, so two passes yield
    both. Grey with alpha has no such modes, but is read as RGBA: both have four bytes per pixel.
    """
    image = _open(encoded, page)
    if image.mode.startswith("I;16"):
        return _array(image).astype(np.uint16)[..., None]
    raw_mode = _raw_mode(image)
    if raw_mode not in _DEEP_MODES:
        raise source.unsupported("this version of Pillow cannot read all 16 bits of its colours")
    if raw_mode == "LA;16B":
        _set_raw_mode(image, "RGBA")
        pairs = _array(image)
        return _join(pairs[..., ::2], pairs[..., 1::2])
    high = _array(image)
    image = _open(encoded, page)
    _set_raw_mode(image, raw_mode[:-1] + _SWAPPED[raw_mode[-1]])
    return _join(high, _array(image))


def _join(high: NDArray[Any], low: NDArray[Any]) -> NDArray[np.uint16]:
    joined = high.astype(np.uint16)
    joined <<= np.uint16(8)
    joined |= low
    return joined


def _keyed(colours: NDArray[Any], key: list[int]) -> NDArray[Any] | None:
    """Return the alpha channel of an image with one transparent colour."""
    if not key:
        return None
    opaque = np.any(colours != np.array(key), axis=2)
    return np.where(opaque, np.iinfo(colours.dtype).max, 0).astype(colours.dtype)


def _on_white(
    colours: NDArray[Any], alpha: NDArray[Any] | None, *, associated: bool, largest: int = 255
) -> NDArray[np.uint8]:
    """Blend colours with white by their alpha and scale them to 8 bits by their range.

    ``round(255 * (c * a + m * (m - a)) / m**2)`` with ``m`` the `largest` possible value, in
    integers, and in bands of rows to save memory.
    """
    height, width = colours.shape[:2]
    if colours.dtype == np.uint8 and (alpha is None or alpha.min() == 255):
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
