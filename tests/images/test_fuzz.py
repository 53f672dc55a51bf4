"""Thousands of damaged files in a separate process: no crash, no hang, no wrong result."""

import json
import subprocess
import sys
from pathlib import Path

import fuzz_images

PROGRAM = Path(fuzz_images.__file__)


def fuzz(per_seed, seed, *files):
    command = [sys.executable, str(PROGRAM), str(per_seed), str(seed), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]}: exit {done.returncode}\n{done.stderr[-3000:]}"
    return json.loads(lines[-1])


def test_generated_files_of_every_kind():
    summary = fuzz(90, 20260101)
    counts = summary["counts"]
    assert sum(counts.values()) >= 2000
    assert set(counts) <= {
        "image",
        "EmptyImageError",
        "NotAnImageError",
        "TruncatedImageError",
        "TooManyPixelsError",
    }
    assert counts["TruncatedImageError"] > 500
    assert counts["image"] > 100
    assert summary["megabytes"] < 200


def test_real_files(real_data):
    fields = sorted((real_data / "bccd" / "JPEGImages").glob("*.jpg"))[:3]
    cells = sorted((real_data / "pbc" / "val").rglob("*.jpg"))[::200]
    others = sorted((real_data / "draaslan").rglob("*.png"))[:2]
    summary = fuzz(40, 7, *fields, *cells, *others)
    assert sum(summary["counts"].values()) > 300
