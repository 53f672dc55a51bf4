"""The HTTP server compared with Keras behind the same handler, and under tenfold overload.

    python -m benchmarks.server --data DATA [--seconds 20] [--rounds 5] [--overload 60]
                                 [--json FILE] [--fill]

Needs `wrk` (on Debian and Ubuntu: apt install wrk) and the group ``dev``; run nothing else
meanwhile. Real cells of PBC, JPEGs of 360 x 363 pixels, are sent over loopback by 32 connections,
one per request, in turn to

- `hematovision serve` with default options;
- `benchmarks/keras_server.py` with the Keras model of the same bundle: FastAPI, Pillow and
  `model.predict`, one uvicorn process; a handler with ``async def`` and one without.

Ratios are of medians over the rounds, against the faster of the two handlers. The load generator
runs on the same CPUs; its share of CPU time is in the table.

Overload: twenty times as many connections, which retry as soon as they are refused: about ten times
the measured rate (the table has the factor). Every response is checked: "right" has the label,
decision and novelty (within 1e-4) that the library predicts for that image.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import describe, markdown_table
from benchmarks.options import images_option, parse, publish, results_options
from hematovision import Classifier
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.workflows.export import export

NAME = "server"
CONNECTIONS = 32
CALLERS = 640
"""Under overload: ten times as many as the server accepts (64 waiting, and its threads)."""
CELLS = 64
SERVE, READY = ["hematovision", "serve"], "/v2/health/ready"
PERCENTILES = ("p50", "p95", "p99")
ROOT = Path(__file__).resolve().parent.parent

SEND = """
local bodies, n = {}, 0
for i = 1, COUNT do
  local file = io.open("FOLDER/" .. i .. ".body", "rb")
  bodies[i] = file:read("*a")
  file:close()
end
local headers = {["Content-Type"] = "multipart/form-data; boundary=b"}
request = function()
  n = n % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[n])
end
local threads = {}
setup = function(thread) table.insert(threads, thread) end
right, busy, late, wrong = 0, 0, 0, 0
done = function(summary, latency)
  local function sum(name)
    local total = 0
    for _, thread in ipairs(threads) do total = total + (thread:get(name) or 0) end
    return total
  end
  local e = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "refused": %d, ' ..
    '"broken": %d, "right": %d, "busy": %d, "late": %d, "wrong": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, e.status,
    e.connect + e.read + e.write + e.timeout,
    sum("right"), sum("busy"), sum("late"), sum("wrong")))
end
"""

CHECK = """
local wanted = {WANTED}
response = function(status, _, body)
  if status == 503 then busy = busy + 1
  elseif status == 504 then late = late + 1
  else
    local one = wanted[tonumber(body:match('"path":%s*"(%d+)"') or 0)]
    local novelty = tonumber(body:match('"novelty":%s*([%d.e+-]+)') or -1)
    if status == 200 and one and body:match('"label":%s*"([^"]*)"') == one[1]
      and body:match('"decision":%s*"([^"]*)"') == one[2]
      and math.abs(novelty - one[3]) < 1e-4 then right = right + 1
    else wrong = wrong + 1 end
  end
