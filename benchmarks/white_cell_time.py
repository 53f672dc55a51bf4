"""The time that the classifier of white cells adds to the analysis of a field.

    python -m benchmarks.white_cell_time --data DATA [--fields 364] [--runs 3] [--json FILE]
                                         [--fill]

Fields of BCCD in which one white cell is found are analysed with `white-cells` and without it,
alternately, --runs times each, on one thread. The time added to a field is the difference of the
medians of its runs. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe, markdown_table
from benchmarks.options import images_option, parse, publish, results_options
from hematovision import FieldAnalyzer, images

NAME = "white-cell-time"


def main() -> None:
    """Measure, print a table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--fields", type=int, default=364)
    parser.add_argument("--runs", type=int, default=3)
    results_options(parser)
    args = parse(parser)
    with_kinds = FieldAnalyzer.load(workers=1)
    without = FieldAnalyzer.load(classifier=None, workers=1)
    paths = sorted((args.data / "bccd" / "JPEGImages").glob("*.jpg"))[: args.fields]
    pixels = [images.read(path) for path in paths]
    chosen = [field for field in pixels if with_kinds.predict(field)[0].counts["WBC"] == 1]
    pairs = []
    for number, field in enumerate(chosen):
        pairs.append(seconds(field, (without, with_kinds), args.runs))
        print(f"{number + 1} of {len(chosen)} fields", file=sys.stderr, flush=True)
    table = table_of(pairs)
    print(table)
    publish(args, NAME, table, {"seconds": pairs})


def seconds(
    field: NDArray[np.uint8], analyzers: Sequence[FieldAnalyzer], runs: int
) -> tuple[float, ...]:
    """Return the median time of each analyzer on a field, run alternately."""
    times: list[list[float]] = [[] for _ in analyzers]
    for _ in range(runs):
        for analyzer, own in zip(analyzers, times, strict=True):
            began = time.perf_counter()
            analyzer.predict(field)
            own.append(time.perf_counter() - began)
    return tuple(statistics.median(own) for own in times)


def table_of(pairs: Sequence[tuple[float, ...]]) -> str:
    """Return the table, from the times without and with the classifier of each field."""
    without, with_kinds = np.array(pairs).T * 1000
    rows = [
        [name, *(f"{value:.1f} ms" for value in np.percentile(times, [50, 25, 75]))]
        for name, times in (
            ("without `white-cells`", without),
            ("with `white-cells`", with_kinds),
            ("added to a field", with_kinds - without),
        )
    ]
    heads = [f"{len(pairs)} fields of one white cell", "median", "25th percentile", "75th"]
    return f"{markdown_table(heads, rows)}\n\n{describe()}."


if __name__ == "__main__":
    main()
