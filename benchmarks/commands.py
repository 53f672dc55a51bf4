"""The whole commands that docs/results.md quotes: start-up, training, memory.

Each is run as a process of its own; times are medians of several runs, memory is the peak resident
size that the operating system counted. Run nothing else beside it.

    python benchmarks/commands.py --data DATA [--work runs/bench]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = (sys.executable, "-m", "hematovision")
RUNS = 5


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("HEMATOVISION_DATA")
    parser.add_argument("--data", type=Path, default=data and Path(data))
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    args = parser.parse_args()
    if args.data is None:
        raise SystemExit("Real images are not at hand: give --data or set HEMATOVISION_DATA.")
    shutil.rmtree(args.work, ignore_errors=True)
    args.work.mkdir(parents=True)

    pictures = sorted((args.data / "pbc" / "val").rglob("*.jpg"))
    print("| command | runs | median s | min to max s | peak MB |")
    print("|---|---|---|---|---|")
    measure("--help", ["--help"])
    measure("classify one.jpg", ["classify", str(pictures[0])])
    many = many_images(args.data, args.work / "five-thousand")
    for share in (1000, 5000):
        files = [str(path) for path in many[:share]]
        out = args.work / f"{share}.csv"
        measure(f"classify {share} images", ["classify", *files, "--out", str(out)], runs=1)
    train(args.data, args.work)


def many_images(data: Path, folder: Path) -> list[Path]:
    """Link 5,000 different real images into one folder."""
    found = sorted((data / "pbc").rglob("*.jpg"))[:5000]
    folder.mkdir()
    links = [folder / f"{i:04d}.jpg" for i in range(len(found))]
    for link, path in zip(links, found, strict=True):
        link.symlink_to(path.resolve())
    return links


def train(data: Path, work: Path) -> None:
    """Import the BCCD crops and train on them, with an empty cache and with a full one."""
    bccd = work / "bccd"
    measure("data import bccd", ["data", "import", str(data / "bccd"), str(bccd), "--format",
                                 "voc"], runs=1, allowed=(0, 3))  # fmt: skip
    cache = {"HEMATOVISION_CACHE": str(work / "cache")}
    for number in range(3):
        shutil.rmtree(work / "cache", ignore_errors=True)
        for kind in ("cold", "warm"):
            out = str(work / f"{kind}{number}")
            measure(f"train, {kind} cache", ["train", str(bccd), "--out", out], runs=1, env=cache)


def measure(
    name: str,
    arguments: list[str],
    *,
    runs: int = RUNS,
    env: dict[str, str] | None = None,
    allowed: tuple[int, ...] = (0,),
) -> None:
    """Run one command several times (once more beforehand, if several) and print its row."""
    times, peaks = [], []
    for number in range(runs + (runs > 1)):
        began = time.perf_counter()
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        if os.waitstatus_to_exitcode(status) not in allowed:
            raise SystemExit(f"{name} failed with {os.waitstatus_to_exitcode(status)}")
        if number or runs == 1:
            times.append(took)
            peaks.append(usage.ru_maxrss / (1 if sys.platform == "darwin" else 1024))
    middle = statistics.median(times)
    spread = f"{min(times):.2f} to {max(times):.2f}"
    print(f"| {name} | {runs} | {middle:.2f} | {spread} | {max(peaks):.0f} |", flush=True)


if __name__ == "__main__":
    main()
