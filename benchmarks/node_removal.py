"""Whether a Ray cluster loses or duplicates rows if a node or the driver dies at a random moment.

    python -m benchmarks.node_removal [--images 1500] [--rounds 10] [--seed 0]

A cluster of two nodes of one CPU each, on this machine (`ray.cluster_utils.Cluster`, tasks of half
a CPU, a small object store). In odd rounds the second node is removed without warning at a random
moment of the run, in even rounds the driver is killed (SIGKILL). If the command ended with an
error, it is given again with `--resume`. The table is compared, row by row, with that of `classify`
on this machine. The images are synthetic cells, every 50th a broken file.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import describe, markdown_table
from benchmarks.options import parse, publish, results_options
from benchmarks.resume import Difference, command, compare, finish, write_images
from hematovision.model.registry import DEFAULT_MODEL

DEADLINE = 180.0
"""Seconds by which a run must have ended, with an error or without."""

SCRIPT = """
import sys
from hematovision.scale import classify as module
from hematovision.scale.cluster import Cluster
module._SMALLEST = 16  # many parts
module.classify_on_cluster(
    [sys.argv[1]], out=sys.argv[2], resume=True,
    cluster=Cluster(sys.argv[3], cpus=0.5, stall_seconds=60),
)
"""


class Round(NamedTuple):
    """The outcome of one round.

    Parameters
    ----------
    died : str
    parts_then : int
        Number of parts at that moment.
    ended_by_itself : bool
        Whether the run finished without being resumed.
    seconds : float
        From that moment to the end of the run.
    missing, doubled, different : int
    """

    died: str
    parts_then: int
    ended_by_itself: bool
    seconds: float
    missing: int
    doubled: int
    different: int


def main() -> None:
    """Kill, resume, compare; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    results_options(parser)
    args = parse(parser)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    moments = random.Random(args.seed)
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = write_images(Path(name) / "images", args.images)
        whole = Path(name) / "whole.parquet"
        finish(command(folder, DEFAULT_MODEL, whole))
        for number in range(args.rounds):
            died = "driver" if number % 2 else "node"
            rounds.append(one_round(folder, Path(name) / "out", whole, died, moments))
            print(rounds[-1], file=sys.stderr, flush=True)
    table = summary(rounds)
    print(f"{describe()}\n\n{table}")
    publish(args, "node-removal", table, {"rounds": [found._asdict() for found in rounds]})


def one_round(folder: Path, out: Path, whole: Path, died: str, moments: random.Random) -> Round:
    """Run on a new cluster, kill a node or the driver, resume and compare."""
    shutil.rmtree(out, ignore_errors=True)
    cluster = two_nodes()
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT, folder, out, cluster.address]
    try:
        with subprocess.Popen(
            list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            parts_then = wait_for(process, out, moments)
            if died == "node":
                cluster.remove_node(cluster.second, allow_graceful=False)
            else:
                process.kill()
            began = time.perf_counter()
            code = process.wait(DEADLINE)
        seconds = time.perf_counter() - began
        if code:
            subprocess.run(
                list(map(str, words)), check=True, timeout=DEADLINE, stdout=subprocess.DEVNULL
            )
    finally:
        cluster.shutdown()
    return Round(died, parts_then, not code, seconds, *compare_parts(out, whole))


def two_nodes() -> Any:
    """Start a head and a second node; a lost node is noticed within seconds."""
    from ray.cluster_utils import Cluster

    soon = {
        "health_check_initial_delay_ms": 1000,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 1000,
        "health_check_failure_threshold": 3,
    }
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    head = {**node, "include_dashboard": False, "_system_config": soon}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.second = cluster.add_node(**node)
    return cluster


def wait_for(process: subprocess.Popen[bytes], out: Path, moments: random.Random) -> int:
    """Wait for a random number of parts and a little longer; return the number of parts."""
    wanted = moments.randint(1, 60)
    deadline = time.perf_counter() + DEADLINE
    while process.poll() is None and time.perf_counter() < deadline:
        if len(list(out.glob("part-*"))) >= wanted:
            time.sleep(moments.uniform(0, 0.3))
            break
        time.sleep(0.01)
    return len(list(out.glob("part-*")))


def compare_parts(out: Path, whole: Path) -> Difference:
    """Compare a table in parts with a whole one."""
    from pyarrow.parquet import read_table, write_table

    joined = out.with_suffix(".parquet")
    write_table(read_table(out), joined)
    return compare(joined, whole)


def summary(rounds: list[Round]) -> str:
    """Return a table with one line per kind of failure."""
    rows = []
    for died in dict.fromkeys(found.died for found in rounds):
        some = [found for found in rounds if found.died == died]
        rows.append(
            [
                died,
                len(some),
                f"{min(r.parts_then for r in some)} to {max(r.parts_then for r in some)}",
                sum(found.ended_by_itself for found in some),
                f"{statistics.median(r.seconds for r in some):.1f} s",
                *(sum(r[place] for r in some) for place in (-3, -2, -1)),
            ]
        )
    columns = ["killed", "times", "parts done then", "completed without resuming"]
    return markdown_table(
        [*columns, "time to the end", "missing", "duplicated", "different rows"], rows
    )


if __name__ == "__main__":
    main()
