"""DICOM's stored numbers as greys and colours of 8 bits (PS3.3, C.7.6.3 and C.11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.images.formats.picture import Source

__all__ = ["Greys", "apply_palette", "to_rgb", "to_whole_bytes"]

_REPEATS_END = 128


@dataclass(frozen=True, slots=True)
class Greys:
    """How stored numbers become greys.

    Parameters
    ----------
    allocated, stored, high : int
        Bits of each number in the file, those that count, and the place of the highest of them.
    signed : bool
        Whether they are in two's complement.
    inverted : bool
        Whether the lowest is white (MONOCHROME1).
    slope, intercept : float
        What makes of a stored number that which the window is about.
    window : (float, float) or None
        Centre and width of the range from black to white.
    """

    allocated: int
    stored: int
    high: int
    signed: bool
    inverted: bool
    slope: float
    intercept: float
    window: tuple[float, float] | None

    @property
    def is_sound(self) -> bool:
        """Whether the bits that count are inside those there are, and the numbers finite."""
        inside = 1 <= self.stored <= self.high + 1 <= self.allocated
        return inside and bool(np.isfinite([self.slope, self.intercept]).all())

    def values(self, samples: NDArray[Any]) -> NDArray[np.int32]:
        """Return the numbers that are meant, without the bits that do not count."""
        shift = self.high + 1 - self.stored
        numbers = samples.astype(np.int32) >> shift & (1 << self.stored) - 1
        if self.signed:
            numbers -= (numbers >> self.stored - 1) << self.stored
        return numbers

    def scaled(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale numbers by the range of their bits, rounded half up."""
        largest = (1 << self.stored) - 1
        return self._looked_up(samples, (np.arange(largest + 1) * 510 + largest) // (2 * largest))

    def shown(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """Return greys as they are to be shown: through the window, the lowest black.

        The window's function is LINEAR (PS3.3, C.11.2.1.2.1).
        """
        if self.window is None:
            greys = self.scaled(samples)
        else:
            centre, width = self.window
            stored = self.values(np.arange(1 << self.stored) << self.high + 1 - self.stored)
            inputs = stored * self.slope + self.intercept
            places = (inputs - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
            greys = self._looked_up(samples, np.floor(np.clip(places, 0, 1) * 255 + 0.5))
        return 255 - greys if self.inverted else greys

    def _looked_up(self, samples: NDArray[Any], table: NDArray[Any]) -> NDArray[np.uint8]:
        """Look up each number, as it is stored, in a table of as many entries as there are."""
        unsigned = samples >> np.uint8(self.high + 1 - self.stored)
        unsigned &= unsigned.dtype.type((1 << self.stored) - 1)
        return np.asarray(table.astype(np.uint8)[unsigned])


def apply_palette(
    source: Source,
    tables: Sequence[tuple[Sequence[int], bytes]],
    order: str,
    numbers: NDArray[np.int32],
) -> NDArray[np.uint8]:
    """Look up numbers (H, W) in the tables of red, green and blue (PS3.3, C.7.6.3.1.5).

    Each table has a descriptor: how many entries, the number of the first, their bits. `order` is
    that of the bytes of entries of 16 bits.

    Raises
    ------
    TruncatedImageError
        If a table is missing or shorter than it says.
    """
    planes = []
    for descriptor, data in tables:
        count, first, bits = (descriptor[0] or 2**16, *descriptor[1:3]) if descriptor else (1, 0, 0)
        wide = len(data) >= 2 * count
        table = np.frombuffer(
            data[: 2 * count if wide else count], f"{order}u2" if wide else np.uint8
        )
        if len(descriptor) != 3 or len(table) < count:
            raise source.damaged("its DICOM header has no full table of colours")
        greys = table >> 8 if wide and bits > 8 else table
        planes.append(greys.astype(np.uint8)[np.clip(numbers - first, 0, count - 1)])
    return np.stack(planes, axis=2)


def to_rgb(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn YBR_FULL, which is JPEG's YCbCr, into RGB."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(colours), "YCbCr").convert("RGB"))


def to_whole_bytes(source: Source, start: int, stop: int, count: int) -> NDArray[np.uint8]:
    """Unpack `count` bytes of a run-length coded segment (PackBits; PS3.5, G.3)."""
    data = source.take(start, stop - start)
    pieces, position, found = list[bytes](), 0, 0
    while found < count and position + 1 < len(data):
        control = data[position]
        if control < _REPEATS_END:
            pieces.append(data[position + 1 : position + 2 + control])
            position += 2 + control
        elif control > _REPEATS_END:
            pieces.append(data[position + 1 : position + 2] * (257 - control))
            position += 2
        else:
            position += 1
            continue
        found += len(pieces[-1])
    if found < count:
        raise source.damaged(f"its DICOM pixels hold {found:,} of {count:,} bytes")
    return np.frombuffer(b"".join(pieces), np.uint8)[:count]
