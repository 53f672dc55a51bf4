"""Measure the app in a browser: first prediction, a batch of 200 against the CLI, memory.

Times are taken by the browser's driver, from uploading the files to the result on the screen, with
the page open. Run nothing else at the same time. Needs chromium.

    python benchmarks/page.py --data DATA
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.options import images_option

PORT = 8765
RUNS = 5
BATCH = 200
BATCHES = 10


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if args.data is None or chromium is None:
        raise SystemExit("Needs real images (--data or HEMATOVISION_DATA) and chromium.")
    files = sorted((args.data / "pbc").rglob("*.jpg"))[: BATCH * BATCHES]
    with (
        tempfile.TemporaryDirectory() as home,
        serving(Path(home)) as process,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        page.goto(f"http://127.0.0.1:{PORT}")
        quiet(page)
        report(page, process.pid, files)
        browser.close()


def report(page: Page, pid: int, files: list[Path]) -> None:
    """Print the table."""
    print("| what | median | min to max |")
    print("|---|---|---|")
    one = [upload(page, files[i : i + 1]) for i in range(RUNS + 1)][1:]
    row("first prediction after uploading one image, s", one)
    some = files[:BATCH]
    page_times, line_times = [], []
    for _ in range(RUNS):
        page_times.append(upload(page, some))
        line_times.append(on_the_command_line(some))
    row(f"{BATCH} images in the app, s", page_times)
    row(f"{BATCH} images with `classify`, s", line_times)
    row("ratio", [a / b for a, b in zip(page_times, line_times, strict=True)])
    sizes = []
    for start in range(0, BATCH * BATCHES, BATCH):
        upload(page, files[start : start + BATCH])
        sizes.append(resident(pid))
    print(
        f"| memory of the server after {BATCH} to {BATCH * BATCHES} images, MB | "
        f"{', '.join(str(round(size)) for size in sizes)} | {max(sizes) - min(sizes):.0f} apart |"
    )


def upload(page: Page, files: list[Path]) -> float:
    """Return the seconds from uploading the files to the complete table."""
    if (again := page.get_by_role("button", name="New images")).count():
        again.click()
        quiet(page)
    began = time.perf_counter()
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_test_id("stMetricValue").get_by_text(str(len(files)), exact=True).first.wait_for()
    page.locator(".hv-prediction").first.wait_for()
    return time.perf_counter() - began


def quiet(page: Page) -> None:
    """Wait until the page is idle."""
    page.get_by_text("Try it with synthetic cells").wait_for()
    page.wait_for_timeout(300)
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(300)


def on_the_command_line(files: list[Path]) -> float:
    """Return the seconds that ``hematovision classify`` takes for the same files."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "hematovision", "classify", *map(str, files), "--out",
             str(Path(folder, "predictions.csv"))],
            check=True,
            capture_output=True,
        )  # fmt: skip
        return time.perf_counter() - began


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB; Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1000


@contextmanager
def serving(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the app with a database of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hematovision", "app", "--port", str(PORT), "--no-browser"],
        env=os.environ | {"HEMATOVISION_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=1)
            except OSError:
                time.sleep(0.1)
            else:
                break
        yield process
    finally:
        process.terminate()
        process.wait(30)


def row(name: str, values: list[float]) -> None:
    """Print a row of the table."""
    print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} to {max(values):.2f} |")


if __name__ == "__main__":
    main()
