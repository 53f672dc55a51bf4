"""Slides in the formats of scanners and in DICOM, read with OpenSlide.

OpenSlide is imported on first use: it needs the extra ``slides``.
"""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hematovision.errors import NotAnImageError, TruncatedImageError, UnreadableFileError
from hematovision.extras import NEEDS, missing_extra
from hematovision.images.formats.tiff.pyramid import MAX_BLOCK_PIXELS
from hematovision.images.resolution import is_plausible
from hematovision.images.slides.slide import Slide

__all__ = ["GENERIC", "detect", "open_vendor"]

GENERIC = "generic-tiff"
"""OpenSlide's name for tiled TIFF files of no vendor."""


def detect(path: Path) -> str | None:
    """Return OpenSlide's name of the format of a slide; None if it is none, or not installed."""
    try:
        module = _openslide(path)
    except NotAnImageError:
        return None
    found: str | None = module.OpenSlide.detect_format(path)
    return found


def _openslide(path: Path) -> Any:
    """Import OpenSlide; raise `NotAnImageError` with the command that installs it."""
    try:
        return importlib.import_module("openslide")
    except ModuleNotFoundError as error:  # or its library, which openslide-bin installs
        need = NEEDS["slides"]
        missing = missing_extra(need.extra, error.name or "openslide", need.purpose)
        raise NotAnImageError(path, str(missing)) from error


def open_vendor(path: Path) -> Slide:
    """Open a slide with OpenSlide.

    Raises
    ------
    NotAnImageError
        If OpenSlide is not installed or does not support the file, or its tiles are too large.
    TruncatedImageError
        If the file is damaged.
    """
    module = _openslide(path)
    with _readable(module, path):
        handle = module.OpenSlide(path)
    try:
        properties = dict(handle.properties)
        _check_tiles(path, properties, len(handle.level_dimensions))
        return Slide(
            path,
            str(properties.get("openslide.vendor", "")),
            list(handle.level_dimensions),
            _Vendor(module, path, handle),
            um_per_px=_um_per_px(properties),
            objective=_number(properties.get("openslide.objective-power")),
            background=_background(properties),
            series=str(properties.get("dicom.SeriesInstanceUID", "")),
        )
    except BaseException:
        handle.close()
        raise


class _Vendor:
    """Reads rectangles with OpenSlide.

    After an error OpenSlide fails on every call, so the file is opened again.
    """

    def __init__(self, module: Any, path: Path, handle: Any) -> None:
        self._module, self._path, self._handle = module, path, handle
        self._lock = threading.Lock()
        self._background = np.array(_background(handle.properties), np.uint16)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return RGB uint8 (height, width, 3); see `LevelReader`."""
        handle = self._handle
        downsample = handle.level_downsamples[level]
        place = (round(x * downsample), round(y * downsample))
        with _readable(self._module, self._path):
            try:
                image = handle.read_region(place, level, (width, height))
            except self._module.OpenSlideError:
                self._open_again(handle)
                raise
        return self._on_background(np.asarray(image))

    def _open_again(self, failed: Any) -> None:
        """Replace a handle, unless another thread has."""
        with self._lock:
            if self._handle is failed:
                self._handle = self._module.OpenSlide(self._path)

    def _on_background(self, rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
        alpha = rgba[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3])
        cover = alpha.astype(np.uint16)
        mixed = rgba[..., :3] * cover + self._background * (255 - cover)
        return np.asarray((mixed + 127) // 255, np.uint8)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


@contextmanager
def _readable(module: Any, path: Path) -> Iterator[None]:
    """Convert the errors of OpenSlide."""
    try:
        yield
    except module.OpenSlideUnsupportedFormatError as error:
        raise NotAnImageError(
            path, "it is not a slide that OpenSlide can read. Export it as a tiled TIFF."
        ) from error
    except module.OpenSlideError as error:
        reason = " ".join(str(error).split())
        raise TruncatedImageError(
            path,
            f"the slide is damaged ({reason}). Copy it again from its source, or leave it out.",
        ) from error
    except OSError as error:  # also for a missing file
        raise UnreadableFileError(
            path, f"the file cannot be read: {error.strerror or error}. Check its path."
        ) from error


def _check_tiles(path: Path, properties: Mapping[str, str], levels: int) -> None:
    """Reject tiles that would need gigabytes each: OpenSlide decodes them whole."""
    for level in range(levels):
        names = (f"openslide.level[{level}].tile-{side}" for side in ("width", "height"))
        width, height = (_number(properties.get(name)) or 1 for name in names)
        if width * height > MAX_BLOCK_PIXELS:
            raise NotAnImageError(
                path,
                f"it is a slide in tiles of {width:,.0f} x {height:,.0f} pixels; at most "
                f"{MAX_BLOCK_PIXELS:,} pixels each can be read. Save it in smaller tiles.",
            )


def _um_per_px(properties: Mapping[str, str]) -> float | None:
    sides = [_number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"]
    known = [side for side in sides if side is not None and is_plausible(side)]
    if len(known) < 2 or max(known) > 1.05 * min(known):
        return None
    return sum(known) / 2


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _background(properties: Mapping[str, str]) -> tuple[int, int, int]:
    """Return the background's colour, which OpenSlide writes as six hexadecimal digits."""
    try:
        red, green, blue = bytes.fromhex(properties.get("openslide.background-color", ""))
    except ValueError:
        return (255, 255, 255)
    return red, green, blue
