"""The cold start of `classify`, and its memory for one image and for many.

    python -m benchmarks.startup --data DATA [--images 1 1000 100000] [--tables .csv] [--runs 5]
        [--json FILE] [--fill]

`hematovision classify one.jpg` (a cold start: a whole process for one prediction) is run --runs
times after one warm-up. Then `hematovision classify FOLDER --out FILE` is run once for each number
of images and each kind of table named by --tables; times are of whole processes, memory is the peak
resident memory. The images are PBC's single cells, linked under new names until there are
enough. A hundred thousand take some minutes. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import Measured, describe, markdown_table, run_measured
from benchmarks.options import images_option, parse, publish, results_options

NAME = "startup"
PROGRAM = (sys.executable, "-m", "hematovision", "classify")


def main() -> None:
    """Measure, print a table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 1000, 100_000])
    parser.add_argument("--tables", nargs="+", default=[".csv"], help="such as .csv .parquet")
    parser.add_argument("--runs", type=int, default=5)
    results_options(parser)
    args = parse(parser)
    paths = sorted((args.data / "pbc").rglob("*.jpg"))
    cold = start_cold(paths[0], args.runs)
    with tempfile.TemporaryDirectory() as name:
        many = {
            (n, suffix): run_many(paths, n, Path(name), suffix)
            for n in args.images
            for suffix in args.tables
        }
    table = table_of(cold, many)
    print(table)
    figures = {
        "cold": [[run.seconds, run.peak_mb] for run in cold],
        "many": {f"{n} {kind}": list(run[:2]) for (n, kind), run in many.items()},
    }
    publish(args, NAME, table, figures)


def start_cold(path: Path, runs: int) -> list[Measured]:
    """Classify one image in separate processes; leave out the first, which fills caches."""
    return [run_measured((*PROGRAM, path)) for _ in range(runs + 1)][1:]


def run_many(paths: list[Path], n: int, work: Path, suffix: str) -> Measured:
    """Classify `n` images in one folder."""
    folder = work / str(n)
    if not folder.exists():
        folder.mkdir()
        for number in range(n):
            (folder / f"{number:07d}.jpg").symlink_to(paths[number % len(paths)].resolve())
    found = run_measured((*PROGRAM, folder, "--out", work / f"{n}{suffix}"))
    print(f"{n} images, {suffix}: {found[:2]}", file=sys.stderr, flush=True)
    return found


def table_of(cold: list[Measured], many: dict[tuple[int, str], Measured]) -> str:
    """Return the table."""
    times = [run.seconds for run in cold]
    spread = f"{len(cold)} runs, {min(times):.2f} to {max(times):.2f}"
    peak = max(run.peak_mb for run in cold)
    rows = [["one prediction", f"{statistics.median(times):.2f} s", f"{peak:.0f} MB", spread]]
    for (n, suffix), run in many.items():
        thousand = many.get((1000, suffix))
        share = f"{run.peak_mb / thousand.peak_mb:.3f} of the peak at 1,000" if thousand else ""
        rows.append([f"{n:,} to {suffix}", f"{run.seconds:.1f} s", f"{run.peak_mb:.0f} MB", share])
    columns = ["`classify`, whole process", "time", "peak memory", ""]
    return f"{markdown_table(columns, rows)}\n\n{describe()}."


if __name__ == "__main__":
    main()
