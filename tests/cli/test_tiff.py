"""``classify`` on TIFFs: the rows of the same cells as PNG, or an error with the reason."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from image_files import save, tiff
from tiff_files import channels, fields_of, imagej, ome, one_page, packed

RED = np.zeros((24, 32, 3), np.uint8) + np.array([250, 10, 20], np.uint8)
TWELVE = (RED.astype(int) * 4095 // 255).astype(np.uint16)

READ = {
    "channels.ome.tif": ome(channels(RED)),
    "composite.tif": imagej(channels(RED), mode="composite"),
    "two-descriptions.tif": packed(
        [[*fields_of(RED), (270, 2, b"<OME/>\0\0"), (270, 2, b"ImageJ=1.52\0")]], RED.tobytes()
    ),
    "twelve.tif": one_page(TWELVE, t281=(3, (4095,) * 3)),
    "big-endian-big.tif": one_page(RED, order=">", big=True),
    "no-lengths.tif": one_page(RED, without=(279,)),
}
REFUSED = {
    "slices.tif": (imagej(channels(RED), "ZYX"), "3 grey pages, the first of 32 x 24 pixels"),
    "undeclared.tif": (one_page(TWELVE), "looks like an image of 12 bits"),
    "webp.tif": (one_page(RED, t259=(3, (50001,))), "compressed with WebP"),
    "pages.tif": (tiff(np.stack(channels(RED)), metadata=None), "it does not declare"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cells = tmp_path / "cells"
    cells.mkdir()
    (cells / "plain.png").write_bytes(save(RED, "PNG"))
    for name, data in READ.items():
        (cells / name).write_bytes(data)
    for name, (data, _) in REFUSED.items():
        (cells / name).write_bytes(data)
    return cells


def test_cells_in_tiffs_get_the_predictions_of_the_same_cells_as_png(run, colour_model, folder):
    result = run("classify", folder, "--model", colour_model)
    assert result.exit_code == 3
    found = {Path(row.pop("path")).name: row for row in csv.DictReader(io.StringIO(result.stdout))}
    assert found["plain.png"]["label"] == "red"
    for name in READ:
        assert found[name] == found["plain.png"]
    for name, (_, reason) in REFUSED.items():
        assert found[name]["decision"] == "refused"
        assert reason in found[name]["error"]


def test_no_library_prints_anything(folder, colour_model):
    command = [sys.executable, "-W", "always", "-m", "hematovision", "classify", str(folder)]
    done = subprocess.run(
        [*command, "--model", str(colour_model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert lines[0].endswith("4 refused")
    assert lines[1] == "Images that could not be used (4):"
    assert all(line.startswith(f"  {folder}") for line in lines[2:])
    assert len(lines) == 6
