"""The time of whole commands: help, import, training with an empty and a full cache.

    python -m benchmarks.commands --data DATA [--runs 3] [--json FILE] [--fill]

Each is run as a separate process; times are medians, memory is the peak resident memory.
`benchmarks/startup.py` measures `classify`. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.machine import Measured, describe, markdown_table, run_measured
from benchmarks.options import images_option, parse, publish, results_options

NAME = "commands"
PROGRAM = (sys.executable, "-m", "hematovision")


def main() -> None:
    """Measure, print a table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--runs", type=int, default=3)
    results_options(parser)
    args = parse(parser)
    found: dict[str, list[Measured]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        for number in range(args.runs):
            one_round(args.data, Path(name) / f"{number}", found)
    table = table_of(found)
    print(table)
    rows = {what: [run._replace(output="")._asdict() for run in found[what]] for what in found}
    publish(args, NAME, table, rows)


def one_round(data: Path, work: Path, found: dict[str, list[Measured]]) -> None:
    """Run every command once."""
    work.mkdir()
    os.environ["HEMATOVISION_CACHE"] = str(work / "cache")
    crops = work / "bccd"
    given = ("data", "import", data / "bccd", crops, "--format", "voc")
    found["`hematovision --help`"].append(run_measured([*PROGRAM, "--help"]))
    # Some boxes of the real set give no image, so the exit code is 3.
    found["`data import`, BCCD"].append(run_measured([*PROGRAM, *given], allowed=(0, 3)))
    for cache in ("empty", "full"):
        words = [*PROGRAM, "train", crops, "--out", work / cache]
        found[f"`train`, BCCD, {cache} cache"].append(run_measured(words))
    shutil.rmtree(work)


def table_of(found: dict[str, list[Measured]]) -> str:
    """Return the table of medians, and the machine."""
    rows = []
    for what, runs in found.items():
        seconds = [run.seconds for run in runs]
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        peak = max(run.peak_mb for run in runs)
        rows.append([what, f"{statistics.median(seconds):.2f} s", spread, f"{peak:.0f} MB"])
    columns = ["whole process", "median", f"{len(runs)} runs", "peak memory"]
    return f"{markdown_table(columns, rows)}\n\n{describe()}"


if __name__ == "__main__":
    main()
