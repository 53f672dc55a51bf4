"""Images per second on a Ray cluster, compared with `classify` on this machine.

    python -m benchmarks.scale [--images 1000 10000] [--rounds 3] [--once N] [--ray-data]
                               [--json FILE] [--fill]

The images are synthetic cells: 200 different JPEG files, linked under as many names as needed, so
that the disk does not count. Each run is a whole process that lists, classifies and writes a table,
including the start and end of Ray; the runs of a round follow one another. "Workers" are the CPUs
that Ray may use: each task takes one. The rate after the start is that of the images between the
first and the last task that returned. With --once N, N images are classified once, by `classify`
and by two workers.

With --ray-data, the same work is also done by a pipeline of Ray Data (`read_binary_files`,
`map_batches`, `write_parquet`), the alternative in decision 11.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.machine import describe, markdown_table, run_measured
from benchmarks.options import parse, publish, results_options
from hematovision.synthetic import KINDS, render_cell

DIFFERENT = 200
MODEL = "rbc-wbc-platelets"

LOCAL = """
import sys
from pathlib import Path
from hematovision.workflows.classify import classify
classify([Path(sys.argv[1])], out=Path(sys.argv[2]) / "predictions.parquet")
"""

RAY = """
import sys, time
from hematovision.scale.classify import classify_on_cluster
from hematovision.scale.cluster import Cluster
seen = []
classify_on_cluster(
    [sys.argv[1]], out=sys.argv[2], cluster=Cluster(local_cpus=int(sys.argv[3])),
    progress=lambda done, total, what, unit: seen.append((time.perf_counter(), done)),
)
(first, some), (last, all_) = seen[0], seen[-1]
print((all_ - some) / max(last - first, 1e-9))
"""

RAY_DATA = """
import logging, os, sys
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
from hematovision.model.classifier import Classifier
from hematovision.model.inference import Item, predict_image
ray.init(address="local", num_cpus=int(sys.argv[3]), include_dashboard=False, log_to_driver=False,
         logging_level=logging.ERROR)
ray.data.DataContext.get_current().enable_progress_bars = False

class Predict:
    def __init__(self):
        self.classifier = Classifier.load("rbc-wbc-platelets", workers=1)
    def __call__(self, batch):
        pairs = zip(batch["bytes"], batch["path"])
        items = (Item(path, data) for data, path in pairs)
        rows = [predict_image(self.classifier, item).prediction.values() for item in items]
        return {name: [row[name] for row in rows] for name in rows[0]}

files = ray.data.read_binary_files(sys.argv[1], include_paths=True)
workers = int(sys.argv[3])
files.map_batches(Predict, batch_size=64, num_cpus=0.5,
                  compute=ray.data.ActorPoolStrategy(size=workers)).write_parquet(sys.argv[2])
"""


class Way(NamedTuple):
    """A label for the table, an engine, the script that uses it, and its workers."""

    label: str
    engine: str
    script: str
    workers: int


ON_THREADS = Way("`classify`, two CPUs", "classify", LOCAL, 2)
ONE_WORKER = Way("`--engine ray`, one worker", "ray", RAY, 1)
TWO_WORKERS = Way("`--engine ray`, two workers", "ray", RAY, 2)
BY_RAY_DATA = Way("a Ray Data pipeline, two workers", "ray data", RAY_DATA, 2)
WAYS = (ON_THREADS, ONE_WORKER, TWO_WORKERS, BY_RAY_DATA)


class Plan(NamedTuple):
    """How many images are classified in which ways, and how often."""

    images: int
    rounds: int
    ways: tuple[Way, ...]


class Run(NamedTuple):
    """One process and its time.

    Parameters
    ----------
    images : int
    engine : str
    workers : int
    seconds : float
    rate : float or None
        Images per second after the start, if measured.
    """

    images: int
    engine: str
    workers: int
    seconds: float
    rate: float | None


def main() -> None:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", type=int, metavar="N", help="images, for one round of two ways")
    parser.add_argument("--ray-data", action="store_true")
    results_options(parser)
    args = parse(parser)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if args.once in args.images:
        parser.error(f"{args.once} is given to both --once and --images.")
    ways = WAYS if args.ray_data else WAYS[:-1]
    plans = [Plan(n, args.rounds, ways) for n in args.images]
    plans += [Plan(args.once, 1, (ON_THREADS, TWO_WORKERS))] if args.once else []
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as name:
        cells = render(Path(name) / "cells")
        for plan in plans:
            folder = link(cells, Path(name) / f"{plan.images}", plan.images)
            for _ in range(plan.rounds):
                runs += one_round(folder, plan, Path(name) / "out")
            shutil.rmtree(folder)
    table = summary(runs)
    print(f"{describe()}\n\n{table}")
    publish(args, "scale", table, {"runs": [run._asdict() for run in runs]})


def render(folder: Path) -> list[Path]:
    """Write synthetic cells of all kinds as JPEG files."""
    folder.mkdir(parents=True)
    files = []
    for seed in range(DIFFERENT):
        path = folder / f"{seed}.jpg"
        pixels: np.ndarray = render_cell(KINDS[seed % len(KINDS)], seed=seed)
        Image.fromarray(pixels).save(path, quality=92)
        files.append(path)
    return files


def link(cells: list[Path], folder: Path, n: int) -> Path:
    """Link the cells under `n` names, a thousand per folder."""
    for i in range(n):
        path = folder / f"{i // 1000:04d}" / f"{i:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(cells[i % len(cells)])
    return folder


def one_round(folder: Path, plan: Plan, out: Path) -> list[Run]:
    """Run every way once."""
    n, found = plan.images, []
    for _, engine, script, workers in plan.ways:
        shutil.rmtree(out, ignore_errors=True)
        if engine == "classify":
            out.mkdir()
        words = [sys.executable, "-W", "ignore", "-c", script, folder, out, workers]
        measured = run_measured(words)
        rate = float(measured.output.split()[-1]) if engine == "ray" else None
        found.append(Run(n, engine, workers, measured.seconds, rate))
        print(found[-1], flush=True, file=sys.stderr)
        check(out, n)
    return found


def check(out: Path, n: int) -> None:
    """Check that every image has a row."""
    import pyarrow.dataset as ds

    rows = ds.dataset(out, format="parquet").count_rows()
    if rows != n:
        raise RuntimeError(f"{out} has {rows} rows for {n} images")


def summary(runs: list[Run]) -> str:
    """Return a table of medians, each with its ratio to `classify` in the same rounds."""
    rows = []
    for n in dict.fromkeys(run.images for run in runs):
        local = [run.seconds for run in runs if (run.images, run.engine) == (n, "classify")]
        for label, engine, _, workers in WAYS:
            some = [r for r in runs if (r.images, r.engine, r.workers) == (n, engine, workers)]
            if some:
                rows.append(row(n, label, some, local))
    columns = [
        "images",
        "engine",
        "seconds",
        "images/s",
        "after start-up",
        "time relative to `classify`",
    ]
    return markdown_table(columns, rows)


def row(n: int, label: str, runs: list[Run], local: list[float]) -> list[str]:
    """Return one line: medians over the rounds."""
    seconds = statistics.median(run.seconds for run in runs)
    ratio = statistics.median(r.seconds / base for r, base in zip(runs, local, strict=True))
    rates = [run.rate for run in runs if run.rate]
    steady = f"{statistics.median(rates):.0f}" if rates else ""
    return [f"{n:,}", label, f"{seconds:.1f}", f"{n / seconds:.0f}", steady, f"{ratio:.2f}"]


if __name__ == "__main__":
    main()
