"""Parts of real fields of view without a cell, fields out of focus, and whole fields.

Tuning and testing take the fields of different laboratories. Boxes are not complete everywhere;
what is cut as empty must therefore also look even.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hematovision import images
from hematovision.data.cells import CELLS_FILE, read_cells

Part = Literal["tuning", "testing"]

LABS = {"tuning": ("bccd", "draaslan"), "testing": ("raabin", "txl-pbc")}
IMAGES = {"bccd": "bccd", "draaslan": "draaslan", "raabin": "txl/raabin", "txl-pbc": "txl/pbc"}
"""Where below the folder of real images the fields of each set lie."""

WHOLE = {"tuning": ("bccd", "draaslan"), "testing": ("raabin",)}
"""The fields of `txl/pbc` are single-cell images, which models may know."""

SIDES = (28, 90)  # Pixels of an empty part: from a platelet's crop to a white cell's.
MAX_SHADE = 16  # Levels under the light of the field's background: red cells are from 25 on.
BLUR = (0.05, 0.15)  # Radius of the Gaussian in sides of the image: a shade is all that is left.
TRIES = 60


class Places(NamedTuple):
    """Where the real images lie, and the sets imported from them (`recipes.sets.prepare`)."""

    data: Path
    sets: Path


class Field(NamedTuple):
    """An image file and the boxes (M, 4) in it."""

    path: Path
    boxes: NDArray[np.float64]


def empty(part: Part, rng: np.random.Generator, places: Places) -> tuple[str, NDArray[np.uint8]]:
    """Return a part of a field in which there is no box and no dark spot."""
    while True:
        lab, field = _draw(LABS[part], rng, places)
        image = images.read(field.path)
        light = _light(image)
        for _ in range(TRIES):
            side = int(rng.integers(*SIDES))
            top, left = (int(rng.integers(length - side)) for length in image.shape[:2])
            window = image[top : top + side, left : left + side]
            if not _meets(field.boxes, left, top, side) and _darkest(window) >= light - MAX_SHADE:
                return lab, window


def defocused(
    part: Part, rng: np.random.Generator, places: Places
) -> tuple[str, NDArray[np.uint8]]:
    """Return a field, or a quarter of it, so far out of focus that no cell is recognisable."""
    lab, field = _draw(LABS[part], rng, places)
    image = images.read(field.path)
    if rng.random() < 0.5:
        image = image[: len(image) // 2, : image.shape[1] // 2]
    radius = rng.uniform(*BLUR) * min(image.shape[:2])
    blurred = Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius))
    return lab, np.asarray(blurred)


def whole(part: Part, rng: np.random.Generator, places: Places) -> tuple[str, NDArray[np.uint8]]:
    """Return a field as it is."""
    lab, field = _draw(WHOLE[part], rng, places)
    return lab, images.read(field.path)


def _draw(labs: tuple[str, ...], rng: np.random.Generator, places: Places) -> tuple[str, Field]:
    lab = str(rng.choice(labs))
    fields = _fields(lab, places)
    return lab, fields[rng.integers(len(fields))]


def _meets(boxes: NDArray[np.float64], left: int, top: int, side: int) -> bool:
    return bool(
        (
            (boxes[:, 0] < left + side)
            & (boxes[:, 2] > left)
            & (boxes[:, 1] < top + side)
            & (boxes[:, 3] > top)
        ).any()
    )


def _light(field: NDArray[np.uint8]) -> float:
    """Return the level of the background: the median of the field's brightest fifth."""
    return float(np.percentile(field[::4, ::4, 1], 90))


def _darkest(window: NDArray[np.uint8]) -> float:
    # Green is the channel in which the stains absorb most; a hundredth may be grains.
    return float(np.percentile(window[..., 1], 1))


@cache
def _fields(lab: str, places: Places) -> list[Field]:
    boxes = defaultdict(list)
    for cell in read_cells(places.sets / lab / CELLS_FILE):
        boxes[cell.source].append(cell.box)
    folder = places.data / IMAGES[lab]
    return [Field(folder / source, np.array(found)) for source, found in sorted(boxes.items())]
