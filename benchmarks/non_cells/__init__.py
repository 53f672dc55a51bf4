"""Images without a blood cell, made on the fly, to test that they are sent for review.

Nothing is downloaded and nothing is kept: photographs come from the scikit-image wheel, fields
from the folder of real images, the rest is rendered here. The images for tuning and those for
testing share no source: other photographs, other laboratories' fields, other generators of noise,
other fonts and kinds of drawings. Methods are selected on the former and reported on the latter.
The rendered images for tuning are the decoys used in training; none of those for testing is.

The same part, seed and count give the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision import images

from . import drawings, fields, noise, photographs
from .fields import Places

__all__ = ["EXTRA", "KINDS", "NonCell", "Part", "Places", "make"]

Part: TypeAlias = Literal["tuning", "testing"]
Maker: TypeAlias = Callable[[Part, np.random.Generator, Places], tuple[str, NDArray[np.uint8]]]

KINDS: dict[str, tuple[int, Maker]] = {
    "photographs": (140, photographs.photograph),
    "textures": (60, photographs.texture),
    "other microscopy and tissue": (60, photographs.tissue),
    "blank and tinted": (80, noise.blank),
    "empty parts of fields": (80, fields.empty),
    "defocused fields": (80, fields.defocused),
    "noise": (100, noise.noise),
    "text": (80, drawings.text),
    "drawings": (80, drawings.drawing),
}
"""How many of each kind are made, and by what."""

EXTRA: dict[str, tuple[int, Maker]] = {"whole fields": (80, fields.whole)}
"""Sharp fields of many cells, reported separately."""


@dataclass(frozen=True)
class NonCell:
    """An image without a cell.

    Parameters
    ----------
    kind : str
        One of `KINDS` or `EXTRA`.
    source : str
        Its origin: a photograph, a laboratory, a generator.
    pixels : array of uint8, (224, 224, 3)
    """

    kind: str
    source: str
    pixels: NDArray[np.uint8]


def make(part: Part, places: Places, seed: int = 0) -> Iterator[NonCell]:
    """Make the images of one part, kind by kind.

    Parameters
    ----------
    part : {"tuning", "testing"}
    places : Places
        The folder of real images and the sets imported from it, for the fields of view.
    seed : int
        What the drawings depend on.
    """
    for number, (kind, (count, maker)) in enumerate((KINDS | EXTRA).items()):
        rng = np.random.default_rng((seed, number, part == "testing"))
        for _ in range(count):
            source, pixels = maker(part, rng, places)
            yield NonCell(kind, source, images.fit(pixels))
