"""A predictor that counts dots: 0 to n rows per image, with columns that no classifier has."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.rows import ERROR, Column, Schema, Value

SCHEMA = Schema(
    (
        Column("image"),
        Column("x", "integer", required=False),
        Column("share", "number", required=False),
        Column("on_edge", "flag", required=False),
        Column(ERROR),
    )
)


@dataclass(frozen=True)
class Dot:
    """A white pixel, or the error of an image."""

    image: str
    x: int | None = None
    share: float | None = None
    on_edge: bool | None = None
    error: str = ""
    schema: Schema = SCHEMA

    def values(self) -> dict[str, Value]:
        return {name: getattr(self, name) for name in SCHEMA.names}


class DotCounter:
    """Yields a row for each white pixel in the first line of an image."""

    schema = SCHEMA
    classes = ("dot",)
    identity: Mapping[str, str | float] = {"model": "d0" * 32}
    threads = 2
    explains = False

    def read(self, source: str | Path | bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        return source if isinstance(source, np.ndarray) else images.read(source, name=name)

    def predict_rows(self, pixels: NDArray[np.uint8], name: str, *, explain: bool = False):
        line = pixels[0, :, 0]
        places = np.flatnonzero(line == 255)
        last = len(line) - 1
        return [Dot(name, int(x), 1 / len(places), bool(x in (0, last))) for x in places], None

    def unreadable(self, name: str, reason: str) -> Dot:
        return Dot(name, error=reason)


def dots(*places: int, width: int = 8) -> NDArray[np.uint8]:
    """Return a black image with white pixels in its first line."""
    image = np.zeros((4, width, 3), np.uint8)
    image[0, list(places)] = 255
    return image


def png(*places: int) -> bytes:
    return images.encode_png(dots(*places))
