"""Find the red cells of BCCD's official test that have no box, for a person to confirm.

    python -m benchmarks.missing_boxes --data DATA --sheets DIR

`DIR` gets sheets of numbered crops, each with a red cell that the analysis found and nobody
annotated (yellow), and the annotated cells around it (green); and `candidates.csv`, with their
boxes. A person looks at the sheets and writes into its column `verdict`:

- red cell: it is one, whole or cut by the border of the field;
- again: a part of a cell that has a box already;
- other: a platelet, a white cell, stain, or nothing;
- unclear: inside a clump, for example, where single cells cannot be made out.

`benchmarks/missing_boxes.csv` holds the verdicts of one reader, who is no haematologist.
`benchmarks.fields --part official` adds its red cells to the boxes, and also scores against these
completed boxes. Candidates that a verdict is about already are not shown again.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.options import images_option, parse
from hematovision.evaluation.detection import EvaluatedField
from hematovision.evaluation.detection.baselines import RED
from hematovision.evaluation.detection.matching import match_centres
from hematovision.model.registry import DEFAULT_DETECTOR
from hematovision.workflows.detection.finding import FieldOutcome, Pipeline, find_cells

__all__ = ["VERDICTS", "Candidate", "completed", "read_verdicts", "unmatched"]

VERDICTS = Path(__file__).with_suffix(".csv")
RED_CELL = "red cell"
COLUMNS = ("field", "x_min", "y_min", "x_max", "y_max", "confidence", "verdict")

_CROP = 150  # pixels of a crop on a sheet
_MARGIN = 0.8  # around the box, in its sides
_ACROSS, _DOWN = 10, 6


@dataclass(frozen=True)
class Candidate:
    """A red cell that was found and has no box, and what a person found it to be."""

    field: str
    box: tuple[float, float, float, float]  # xmin, ymin, xmax, ymax in pixels of the field
    confidence: float
    verdict: str = ""


def main() -> None:
    """Write the sheets and the candidates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--sheets", type=Path, required=True, help="the folder to write")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR)
    args = parse(parser)
    from benchmarks.fields import read_set

    outcomes, _ = find_cells(
        Pipeline.load(args.detector), read_set(args.data, "bccd").subset("test")
    )
    known = read_verdicts() if VERDICTS.is_file() else []
    found = [new for one in outcomes for new in _unseen(unmatched(one.evaluated), known)]
    args.sheets.mkdir(parents=True, exist_ok=True)
    write(args.sheets / "candidates.csv", found)
    crops = [crop for one in outcomes for crop in _crops(one, found)]
    for number, start in enumerate(range(0, len(crops), _ACROSS * _DOWN), start=1):
        path = args.sheets / f"sheet-{number:02d}.png"
        _sheet(crops[start : start + _ACROSS * _DOWN], start).save(path)
    print(f"{len(found)} candidates, {len(known)} verdicts known; wrote {args.sheets}")


def unmatched(field: EvaluatedField) -> list[Candidate]:
    """Return the red cells of a field that are kept and match no annotated red cell."""
    own = field.found.kept & (field.found.labels == RED)
    boxes, confidence = field.found.boxes[own], field.found.confidence[own]
    free = match_centres(boxes, confidence, field.boxes_of(RED)) < 0
    return [
        Candidate(field.name, (float(x), float(y), float(u), float(v)), float(p))
        for (x, y, u, v), p in zip(boxes[free].round(1), confidence[free].round(3), strict=True)
    ]


def _unseen(new: Sequence[Candidate], known: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that no verdict is about."""
    if not new:
        return []
    old = [one.box for one in known if one.field == new[0].field]
    same = match_centres(
        np.array([one.box for one in new]), np.ones(len(new)), np.array(old).reshape(-1, 4)
    )
    return [one for one, match in zip(new, same, strict=True) if match < 0]


def completed(fields: Iterable[EvaluatedField]) -> Iterator[EvaluatedField]:
    """Add the red cells without a box that a person confirmed."""
    verdicts = read_verdicts()
    for field in fields:
        more = [one.box for one in verdicts if one.field == field.name and one.verdict == RED_CELL]
        yield replace(
            field,
            boxes=np.concatenate([field.boxes, np.array(more).reshape(-1, 4)]),
            labels=np.concatenate([field.labels, np.full(len(more), RED, field.labels.dtype)]),
        )


def read_verdicts() -> list[Candidate]:
    """Read the verdicts."""
    with VERDICTS.open(newline="") as stream:
        return [
            Candidate(
                row["field"],
                (float(row["x_min"]), float(row["y_min"]), float(row["x_max"]),
                 float(row["y_max"])),
                float(row["confidence"]),
                row["verdict"],
            )
            for row in csv.DictReader(stream)
        ]  # fmt: skip


def write(path: Path, candidates: Iterable[Candidate]) -> None:
    """Write candidates to a file."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((c.field, *c.box, c.confidence, c.verdict) for c in candidates)


def _crops(outcome: FieldOutcome, candidates: Iterable[Candidate]) -> Iterator[Image.Image]:
    """Draw the candidates of a field, each with the annotated red cells around it."""
    own = [one for one in candidates if one.field == outcome.evaluated.name]
    if own:
        pixels = outcome.field.load().pixels
        for one in own:
            yield _crop(pixels, np.array(one.box), outcome.evaluated.boxes)


def _crop(
    pixels: NDArray[np.uint8], box: NDArray[np.float64], others: NDArray[np.float64]
) -> Image.Image:
    side = (box[2:] - box[:2]).max() * (1 + 2 * _MARGIN)
    corner = (box[:2] + box[2:]) / 2 - side / 2
    limits = (*corner, *(corner + side))
    crop = Image.fromarray(pixels).transform(
        (_CROP, _CROP), Image.Transform.EXTENT, limits, Image.Resampling.BILINEAR
    )
    draw, zoom = ImageDraw.Draw(crop), _CROP / side
    for other in others:
        draw.rectangle(tuple((other - np.tile(corner, 2)) * zoom), outline=(0, 200, 0))
    draw.rectangle(tuple((box - np.tile(corner, 2)) * zoom), outline=(255, 230, 0), width=2)
    return crop


def _sheet(crops: Sequence[Image.Image], first: int) -> Image.Image:
    sheet = Image.new("RGB", (_ACROSS * (_CROP + 4), _DOWN * (_CROP + 16)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, crop in enumerate(crops):
        x, y = i % _ACROSS * (_CROP + 4), i // _ACROSS * (_CROP + 16)
        draw.text((x, y), str(first + i), fill="black")
        sheet.paste(crop, (x, y + 12))
    return sheet


if __name__ == "__main__":
    main()
