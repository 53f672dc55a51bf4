"""What images made to cost memory and time take from the app's uploads, and whether any is lost.

    python -m benchmarks.hostile_app [--shapes 200] [--mutants 2000] [--seed 0]

The images are those of `hostile_images`. They go through what the app calls for an upload, with the
app's limits: some hundred files at a time, then all of the small ones in one zip archive. Uploads
are read from the disk, so that what Streamlit keeps of them does not count.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from benchmarks.hostile_images import write_images
from benchmarks.machine import describe, markdown_table, run_measured
from hematovision import images
from hematovision.limits import UPLOAD_PIXELS

_AT_ONCE = 400
_IN_A_ZIP = 2**20  # Bytes of the largest file that goes into the archive.


def main() -> None:
    """Draw, upload in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=200)
    parser.add_argument("--mutants", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--upload", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.upload:
        upload(args.upload)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        written = write_images(folder, args.shapes, args.mutants, args.seed)
        largest = largest_within_limits(folder)
        os.environ["HEMATOVISION_DATABASE_URL"] = f"sqlite:///{name}/records.sqlite3"
        done = run_measured([sys.executable, "-m", "benchmarks.hostile_app", "--upload", folder])
    given, predicted, refused = map(int, done.output.split()[-3:])
    assert given >= written.files
    row = [given, predicted, refused, given - predicted - refused]
    over = done.peak_mb - largest / 2**20
    print(describe())
    columns = ["files", "predicted", "refused", "lost", "s", "peak MB", "over the largest MB"]
    figures = (f"{value:.0f}" for value in (done.seconds, done.peak_mb, over))
    print(markdown_table(columns, [[*row, *figures]]))


def largest_within_limits(folder: Path) -> int:
    """Return the bytes of the largest image, as RGB, that the app decodes."""
    sizes = [0]
    for path in folder.iterdir():
        if found := re.search(r"(\d+)x(\d+)\.", path.name):
            short, long = sorted(map(int, found.groups()))
            is_within = long <= min(images.MAX_SIDE, images.MAX_ASPECT * short)
            sizes.append(3 * short * long * (is_within and short * long <= UPLOAD_PIXELS))
    return max(sizes)


def upload(folder: Path) -> None:
    """Upload all files; print how many were given, predicted and refused."""
    from hematovision.model.classifier import Classifier
    from hematovision.review.batches import classify_batch
    from hematovision.review.store import ReviewStore

    classifier = Classifier.load("rbc-wbc-platelets", max_pixels=UPLOAD_PIXELS)
    given = predicted = refused = 0
    with ReviewStore.open() as store:
        for count, uploads in uploads_of(sorted(folder.iterdir())):
            batch = classify_batch(classifier, uploads, store, name="model")
            given += count
            predicted += len(batch.readable)
            refused += len(batch.refused)
            batch.close()
    print(given, predicted, refused)


def uploads_of(paths: list[Path]) -> Iterator[tuple[int, list[tuple[str, BinaryIO]]]]:
    """Give uploads with the number of images in each."""
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        with ExitStack() as stack:
            yield len(some), [(path.name, stack.enter_context(path.open("rb"))) for path in some]
    small = [path for path in paths if path.stat().st_size <= _IN_A_ZIP][:2000]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in small:
            archive.write(path, path.name)
    yield len(small), [("hostile.zip", packed)]


if __name__ == "__main__":
    main()
