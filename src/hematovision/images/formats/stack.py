"""A TIFF's pages as its metadata declare them: channels, slices, time points and range."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Stack", "colour_order", "read_shaped", "whole"]

RGB = ("red", "green", "blue")
_SHORT_NAMES: Final = {"r": "red", "g": "green", "b": "blue"}
# Names that tell nothing: "Channel:0:1", "ch 2", "c:1/3 - cell", "C1".
_NUMBERED: Final = re.compile(r"(channel|ch|c|component|plane|image)?[\s:#_/-]*[\d:/]*( - .*)?")
_FULL, _NONE = 200, 55  # of 255: what counts as all of a primary colour, and as nothing of it
_LARGEST: Final = 65_535


@dataclass(frozen=True, slots=True)
class Stack:
    """What the metadata of a TIFF declare.

    Parameters
    ----------
    origin : str
        Which metadata, for messages.
    channels, slices, frames : int
        Sizes in pages: channels with a page of their own, slices of a z-stack, time points.
    samples : int
        Channels in one page, 0 where that is not declared.
    names : tuple of str
        Of the channels; may be fewer, and empty.
    colours : tuple of (int, int, int)
        RGB in which each channel is shown; may be fewer.
    white : int
        The largest value that a sample can have, 0 where that is not declared.
    pages : tuple of int, optional
        Which page of the file holds each channel, -1 where none does; None for one after another.
    total : int
        How many pages there are, 0 where that is not declared.
    """

    origin: str = "its metadata"
    channels: int = 1
    slices: int = 1
    frames: int = 1
    samples: int = 0
    names: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    white: int = 0
    pages: tuple[int, ...] | None = None
    total: int = 0


def whole(text: str | None, most: int = 2**31, default: int = 0) -> int:
    """Read a whole number from 0 to `most` that metadata give as text, or return `default`."""
    stripped = (text or "").strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 10):
        return default
    return number if (number := int(stripped)) <= most else default


def read_shaped(description: bytes, samples: int) -> Stack | None:
    """Read the sizes that tifffile writes as JSON, ``{"shape": [3, 224, 224], "axes": "CYX"}``.

    `samples` is the number of samples per pixel of a page, which holds as many channels.
    """
    try:
        content = json.loads(description.rstrip(b"\0"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    shape, axes = content.get("shape"), content.get("axes")
    if not (isinstance(shape, list) and isinstance(axes, str) and len(axes) == len(shape)):
        return None
    sizes = {"C": 1, "Z": 1, "T": 1}
    for axis, size in zip(axes.upper(), shape, strict=True):
        if axis not in "YXS":
            name = axis if axis in sizes else "T"  # whatever varies, it is no colour
            sizes[name] *= size if isinstance(size, int) and 0 < size < _LARGEST else 1
    in_page = samples if sizes["C"] == samples else 1
    channels = sizes["C"] // in_page
    return Stack("its JSON description", channels, sizes["Z"], sizes["T"], samples=in_page)


def colour_order(stack: Stack) -> tuple[int, int, int] | None:
    """Tell which of three channels are red, green and blue; None where it cannot be told.

    Names of colours and the colours in which channels are shown count. Where neither says anything,
    the order is red, green, blue, as ImageJ and Bio-Formats show it.
    """
    names = [_plain(name) for name in stack.names]
    shown = [_primary(colour) for colour in stack.colours]
    found = {order for order in (_order(names), _order(shown)) if order}
    if len(found) == 1:
        return found.pop()
    return None if any(names) or any(shown) else (0, 1, 2)


def _order(colours: Sequence[str]) -> tuple[int, int, int] | None:
    if sorted(colours) != sorted(RGB):
        return None
    red, green, blue = (colours.index(colour) for colour in RGB)
    return red, green, blue


def _plain(name: str) -> str:
    """Return a channel's name in lower case, or nothing if it is only a number."""
    lower = name.strip().lower()
    return "" if _NUMBERED.fullmatch(lower) else _SHORT_NAMES.get(lower, lower)


def _primary(colour: tuple[int, int, int]) -> str:
    """Name a channel's colour; grey and white say nothing about it."""
    if max(colour) - min(colour) <= _NONE:
        return ""
    for index, name in enumerate(RGB):
        others = colour[:index] + colour[index + 1 :]
        if colour[index] >= _FULL and max(others) <= _NONE:
            return name
    return "mixed"
