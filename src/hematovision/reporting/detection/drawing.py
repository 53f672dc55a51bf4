"""Fields with the outlines of correct, false and missed cells."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hematovision.evaluation.detection import EvaluatedField, match_counts
from hematovision.reporting.detection.tables import matched_cells

__all__ = ["SHOWN", "DrawnField", "worst_fields"]

SHOWN = 12
"""Most fields shown in a report."""

_LONGEST = 720  # side of the image in the report, in pixels
_SMALLEST = 400
_QUALITY = 84
# Okabe & Ito's colours, as in the other figures; outlines also differ in width and dashes.
_COLOURS = {"correct": (0, 158, 115), "false": (213, 94, 0), "missed": (0, 114, 178)}
_LETTERS = "RWP"


@dataclass(frozen=True)
class DrawnField:
    """One field in the report."""

    name: str
    image: bytes  # JPEG
    correct: int
    false: int
    missed: int

    @classmethod
    def of(cls, one: EvaluatedField, pixels: NDArray[np.uint8]) -> DrawnField:
        """Draw the outlines of a field's cells on its pixels (H, W, 3)."""
        results = [result for result, *_ in matched_cells(one)]
        return cls(
            one.name,
            _outlined(one, pixels),
            *(results.count(result) for result in ("correct", "false", "missed")),
        )


def worst_fields(fields: Sequence[EvaluatedField], most: int = SHOWN) -> list[int]:
    """Return the positions of the fields with the most false and missed cells, worst first.

    Fields without an error are left out.
    """
    errors = [sum(_wrong(*match_counts(one, i)) for i in one.annotated) for one in fields]
    order = sorted(range(len(fields)), key=lambda i: (-errors[i], fields[i].name))
    return [i for i in order if errors[i]][:most]


def _wrong(matched: int, found: int, annotated: int) -> int:
    return found + annotated - 2 * matched


def _outlined(one: EvaluatedField, pixels: NDArray[np.uint8]) -> bytes:
    height, width = pixels.shape[:2]
    scale = min(max(1.0, _SMALLEST / max(height, width)), _LONGEST / max(height, width))
    image = Image.fromarray(pixels).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS
    )
    canvas = ImageDraw.Draw(image)
    font = ImageFont.load_default(13)
    for result, index, _, sides in sorted(matched_cells(one)):  # correct ones below the others
        box = [float(side) * scale for side in sides]
        if result == "missed":
            _dashed(canvas, box, _COLOURS[result])
        else:
            canvas.ellipse(box, outline=_COLOURS[result], width=3 if result == "false" else 1)
        if result != "correct":
            where = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            canvas.text(where, _LETTERS[index], _COLOURS[result], font, "mm",
                        stroke_width=2, stroke_fill="white")  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _dashed(canvas: ImageDraw.ImageDraw, box: list[float], colour: tuple[int, int, int]) -> None:
    for start in range(0, 360, 40):
        canvas.arc(box, start, start + 24, fill=colour, width=2)