end
"""


class Load(NamedTuple):
    """The load generator's measurements."""

    found: dict[str, Any]
    share: float
    """The generator's share of all CPU time."""

    @property
    def rate(self) -> float:
        """Responses per second, of any status."""
        return float(self.found["requests"] / self.found["seconds"])


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--overload", type=float, default=60, help="seconds; 0 leaves it out")
    results_options(parser)
    args = parse(parser)
    if shutil.which("wrk") is None:
        raise SystemExit("The load generator wrk is not installed: apt install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = prepare(Path(name), args.data)
        compared = side_by_side(folder, args.rounds, args.seconds)
        print(table(compared), "\n", describe(), sep="", flush=True)
        figures: dict[str, Any] = {"compared_with_keras": compared}
        if args.overload:
            capacity = compared["hematovision serve"]["rate"]
            figures["overload"] = overload(folder, args.overload, capacity)
            print(overload_table(figures["overload"]))
    tables = [table(compared)]
    tables += [overload_table(figures["overload"])] if args.overload else []
    publish(args, NAME, "\n\n".join([*tables, describe()]), figures)


def prepare(folder: Path, data: Path) -> Path:
    """Write the request bodies, and the scripts that send them and check the responses."""
    paths = sorted((data / "pbc" / "val").rglob("*.jpg"))
    paths = paths[:: len(paths) // CELLS][:CELLS]
    wanted = []
    for i, (path, seen) in enumerate(
        zip(paths, Classifier.load(DEFAULT_MODEL).stream(paths), strict=True), start=1
    ):
        head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{i}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + b"\r\n--b--\r\n"
        (folder / f"{i}.body").write_bytes(body)
        wanted.append(f'{{"{seen.label}", "{seen.decision}", {seen.novelty}}}')
    send = SEND.replace("FOLDER", folder.as_posix()).replace("COUNT", str(len(paths)))
    (folder / "send.lua").write_text(send)
    (folder / "check.lua").write_text(send + CHECK.replace("WANTED", ", ".join(wanted)))
    return folder


def side_by_side(folder: Path, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Send requests to all servers in turn; return the medians of each."""
    model = export(DEFAULT_MODEL, "keras", folder / "model.keras")
    classes = ",".join(Classifier.load(DEFAULT_MODEL).classes)
    plain = {"KERAS_MODEL": str(model), "KERAS_CLASSES": classes, "TF_CPP_MIN_LOG_LEVEL": "3"}
    app = ["uvicorn", "benchmarks.keras_server:app", "--no-access-log", "--log-level", "warning"]
    with ExitStack() as stack:
        ours, our_process = stack.enter_context(
            serving(["hematovision", "serve"], "/v2/health/ready")
        )
        keras, keras_process = stack.enter_context(serving(app, "/openapi.json", plain))
        addresses = {
            "hematovision serve": (f"{ours}/v1/classify", our_process),
            "Keras, `async def`": (f"{keras}/async", keras_process),
            "Keras, `def`": (f"{keras}/thread", keras_process),
        }
        seen: dict[str, list[Load]] = {name: [] for name in addresses}
        for i in range(rounds + 1):
            for name, (address, process) in addresses.items():
                # The first round warms up threads, caches and compiled functions.
                one = load(address, folder / "send.lua", seconds if i else 2, CONNECTIONS)
                settle(process.pid)
                seen[name] += [one] if i else []
    return {name: medians(loads) for name, loads in seen.items()}


def medians(loads: list[Load]) -> dict[str, float]:
    """Return the medians over rounds, and the sum of all responses other than 200."""
    times = {key: statistics.median(one.found[key] for one in loads) for key in PERCENTILES}
    return {
        "rate": statistics.median(one.rate for one in loads),
        "slowest": min(one.rate for one in loads),
        "fastest": max(one.rate for one in loads),
        **times,
        "generator": statistics.median(one.share for one in loads),
        "not_200": sum(one.found["refused"] + one.found["broken"] for one in loads),
    }


def overload(folder: Path, seconds: float, capacity: float) -> dict[str, Any]:
    """Send more than the server can handle; check every response, and the memory."""
    with serving(SERVE, READY) as (address, process):
        url, script = f"{address}/v1/classify", folder / "check.lua"
        load(url, script, 3, CALLERS)
        before, most, stop = resident(process.pid), [0], threading.Event()

        def watch() -> None:
            while not stop.wait(0.5):
                most[0] = max(most[0], resident(process.pid))

        watching = threading.Thread(target=watch)
        watching.start()
        seen = load(url, script, seconds, CALLERS)
        stop.set()
        watching.join()
        crashed = process.poll() is not None
    return {
        **seen.found,
        "offered": seen.rate / capacity,
        "crashes": int(crashed),
        "memory_growth_mb": (most[0] - before) / 2**20,
        "generator": seen.share,
    }


def load(url: str, script: Path, seconds: float, connections: int) -> Load:
    """Run wrk on one thread."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s"]
    began = os.times()
    done = subprocess.run([*words, "-s", script, url], capture_output=True, text=True, check=True)
    ended = os.times()
    busy = sum(ended[2:4]) - sum(began[2:4])  # Of children that have ended: wrk alone.
    cores = len(os.sched_getaffinity(0))
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Load(found, busy / (ended.elapsed - began.elapsed) / cores)


@contextmanager
def serving(
    words: list[str], path: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a server and wait until it is ready; give its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", *words, "--port", str(port)],
        env=os.environ | (environment or {}),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def settle(pid: int) -> None:
    """Wait until a server has finished all requests, so that it does not disturb the next one."""
    before = -1.0
    while (now := seconds_of(pid)) - before > 0.02:
        before = now
        time.sleep(0.5)


def seconds_of(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def table(compared: dict[str, dict[str, float]]) -> str:
    """Return the servers side by side."""
    ours, *others = compared.values()
    best = max(others, key=lambda one: one["rate"])
    columns = ["server", "requests/s (slowest to fastest round)", "p50 ms", "p95 ms", "p99 ms"]
    columns += ["not 200", "generator's share"]
    rows = [
        [
            name,
            f"{one['rate']:.0f} ({one['slowest']:.0f} to {one['fastest']:.0f})",
            *(f"{one[key]:.0f}" for key in PERCENTILES),
            one["not_200"],
            f"{one['generator']:.1%}",
        ]
        for name, one in compared.items()
    ]
    return (
        markdown_table(columns, rows)
        + f"\n\nRequests per second: {ours['rate'] / best['rate']:.1f} x the faster Keras handler. "
        f"Our p99 is {ours['p99'] / best['p50']:.2f} of its p50."
    )


def overload_table(seen: dict[str, Any]) -> str:
    """Return the table of the overload test."""
    columns = ["overload", "requests, x capacity", "correct", "503", "504", "other", "no response"]
    columns += ["crashes", "memory growth MB", "generator's share"]
    row = [
        f"{seen['seconds']:.0f} s, {CALLERS} connections",
        f"{seen['offered']:.1f}",
        *(seen[key] for key in ("right", "busy", "late", "wrong", "broken", "crashes")),
        f"{seen['memory_growth_mb']:.0f}",
        f"{seen['generator']:.1%}",
    ]
    return markdown_table(columns, [row])


if __name__ == "__main__":
    main()
