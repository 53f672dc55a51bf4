"""The time and memory of `analyze` on fields of 640 x 480 pixels.

    python -m benchmarks.field_speed --data DATA [--fields 364] [--runs 5] [--json FILE] [--fill]

`hematovision analyze FOLDER --out RESULTS` is run on that many fields of BCCD, linked into a
folder, with the default detector and classifiers and all its default outputs: --runs times as a
process of its own, and as often on a single field (a cold start), alternately. Memory is the peak
resident memory of the process. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import Measured, describe, markdown_table, run_measured
from benchmarks.options import images_option, parse, publish, results_options

NAME = "field-speed"
PROGRAM = (sys.executable, "-m", "hematovision", "analyze")
FLAGGED = 3  # the exit code if a field has a flag


def main() -> None:
    """Measure, print a table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--fields", type=int, default=364)
    parser.add_argument("--runs", type=int, default=5)
    results_options(parser)
    args = parse(parser)
    paths = sorted((args.data / "bccd" / "JPEGImages").glob("*.jpg"))
    runs: dict[int, list[Measured]] = {1: [], args.fields: []}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for n in runs:
            link(paths, n, work / str(n))
        analyse(work / "1", work / "warm-up")
        for i in range(args.runs):
            for n, found in runs.items():
                found.append(analyse(work / str(n), work / f"{n}-{i}"))
                print(f"{n} fields: {found[-1][:2]}", file=sys.stderr, flush=True)
    table = table_of(runs)
    print(table)
    publish(args, NAME, table, {str(n): [run[:2] for run in found] for n, found in runs.items()})


def link(paths: Sequence[Path], n: int, folder: Path) -> None:
    """Link `n` images into a folder, each under new names until there are enough."""
    folder.mkdir()
    for number in range(n):
        path = paths[number % len(paths)]
        (folder / f"{number:05d}.jpg").symlink_to(path.resolve())


def analyse(folder: Path, out: Path) -> Measured:
    """Analyse a folder in a process of its own."""
    return run_measured((*PROGRAM, folder, "--out", out), allowed=(0, FLAGGED))


def table_of(runs: dict[int, list[Measured]]) -> str:
    """Return the table."""
    rows = []
    for n, found in runs.items():
        times = [run.seconds for run in found]
        middle = statistics.median(times)
        rows.append(
            [
                f"{n:,}",
                f"{middle:.2f} s ({min(times):.2f} to {max(times):.2f})",
                f"{n / middle:.1f}",
                f"{max(run.peak_mb for run in found):.0f} MB",
            ]
        )
    heads = ["fields", "whole process, median of the runs", "fields per second", "peak memory"]
    return f"{markdown_table(heads, rows)}\n\n{describe()}."


if __name__ == "__main__":
    main()
