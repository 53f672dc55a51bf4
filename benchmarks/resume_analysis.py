"""Whether `analyze --resume` loses, doubles or changes anything when it is killed at any moment.

    python -m benchmarks.resume_analysis [--fields 40] [--kills 20] [--seed 0] [--detector MODEL]

The command runs once without interruption. Then, `--kills` times, it starts over in a new folder,
is killed (SIGKILL) at a random moment, and is given again to resume. All files of the two folders
are compared: the tables row by row, the summary, report, overlays and exports byte by byte, without
the time at which summary and report were written. The images are synthetic fields, every tenth a
broken file.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.resume import PROGRAM, Difference, finish, killed_after, write_images
from hematovision.model.registry import DEFAULT_DETECTOR
from hematovision.synthetic import render_field
from hematovision.tables.store import store_path
from hematovision.workflows.analyze import RESULTS

BROKEN = 10
_TIME = re.compile(rb"20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d\+00:00| UTC)")


def main() -> None:
    """Kill, resume, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", default=DEFAULT_DETECTOR)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        fields = write_images(
            Path(name) / "fields",
            args.fields,
            lambda i: render_field(seed=i, size=(240, 320)).image,
            BROKEN,
        )
        print("| fields | cells | killed | of which while analysing | missing | doubled "
              "| different | other files that differ |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|")
        print(kill_often(fields, Path(name), args.detector, args.kills, random.Random(args.seed)))


def command(fields: Path, detector: str, out: Path) -> list[str]:
    """Return the command."""
    words = ("analyze", fields, "--detector", detector, "--out", out, "--resume", "--overlays")
    return [*PROGRAM, *map(str, words), "--export", "coco", "--export", "yolo"]


def kill_often(fields: Path, work: Path, detector: str, kills: int, moments: random.Random) -> str:
    """Return the row of the table."""
    whole, out = work / "whole", work / "killed"
    began = time.perf_counter()
    finish(command(fields, detector, whole))
    took = time.perf_counter() - began
    total, others, killed, analysing = Difference(0, 0, 0), 0, 0, 0
    while killed < kills:
        shutil.rmtree(out, ignore_errors=True)
        given = command(fields, detector, out)
        if not killed_after(given, moments.uniform(0, took)):
            continue
        killed += 1
        analysing += store_path(out / RESULTS).exists() and not (out / "cells.csv").exists()
        finish(given)
        found, differing = compare(out, whole)
        total = Difference(*(a + b for a, b in zip(total, found, strict=True)))
        others += differing
    cells = len((whole / "cells.csv").read_text(encoding="utf-8").splitlines()) - 1
    n = len(list(fields.iterdir()))
    return f"| {' | '.join(map(str, (n, cells, killed, analysing, *total, others)))} |"


def compare(folder: Path, whole: Path) -> tuple[Difference, int]:
    """Compare the tables row by row, and count the other files that are not the same."""
    difference = Difference(0, 0, 0)
    for name in ("cells.csv", "fields.csv"):
        found, expected = ((place / name).read_text(encoding="utf-8") for place in (folder, whole))
        rows, wanted = Counter(found.splitlines()), Counter(expected.splitlines())
        doubled = sum(count - wanted[row] for row, count in rows.items() if count > wanted[row] > 0)
        one = Difference((wanted - rows).total(), doubled, sum(row not in wanted for row in rows))
        if found != expected and one == (0, 0, 0):
            one = Difference(0, 0, 1)  # another order
        difference = Difference(*(a + b for a, b in zip(difference, one, strict=True)))
    names = {
        path.relative_to(place)
        for place in (folder, whole)
        for path in place.rglob("*")
        if path.is_file() and path.suffix != ".csv" and not path.name.startswith(RESULTS)
    }
    return difference, sum(_content(folder / name) != _content(whole / name) for name in names)


def _content(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    return (
        _TIME.sub(b"", path.read_bytes())
        if path.suffix in (".json", ".html")
        else (path.read_bytes())
    )


if __name__ == "__main__":
    main()
