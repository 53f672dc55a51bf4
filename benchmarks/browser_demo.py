"""The size of the demo in the browser, and its time per field.

    make browser-demo
    python -m benchmarks.browser_demo [--runs 5] [--json FILE] [--fill]

Sizes are those of the files that the page loads, as they are and compressed by gzip as most web
servers do. Times are in headless Chromium, on synthetic fields of 640 x 480 pixels: until the first
result of a browser that has nothing cached (over loopback), and of further fields; on the same
fields `FieldAnalyzer` in Python, on one thread, in turn. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.machine import describe, markdown_table
from benchmarks.options import parse, publish, results_options
from hematovision import images
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.synthetic import render_field
from tests.browser_demo import served
from web.build import build

NAME = "browser-demo"
LABS = ("synthetic-a", "synthetic-b", "synthetic-c", "synthetic-d")
WAIT = 300_000  # ms


def main() -> None:
    """Measure, print the tables, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    results_options(parser)
    args = parse(parser)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        sizes = sizes_of(folder)
        with served(folder) as address, sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            times = times_of(browser, address, args.runs)
            browser.close()
    print(describe(), file=sys.stderr)
    table = f"{size_table(sizes)}\n\n{time_table(times)}"
    print(table)
    publish(args, NAME, table, {"bytes": sizes, "seconds": times})


def sizes_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the bytes of each kind of file, raw and compressed."""
    kinds = {
        "page and analysis": (
            "index.html",
            "style.css",
            "icon.svg",
            "*.js",
            "analysis/*",
            "page/*",
        ),
        "ONNX Runtime Web": ("vendor/ort*",),
        "detector": ("models/blood-fields/*",),
        "classifier of cells": ("models/rbc-wbc-platelets/*", "models/hematology.weights"),
        "classifier of white cells": ("models/white-cells/*",),
    }
    found = {}
    for kind, patterns in kinds.items():
        files = [path.read_bytes() for pattern in patterns for path in folder.glob(pattern)]
        raw, small = (sum(map(len, some)) for some in (files, map(gzip.compress, files)))
        found[kind] = raw, small
    return found


def times_of(browser: Browser, address: str, runs: int) -> dict[str, list[float]]:
    """Measure each step, in turn."""
    fields = [render_field(300 + i, lab=LABS[i % len(LABS)]).image for i in range(runs + 1)]
    analyzer = FieldAnalyzer.load(workers=1)
    analyzer.predict_rows(fields[-1], "warm-up")
    times: dict[str, list[float]] = {"cold": [], "first": [], "browser": [], "python": []}
    for pixels in fields[:runs]:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(address)
        content = images.encode_png(pixels)
        times["cold"].append(count(page, content, 1))
        times["first"].append(stated(page))
        count(page, content, 2)
        times["browser"].append(stated(page))
        context.close()
        start = time.perf_counter()
        analyzer.predict_rows(pixels, "field.png")
        times["python"].append(time.perf_counter() - start)
        print({name: round(found[-1], 2) for name, found in times.items()}, file=sys.stderr)
    return times


def count(page: Page, content: bytes, number: int) -> float:
    """Choose a field and wait for its result; return the seconds."""
    name = f"{number}.png"
    start = time.perf_counter()
    page.set_input_files("#files", {"name": name, "mimeType": "image/png", "buffer": content})
    expect(page.locator("#caption")).to_contain_text(f"{name}: ", timeout=WAIT)
    return time.perf_counter() - start


def stated(page: Page) -> float:
    """Return the seconds that the page states for its last field, without loading."""
    text = page.locator("#caption").inner_text()
    return float(text.partition("analysed in ")[2].split()[0])


def size_table(sizes: dict[str, tuple[int, int]]) -> str:
    """Return the table of sizes in MB."""
    total = tuple(sum(pair[i] for pair in sizes.values()) for i in (0, 1))
    shown = {**sizes, "all": total}
    rows = [[kind, *(f"{n / 1e6:.2f}" for n in pair)] for kind, pair in shown.items()]
    return markdown_table(["loaded", "MB", "MB compressed"], rows)


def time_table(times: dict[str, list[float]]) -> str:
    """Return the table of times."""
    titles = {
        "cold": "browser, nothing cached: until the first result",
        "first": "of which the analysis",
        "browser": "browser, the same field again",
        "python": "`FieldAnalyzer` in Python, one thread",
    }
    rows = [[title, *summary(times[name])] for name, title in titles.items()]
    return markdown_table(["one field of 640 x 480 pixels", "median s", "from", "to"], rows)


def summary(times: Sequence[float]) -> tuple[str, str, str]:
    """Return median, least and most."""
    values = statistics.median(times), min(times), max(times)
    median, least, most = (f"{value:.1f}" for value in values)
    return median, least, most


if __name__ == "__main__":
    main()
