"""Text pages and drawings: decoys of the training for tuning, other kinds for testing."""

from __future__ import annotations

import string
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hematovision.synthetic.decoys import RENDERED

Part = Literal["tuning", "testing"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]

SIDE = 320
OTHER_FONTS = ("DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf")


def text(part: Part, rng: np.random.Generator, _: object) -> tuple[str, NDArray[np.uint8]]:
    """Return a page: words in one font, or figures and code in others."""
    return _decoy(("words",), rng) if part == "tuning" else _rendered((table, code), rng)


def drawing(part: Part, rng: np.random.Generator, _: object) -> tuple[str, NDArray[np.uint8]]:
    """Return lines, shapes or a chart."""
    if part == "tuning":
        return _decoy(("lines", "polygons", "bars"), rng)
    return _rendered((arcs, pie_chart, line_chart, maze), rng)


def table(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Colour) -> None:
    """Write columns of figures between rules."""
    size = int(rng.integers(9, 24))
    font = _other_font(rng, size)
    for top in range(4, SIDE, round(1.7 * size)):
        draw.line((0, top, SIDE, top), ink)
        for left in range(4, SIDE, 5 * size):
            draw.text((left, top + 2), f"{rng.uniform(0, 100):.2f}", ink, font)


def code(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Colour) -> None:
    """Write indented lines of letters and signs."""
    size = int(rng.integers(9, 30))
    font = _other_font(rng, size)
    signs = list(string.ascii_letters + string.digits + string.punctuation + "    ")
    for top in range(4, SIDE, round(1.3 * size)):
        left = 4 + int(rng.integers(0, 4)) * 2 * size
        draw.text((left, top), "".join(rng.choice(signs, rng.integers(3, 40))), ink, font)


def arcs(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Colour) -> None:
    """Draw arcs."""
    for _ in range(int(rng.integers(2, 20))):
        left, top = rng.uniform(-60, SIDE - 60, 2)
        width, height = rng.uniform(30, 250, 2)
        start, sweep = rng.uniform(0, 360), rng.uniform(40, 300)
        box = (left, top, left + width, top + height)
        draw.arc(box, start, start + sweep, _near(ink, rng), int(rng.integers(1, 12)))


def pie_chart(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Colour) -> None:
    """Draw a pie and its legend."""
    ends = np.append(np.sort(rng.uniform(0, 360, int(rng.integers(2, 8)))), 360)
    start = 0.0
    for row, end in enumerate(ends):
        colour = _any(rng)
        draw.pieslice((30, 30, 250, 250), start, end, colour, ink)
        draw.rectangle((270, 20 + 25 * row, 285, 35 + 25 * row), colour)
        start = end


def line_chart(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Colour) -> None:
    """Draw curves over a grid."""
    for place in range(30, SIDE, 40):
        draw.line((place, 0, place, SIDE), (200, 200, 200))
        draw.line((0, place, SIDE, place), (200, 200, 200))
    for _ in range(int(rng.integers(1, 5))):
        heights = SIDE / 2 + np.cumsum(rng.normal(0, 12, 60))
        draw.line(list(zip(np.linspace(0, SIDE, 60), heights, strict=True)), _near(ink, rng), 3)


def maze(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ink: Colour) -> None:
    """Draw a diagonal in every square of a grid."""
    step = int(rng.integers(8, 40))
    for top in range(0, SIDE, step):
        for left in range(0, SIDE, step):
            ends = (left, left + step) if rng.random() < 0.5 else (left + step, left)
            draw.line((ends[0], top, ends[1], top + step), ink, max(1, step // 6))


def _decoy(names: tuple[str, ...], rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    name = str(rng.choice(names))
    return name, RENDERED[name](rng)


def _rendered(
    makers: tuple[Callable[[ImageDraw.ImageDraw, np.random.Generator, Colour], None], ...],
    rng: np.random.Generator,
) -> tuple[str, NDArray[np.uint8]]:
    maker = makers[rng.integers(len(makers))]
    # Mostly dark on light, as pages are; the rest in any two colours.
    usual = rng.random() < 0.6
    paper = tuple(int(v) for v in rng.integers(225, 256, 3)) if usual else _any(rng)
    ink = tuple(int(v) for v in rng.integers(0, 90, 3)) if usual else _any(rng)
    page = Image.new("RGB", (SIDE, SIDE), paper)
    maker(ImageDraw.Draw(page), rng, ink)
    if rng.random() < 0.4:
        page = page.rotate(float(rng.uniform(-40, 40)), fillcolor=paper)
    return maker.__name__, np.array(page)


def _any(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(level) for level in rng.integers(0, 256, 3))
    return red, green, blue


def _near(colour: Colour, rng: np.random.Generator) -> Colour:
    red, green, blue = (
        int(np.clip(level + shift, 0, 255))
        for level, shift in zip(colour, rng.normal(0, 25, 3), strict=True)
    )
    return red, green, blue


def _other_font(rng: np.random.Generator, size: int) -> Font:
    """Open one of the fonts that matplotlib carries."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise SystemExit("The fonts are those of matplotlib: pip install hematovision[train].")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / str(rng.choice(OTHER_FONTS)), size)
