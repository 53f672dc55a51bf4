"""Whether `classify --resume` loses or doubles anything when it is killed at any moment.

    python -m benchmarks.resume [--images 300] [--kills 20] [--seed 0]

For each kind of table the command runs once without interruption. Then, `--kills` times, it starts
over, is killed (SIGKILL) at a random moment of a run, and is given again to resume. The images are
synthetic cells, every 50th a broken file; the model is the bundled one.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision import images
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.synthetic import KINDS, render_cell
from hematovision.tables.sinks import SUFFIXES
from hematovision.tables.store import store_path

PROGRAM = (sys.executable, "-m", "hematovision")
BROKEN = 50


class Difference(NamedTuple):
    """Rows of a table that differ from those of another, by path."""

    missing: int
    doubled: int
    different: int


def main() -> None:
    """Kill, resume, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    moments = random.Random(args.seed)
    print(
        "| table | images | killed | of which while classifying | missing | doubled | different |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = write_images(Path(name) / "images", args.images)
        for suffix in SUFFIXES:
            print(kill_often(folder, Path(name), suffix, args.kills, moments), flush=True)


def cell(i: int) -> NDArray[np.uint8]:
    """Return a synthetic cell, one of 30 of each kind."""
    return render_cell(KINDS[i % len(KINDS)], seed=i % 30)


def write_images(
    folder: Path, n: int, render: Callable[[int], NDArray[np.uint8]] = cell, broken: int = BROKEN
) -> Path:
    """Write synthetic images, and instead of every `broken`-th a file that is none."""
    folder.mkdir()
    for i in range(n):
        path = folder / f"{i:05d}.png"
        if i % broken == broken - 1:
            path.write_bytes(b"not an image")
        else:
            images.write(path, render(i))
    return folder


def kill_often(folder: Path, work: Path, suffix: str, kills: int, moments: random.Random) -> str:
    """Return the row of one kind of table."""
    whole, out = work / f"whole{suffix}", work / f"killed{suffix}"
    began = time.perf_counter()
    finish(command(folder, DEFAULT_MODEL, whole))
    took = time.perf_counter() - began
    total, killed, classifying = Difference(0, 0, 0), 0, 0
    while killed < kills:
        out.unlink(missing_ok=True)
        for left in out.parent.glob(f"{store_path(out).name}*"):
            left.unlink()
        given = command(folder, DEFAULT_MODEL, out)
        if not killed_after(given, moments.uniform(0, took)):
            continue
        killed += 1
        classifying += store_path(out).exists() and not out.exists()
        finish(given)
        found = compare(out, whole)
        total = Difference(*(a + b for a, b in zip(total, found, strict=True)))
    cells = (suffix, len(list(folder.iterdir())), killed, classifying, *total)
    return f"| {' | '.join(map(str, cells))} |"


def command(folder: Path, model: str | Path, out: Path) -> list[str]:
    """Return the command."""
    words = ("classify", folder, "--model", model, "--out", out, "--resume")
    return [*PROGRAM, *map(str, words)]


def killed_after(words: list[str], seconds: float) -> bool:
    """Run, kill after `seconds`, and return whether it was still running."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def finish(words: list[str]) -> str:
    """Run to the end, where some images may have been refused; return the output."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def compare(table: Path, whole: Path) -> Difference:
    """Compare a table with that of an uninterrupted run, row by row."""
    found, expected = rows(table), rows(whole)
    times = Counter(path for path, _ in found)
    wanted = dict(expected)
    return Difference(
        missing=sum(path not in times for path in wanted),
        doubled=sum(count - 1 for count in times.values()),
        different=sum(wanted.get(path) != row for path, row in found),
    )


def rows(table: Path) -> list[tuple[str, str]]:
    """Read a table of any kind: the path of each row, and the row as text."""
    if table.suffix == ".csv":
        with table.open(encoding="utf-8", newline="") as stream:
            found = list(csv.DictReader(stream))
    elif table.suffix == ".jsonl":
        found = [json.loads(line) for line in table.read_bytes().splitlines()]
    else:
        from pyarrow.parquet import read_table

        found = read_table(table).to_pylist()
    return [(row["path"], json.dumps(row)) for row in found]


if __name__ == "__main__":
    main()
