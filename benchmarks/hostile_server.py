"""Memory and time that hostile images cost the HTTP server, and whether any request is lost.

    python -m benchmarks.hostile_server [--shapes 200] [--mutants 2000] [--seed 0] [--callers 8]

The images are those of `hostile_images`. Each is sent by itself, and all once more in batches of
sixteen, by several callers at once through `hematovision.client`. A request is lost if it gets
neither a prediction nor an error for its image. The memory is that of the whole process, on Linux.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.hostile_app import largest_within_limits
from benchmarks.hostile_images import write_images
from benchmarks.machine import describe, markdown_table
from benchmarks.server import READY, SERVE, serving
from hematovision.client import Client
from hematovision.errors import RequestError

_BATCH = 16
_MOST_BYTES = 2**25


def main() -> None:
    """Draw, send, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=200)
    parser.add_argument("--mutants", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--callers", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        write_images(folder, args.shapes, args.mutants, args.seed)
        paths = sorted(folder.iterdir())
        largest = largest_within_limits(folder) / 2**20
        with serving(SERVE, READY) as (address, process):
            client = Client(address, timeout=60, retries=100)
            began, longest, stop = time.monotonic(), [0.0], threading.Event()
            watching = threading.Thread(target=watch, args=[address, longest, stop], daemon=True)
            watching.start()
            found = send(client, paths, args.callers)
            seconds = time.monotonic() - began
            stop.set()
            watching.join()
            assert process.poll() is None
            peak = peak_of(process.pid) / 2**20
    print(describe())
    columns = ["images sent", "predicted", "refused", "lost", "s", "longest time not ready, s"]
    columns += ["peak MB", "over the largest MB"]
    row = [2 * len(paths), found["predicted"], found["refused"]]
    row += [2 * len(paths) - sum(row[1:]), f"{seconds:.0f}", f"{longest[0]:.1f}"]
    print(markdown_table(columns, [[*row, f"{peak:.0f}", f"{peak - largest:.0f}"]]))
    if problems := {kind: n for kind, n in found.items() if kind not in ("predicted", "refused")}:
        print(problems)


def send(client: Client, paths: list[Path], callers: int) -> Counter[str]:
    """Send every image by itself, then in batches; count what became of each."""
    batches = [[path] for path in paths]
    batches += [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(callers) as pool:
        for found in pool.map(lambda batch: classify(client, batch), batches):
            counts.update(found)
    return counts


def classify(client: Client, batch: list[Path]) -> Counter[str]:
    """Send a batch; a file too large for a body is refused as such."""
    try:
        seen = client.classify(batch)
    except RequestError as error:
        too_large = max(path.stat().st_size for path in batch) > _MOST_BYTES
        if error.kind == "too large" and too_large and len(batch) > 1:
            return sum((classify(client, [path]) for path in batch), Counter())
        kind = "refused" if error.kind == "too large" and too_large else error.kind
        return Counter({kind: len(batch)})
    return Counter("refused" if one.decision == "refused" else "predicted" for one in seen)


def watch(address: str, longest: list[float], stop: threading.Event) -> None:
    """Ask for the health ten times a second, and keep the longest time without it."""
    client, last = Client(address, timeout=60), time.monotonic()
    while not stop.wait(0.1):
        is_ready, now = client.ready(), time.monotonic()
        longest[0] = max(longest[0], now - last)
        last = now if is_ready else last


def peak_of(pid: int) -> int:
    """Return the most bytes of memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
