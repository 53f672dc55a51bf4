"""The machine's description, measurements of a process, and the tables of docs/results.md.

`fill` replaces the table between ``<!-- table:NAME -->`` and ``<!-- /table:NAME -->`` in
`docs/results.md`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from hematovision.model.session import usable_cpus

__all__ = ["Measured", "describe", "fill", "markdown_table", "run_measured", "write_json"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results.md"
"""The page with the tables of all benchmarks."""


def describe() -> str:
    """Describe processor, cores, memory, system and versions in a line.

    Examples
    --------
    >>> describe()  # doctest: +SKIP
    '2 cores of AMD EPYC, 24 GB, Linux x86_64; Python 3.12.3, onnxruntime 1.23.2'
    """
    cores = usable_cpus()
    parts = [f"{cores} core{'s' if cores > 1 else ''} of {_processor()}"]
    memory = _memory()
    if memory:
        parts.append(f"{memory / 2**30:.0f} GB")
    parts.append(f"{platform.system()} {platform.machine()}")
    versions = f"Python {platform.python_version()}, onnxruntime {version('onnxruntime')}"
    return f"{', '.join(parts)}; {versions}"


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Write `results` as JSON, with the machine under ``machine``; folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": describe(), **results}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def fill(markdown: Path, name: str, table: str) -> None:
    """Replace the table between ``<!-- table:NAME -->`` and ``<!-- /table:NAME -->`` in a file.

    Raises
    ------
    ValueError
        If the file does not have both markers exactly once, in this order.
    """
    text = markdown.read_text(encoding="utf-8")
    opening, closing = f"<!-- table:{name} -->", f"<!-- /table:{name} -->"
    before, opened, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed or any(text.count(mark) > 1 for mark in (opening, closing)):
        raise ValueError(
            f"{markdown} must have {opening} followed by {closing}, once each: the table is "
            f"written between them. Found: {text.count(opening)} and {text.count(closing)}."
        )
    filled = f"{before}{opening}\n{table.strip()}\n{closing}{after}"
    markdown.write_text(filled, encoding="utf-8", newline="\n")


_STARTER = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[2:])
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open(sys.argv[1], "w").write(f"{seconds} {peak}")
sys.exit(code if code >= 0 else 128 - code)
"""


class Measured(NamedTuple):
    """Duration, peak resident memory and output of a process."""

    seconds: float
    peak_mb: float
    output: str


def run_measured(words: Sequence[object], *, allowed: Sequence[int] = (0,)) -> Measured:
    """Run a command and measure it; not on Windows.

    A small process starts it: the memory of the process it was forked from counts as its own, and
    that of this one may be larger.

    Raises
    ------
    RuntimeError
        If it ends with a code that is not `allowed`.
    """
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "measured"
        starter = [sys.executable, "-I", "-S", "-c", _STARTER, measured]
        done = subprocess.run(
            [str(word) for word in (*starter, *words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode not in allowed:
            raise RuntimeError(
                f"{words} ended with {done.returncode}. Its output: {done.stdout[-500:]}"
            )
        seconds, peak = map(float, measured.read_text().split())
    return Measured(seconds, peak / (2**20 if sys.platform == "darwin" else 2**10), done.stdout)


def markdown_table(columns: list[str], rows: list[list[Any]]) -> str:
    """Return a markdown table; cells are converted with `str`."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def _processor() -> str:
    """Return the processor's name as the system knows it."""
    try:
        if platform.system() == "Linux":
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        if platform.system() == "Darwin":
            words = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass  # The general name below is enough.
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    """Return the bytes of memory; None where the system has no simple way to ask (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
