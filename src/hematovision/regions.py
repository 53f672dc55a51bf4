"""Regions: rectangles of an image that is too large to be processed at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Region"]

_BOX = re.compile(r"(\d{1,9}),(\d{1,9}),([1-9]\d{0,8}),([1-9]\d{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the image in a file, in pixels of its full size (level 0 of a slide)."""

    path: Path
    x: int  # of the left column
    y: int  # of the top row
    width: int
    height: int

    @property
    def box(self) -> str:
        """The rectangle as text: ``"x,y,width,height"``."""
        return f"{self.x},{self.y},{self.width},{self.height}"

    @classmethod
    def parse(cls, path: Path, box: str) -> Region:
        """Read a rectangle written as by `box`; spaces around the numbers are ignored.

        Raises `ValueError` for other text, or a rectangle without pixels.

        Examples
        --------
        >>> Region.parse(Path("slide.svs"), "1000, 0, 2048, 2048").box
        '1000,0,2048,2048'
        """
        found = _BOX.fullmatch(",".join(number.strip() for number in box.split(",")))
        if found is None:
            raise ValueError(
                "a region must be x,y,width,height in pixels: four whole numbers, with a width and "
                f"height above 0, such as 1000,0,2048,2048. Received: {box[:80]!r}"
            )
        return cls(path, *map(int, found.groups()))
