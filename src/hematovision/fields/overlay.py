"""Overlays: a field with the outlines of its cells, coloured by class, and a legend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hematovision.fields.rows import CELL_CLASSES, CellRow

__all__ = ["COLOURS", "draw_cells"]

Colour: TypeAlias = tuple[int, int, int]

COLOURS: Mapping[str, Colour] = MappingProxyType(
    {"RBC": (0, 114, 178), "WBC": (0, 128, 90), "Platelets": (230, 120, 0)}
)
"""The colour of each class: distinct for colour-blind readers, and from pink and purple stains.

They follow Okabe and Ito, "Color Universal Design" (2008), with a darker green and orange.
"""

_INK, _PAPER, _HALO = (30, 30, 30), (255, 255, 255), (255, 255, 255)

_SMALLEST_CELL = 24.0
"""Red cells are enlarged to this width in pixels, so that outlines and marks have space."""

_MIN_SIDE, _MAX_SIDE = 1024, 4096
"""Limits on the longer side of an overlay, in pixels."""

_MARK = "?"
"""Marks cells in review."""

_DASHES = 8
"""Dashes around a cell in review."""

_FAINT = 0.45
"""Opacity of the outline of a cell that does not count."""


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels of the overlay."""

    scale: float  # pixels of the overlay per pixel of the field
    line: float  # width of an outline
    text: int  # height of labels
    legend: int  # height of the text of the legend


def draw_cells(
    image: NDArray[np.uint8],
    cells: Iterable[CellRow],
    *,
    rbc_diameter_px: float | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.uint8]:
    """Draw the outlines of cells on their field, with a legend below.

    Each cell has an ellipse in the colour of its class: dashed with a question mark if it is in
    review, faint if it does not count. White cells have their subtype and its probability. Line
    width and text scale with the red cells and with the size of the image. Small fields are
    enlarged and very large ones reduced.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The field, or a region of a slide, as displayed.
    cells : iterable of CellRow
        Its cells, with boxes in pixels of the whole image.
    rbc_diameter_px : float, optional
        Width of a red cell in pixels; by default the median of the cells.
    origin : tuple of float
        The x and y of the upper left corner of `image` in the whole image.

    Returns
    -------
    ndarray of uint8, shape (H', W', 3)
        RGB; the legend is below the field.
    """
    shown = sorted(cells, key=_layer)
    style = _style(image.shape[1], image.shape[0], rbc_diameter_px or _median_width(shown))
    base = _resized(image, style.scale)
    for cell in shown:
        _outline(base, cell, _placed(cell, origin, style.scale), style)
    canvas = Image.fromarray(base)
    _write_labels(canvas, [(cell, _placed(cell, origin, style.scale)) for cell in shown], style)
    legend = _legend(shown, canvas.width, style)
    return np.concatenate([np.asarray(canvas, np.uint8), legend])


def _layer(cell: CellRow) -> tuple[bool, int]:
    """Draw cells in review above others, and white cells and platelets above red cells."""
    return cell.decision == "review", ("RBC", "Platelets", "WBC").index(cell.label)


def _median_width(cells: Sequence[CellRow]) -> float | None:
    red = [cell for cell in cells if cell.label == "RBC"] or cells
    widths = [math.sqrt(_side(c.x_max - c.x_min) * _side(c.y_max - c.y_min)) for c in red]
    return float(np.median(widths)) if widths else None


def _side(length: float) -> float:
    return max(length, 1.0)


def _style(width: int, height: int, diameter: float | None) -> _Style:
    """Choose sizes that are legible both on a screen and when zoomed in."""
    longer = max(width, height)
    diameter = diameter or longer / 10
    scale = max(1.0, _MIN_SIDE / longer, _SMALLEST_CELL / diameter)
    scale = min(scale, _MAX_SIDE / longer)
    longer, diameter = round(longer * scale), diameter * scale
    line = min(max(longer / 900, 0.045 * diameter), longer / 200)
    line = max(1.2, min(line, 0.12 * diameter))
    text = min(max(0.32 * diameter, longer / 90), longer / 32)
    return _Style(scale, line, max(11, round(text)), max(12, round(longer / 60)))


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return a resized copy."""
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    sized = Image.fromarray(np.ascontiguousarray(image))
    if size != sized.size:
        sized = sized.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.array(sized, np.uint8)


def _placed(
    cell: CellRow, origin: tuple[float, float], scale: float
) -> tuple[float, float, float, float]:
    """Return the box of a cell in pixels of the overlay."""
    x, y = origin
    left, top = (cell.x_min - x) * scale, (cell.y_min - y) * scale
    return left, top, (cell.x_max - x) * scale, (cell.y_max - y) * scale


def _outline(
    base: NDArray[np.uint8],
    cell: CellRow,
    box: tuple[float, float, float, float],
    style: _Style,
) -> None:
    """Draw an antialiased ellipse with a white edge, in place."""
    height, width = base.shape[:2]
    margin = 2 * style.line + 1
    left, top = max(0, int(box[0] - margin)), max(0, int(box[1] - margin))
    right, bottom = min(width, int(box[2] + margin) + 1), min(height, int(box[3] + margin) + 1)
    if left >= right or top >= bottom:
        return
    patch = base[top:bottom, left:right]
    distance, angle = _ellipse(box, left, top, patch.shape[:2])
    strength = 1.0 if cell.counted else _FAINT
    if cell.decision == "review":
        strength = strength * (np.mod(angle * _DASHES / (2 * np.pi), 1.0) < 0.6)
    blended = patch.astype(np.float32)
    edge = style.line / 2
    for colour, half in ((_HALO, edge + max(0.75, 0.5 * edge)), (COLOURS[cell.label], edge)):
        cover = (strength * np.clip(half + 0.5 - np.abs(distance), 0, 1))[..., None]
        blended += cover * (np.asarray(colour, np.float32) - blended)
    patch[:] = np.rint(blended).astype(np.uint8)


def _ellipse(
    box: tuple[float, float, float, float], left: int, top: int, shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each pixel's signed distance from an ellipse, to first order, and its angle."""
    a, b = _side(box[2] - box[0]) / 2, _side(box[3] - box[1]) / 2
    rows, columns = np.indices(shape, dtype=np.float32)
    x = columns + np.float32(left + 0.5 - (box[0] + box[2]) / 2)
    y = rows + np.float32(top + 0.5 - (box[1] + box[3]) / 2)
    radius = np.hypot(x / a, y / b)
    slope = np.maximum(np.hypot(x / a**2, y / b**2), 1e-6)
    return radius * (radius - 1) / slope, np.arctan2(y / b, x / a)


