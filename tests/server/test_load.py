"""Load by programs that were not written here: wrk, or else hey."""

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from server.conftest import running

SECONDS, CALLERS = 10, 32
KIND = "multipart/form-data; boundary=b"


def by_wrk(url: str, body: Path) -> tuple[dict[int, int], list[float]]:
    """Ask as fast as possible; return how often each status came, and p50 and p99 in seconds."""
    script = body.with_suffix(".lua")
    script.write_text(
        f'wrk.method, wrk.headers["Content-Type"] = "POST", "{KIND}"\n'
        f'wrk.body = io.open("{body.as_posix()}", "rb"):read("*a")\n'
        "done = function(summary, latency)\n"
        "  local e = summary.errors\n"
        '  print("found", summary.requests, e.status, e.connect + e.read + e.write + e.timeout,\n'
        "    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6)\n"
        "end\n"
    )
    words = ["wrk", "-t1", f"-c{CALLERS}", f"-d{SECONDS}s", "--timeout", "30s", "-s", script, url]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    _, requests, refused, broken, *times = output.splitlines()[-1].split()
    statuses = {200: int(requests) - int(refused), 0: int(refused) + int(broken)}
    return statuses, [float(one) for one in times]


def by_hey(url: str, body: Path) -> tuple[dict[int, int], list[float]]:
    """Ask as `by_wrk` does."""
    options = ["-z", f"{SECONDS}s", "-c", str(CALLERS), "-t", "30", "-m", "POST", "-T", KIND]
    output = subprocess.run(
        ["hey", *options, "-D", body, url], capture_output=True, text=True, check=True
    ).stdout
    statuses = {int(a): int(b) for a, b in re.findall(r"\[(\d+)\]\s+(\d+) responses", output)}
    broken = output.partition("Error distribution")[2].count("[")
    times = [float(re.search(rf"{p}%+ in ([\d.]+)", output)[1]) for p in (50, 99)]
    return statuses | {0: broken}, times


@pytest.mark.slow
@pytest.mark.parametrize("tool", [by_wrk, by_hey])
def test_32_callers_all_get_responses_and_none_waits_much_longer_than_others(tool, cell, tmp_path):
    program = tool.__name__.removeprefix("by_")
    if shutil.which(program) is None:
        pytest.skip(f"the load generator {program} is not installed")
    body = tmp_path / "cell.body"
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body.write_bytes(head + cell + b"\r\n--b--\r\n")
    with running() as (process, address):
        statuses, (usual, longest) = tool(f"{address}/v1/classify", body)
        assert process.poll() is None
        with urllib.request.urlopen(f"{address}/metrics", timeout=5) as response:
            metrics = response.read().decode()
    assert statuses.get(200, 0) > 10 * SECONDS
    assert statuses == {200: statuses[200], 0: 0}
    assert longest < 5 * usual
    counted = float(re.search(r'path="/v1/classify",status="200"} ([\d.]+)', metrics)[1])
    # A generator leaves at the end without the responses that it was waiting for.
    assert statuses[200] <= counted <= statuses[200] + CALLERS
