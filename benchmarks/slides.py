"""Time, memory and accuracy of `analyze` on a synthetic slide with exact ground truth.

    python -m benchmarks.slides [--side 50000] [--glass 0.5] [--format plain|ome|svs|dicom]
                                [--detector MODEL] [--folder FOLDER] [--json FILE]

The slide is a pyramid of JPEG tiles, a mosaic of four synthetic fields of 1,024 x 1,024 pixels and
empty glass (`slide_files`). `hematovision analyze` runs on it as a process of its own, without a
classifier of white cells. Printed are the seconds of the whole process, its peak memory, and the
cells found against the truth: matched by the distance of their centres, at most half a red cell.
Cells of the truth that are matched twice are cells that two regions have found.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe, markdown_table, run_measured, write_json
from benchmarks.slide_files import Mosaic, make_mosaic, write_dicom, write_pyramid
from hematovision.model.registry import DEFAULT_DETECTOR

PROGRAM = (sys.executable, "-m", "hematovision")
CLASSES = ("RBC", "WBC", "Platelets")


def main() -> None:
    """Write a slide, analyse it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=50_000, help="in pixels")
    parser.add_argument("--glass", type=float, default=0.5, help="share of empty patches")
    parser.add_argument("--format", choices=("plain", "ome", "svs", "dicom"), default="plain")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR)
    parser.add_argument("--folder", type=Path, help="keep the slide and the results here")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        mosaic = make_mosaic(args.side, glass=args.glass)
        slide = write(folder, mosaic, args.format)
        found = measure(slide, folder / "results", args.detector)
        results = {"side": args.side, "format": args.format, **found, **compare(folder, mosaic)}
    print(describe())
    print(markdown_table(list(results), [list(results.values())]))
    if args.json:
        write_json(args.json, results)


def write(folder: Path, mosaic: Mosaic, kind: str) -> Path:
    """Write the slide, unless it is there."""
    if kind == "dicom":
        return write_dicom(folder / "dicom", mosaic)
    path = folder / ("slide.svs" if kind == "svs" else "slide.tif")
    if not path.exists():
        write_pyramid(path, mosaic, ome=kind == "ome", aperio=kind == "svs")
    return path


def measure(slide: Path, out: Path, detector: str) -> dict[str, str]:
    """Analyse the slide; return its size, the seconds and the peak memory."""
    words = ("analyze", slide, "--out", out, "--detector", detector, "--classifier", "none")
    done = run_measured([*PROGRAM, *words], allowed=(0, 3))
    size = sum(path.stat().st_size for path in (slide.parent.glob(f"*{slide.suffix}")))
    return {
        "file": f"{size / 2**20:,.0f} MB",
        "seconds": f"{done.seconds:,.0f}",
        "peak memory": f"{done.peak_mb:,.0f} MB",
    }


def compare(folder: Path, mosaic: Mosaic) -> dict[str, str]:
    """Compare the cells found with the truth, class by class."""
    boxes, labels = mosaic.truth
    found = Counter[str]()
    places: dict[str, list[tuple[float, float]]] = {name: [] for name in CLASSES}
    with (folder / "results" / "cells.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found[row["label"]] += 1
            x0, y0, x1, y1 = (float(row[name]) for name in ("x_min", "y_min", "x_max", "y_max"))
            places[row["label"]].append(((x0 + x1) / 2, (y0 + y1) / 2))
    true = (boxes[:, :2] + boxes[:, 2:]) / 2
    reds = boxes[np.array(labels) == "RBC"]
    near = float(np.median(reds[:, 2] - reds[:, 0])) / 2
    results, doubled = dict[str, str](), 0
    for name in CLASSES:
        own = true[np.array(labels) == name]
        hits = matched(own, np.array(places[name]).reshape(-1, 2), near)
        doubled += int((hits > 1).sum())
        results[name] = f"{int((hits > 0).sum()):,} of {len(own):,}; {found[name]:,} found"
    return {**results, "found twice": str(doubled)}


def matched(
    true: NDArray[np.float64], found: NDArray[np.float64], near: float
) -> NDArray[np.int64]:
    """Return how many cells were found nearer to each true cell than to any other, and near it."""
    hits = np.zeros(len(true), np.int64)
    if not len(true) or not len(found):
        return hits
    cells = dict[tuple[int, int], list[int]]()
    for index, (x, y) in enumerate(true):
        cells.setdefault((int(x // near), int(y // near)), []).append(index)
    for x, y in found:
        column, row = int(x // near), int(y // near)
        around: Sequence[int] = [
            index
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            for index in cells.get((column + dx, row + dy), ())
        ]
        if around:
            distances = np.hypot(*(true[around] - (x, y)).T)
            if distances.min() <= near:
                hits[around[int(distances.argmin())]] += 1
    return hits


if __name__ == "__main__":
    main()