def _write_labels(
    canvas: Image.Image,
    placed: Sequence[tuple[CellRow, tuple[float, float, float, float]]],
    style: _Style,
) -> None:
    """Write the subtype of white cells, and a question mark at cells in review."""
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(style.text)
    halo = max(1, style.text // 8)
    for cell, box in placed:
        text = _label(cell)
        if not text:
            continue
        length = font.getlength(text)
        x = min(max((box[0] + box[2] - length) / 2, halo), max(halo, canvas.width - length - halo))
        y = _label_top(text, box, style, canvas.height)
        draw.text(
            (x, y), text, fill=COLOURS[cell.label], font=font, stroke_width=halo, stroke_fill=_HALO
        )


def _label_top(
    text: str, box: tuple[float, float, float, float], style: _Style, height: int
) -> float:
    """Return the y of a label: above the cell, or below it at the upper border of the field.

    A question mark is on the outline, so that it does not seem to belong to the next cell.
    """
    reach = 0.6 * style.text if text == _MARK else style.line + 1.15 * style.text
    if (above := box[1] - reach) >= 0:
        return above
    below = box[3] - reach if text == _MARK else box[3] + style.line
    return min(below, height - 1.3 * style.text)


def _label(cell: CellRow) -> str:
    mark = _MARK if cell.decision == "review" else ""
    if cell.label != "WBC":
        return mark
    sure = cell.confidence if cell.subtype_confidence is None else cell.subtype_confidence
    return f"{cell.subtype or cell.label}{mark} {sure:.0%}"


def _legend(cells: Sequence[CellRow], width: int, style: _Style) -> NDArray[np.uint8]:
    """Return the legend on a white strip of the overlay's width."""
    font = ImageFont.load_default(style.legend)
    swatch, gap = round(1.2 * style.legend), style.legend // 2
    lines: list[list[tuple[str, str]]] = [[]]
    used = gap
    for key, text in _entries(cells):
        needed = round(swatch + gap + font.getlength(text) + 2 * gap)
        if lines[-1] and used + needed > width:
            lines.append([])
            used = gap
        lines[-1].append((key, text))
        used += needed
    step = round(1.7 * style.legend)
    strip = np.full((step * len(lines) + gap, width, 3), _PAPER, np.uint8)
    places: list[tuple[int, int, str]] = []
    for number, line in enumerate(lines):
        x, y = gap, gap // 2 + number * step
        for key, text in line:
            _swatch(strip, key, x, y + (step - swatch) / 2, swatch, style)
            places.append((x + swatch + gap, y + step // 2, text))
            x += round(swatch + gap + font.getlength(text) + 2 * gap)
    canvas = Image.fromarray(strip)
    draw = ImageDraw.Draw(canvas)
    for x, y, text in places:
        draw.text((x, y), text, fill=_INK, font=font, anchor="lm")
    return np.asarray(canvas, np.uint8)


def _entries(cells: Sequence[CellRow]) -> list[tuple[str, str]]:
    """Return the key and text of each entry: counted cells by class, then the kinds of outlines."""
    counted = Counter(cell.label for cell in cells if cell.counted)
    entries = [(label, f"{label} {counted[label]}") for label in CELL_CLASSES]
    in_review = [cell for cell in cells if cell.decision == "review"]
    excluded = sum(not cell.counted for cell in cells)
    review = sum(cell.counted for cell in in_review)
    entries += [("review", f"review {review}")] if in_review else []
    entries += [("excluded", f"at the edge, not counted {excluded}")] if excluded else []
    return entries


def _swatch(
    strip: NDArray[np.uint8], key: str, x: float, y: float, size: int, style: _Style
) -> None:
    """Draw the sample outline of a legend entry."""
    cell = CellRow(
        "", x, y, x + size, y + size, label=key if key in COLOURS else "RBC", confidence=1.0,
        decision="review" if key == "review" else "accepted", reason="", subtype="",
        subtype_confidence=None, p_RBC=1.0, p_WBC=0.0, p_Platelets=0.0, on_edge=False,
        counted=key != "excluded",
    )  # fmt: skip
    line = max(1.5, min(style.line, size / 7))
    _outline(strip, cell, (x, y, x + size, y + size), _Style(1.0, line, 0, 0))
