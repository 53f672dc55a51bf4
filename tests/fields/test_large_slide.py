"""A slide of 50,000 x 50,000 pixels, with exact truth: time, memory and cells."""

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.machine import run_measured
from benchmarks.slide_files import PATCH, make_mosaic, write_pyramid
from benchmarks.slides import matched
from hematovision.images.slides import open_slide

SIDE = 50_000


@pytest.fixture(scope="module")
def mosaic():
    return make_mosaic(SIDE, patches=2)


@pytest.fixture(scope="module")
def path(mosaic, tmp_path_factory) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("large") / "smear.tif", mosaic)


@pytest.mark.slow
def test_a_part_of_it_is_analysed_in_bounded_memory(path: Path, mosaic, tmp_path: Path):
    side = 6 * PATCH
    place = (20 * PATCH, 30 * PATCH)
    area = f"{place[0]},{place[1]},{side},{side}"
    words = ("analyze", path, "--out", tmp_path / "out", "--region", area, "--classifier", "none")
    done = run_measured([sys.executable, "-m", "hematovision", *words], allowed=(0, 3))
    assert done.peak_mb < 1500
    boxes, labels = mosaic.truth
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle >= place) & (middle < np.array(place) + side)).all(axis=1)
    with (tmp_path / "out" / "cells.csv").open(encoding="utf-8", newline="") as stream:
        cells = list(csv.DictReader(stream))
    found = Counter(cell["label"] for cell in cells)
    for label, least in (("RBC", 0.98), ("WBC", 0.98), ("Platelets", 0.6)):
        true = middle[inside & (np.array(labels) == label)]
        centres = [
            [
                (float(c["x_min"]) + float(c["x_max"])) / 2,
                (float(c["y_min"]) + float(c["y_max"])) / 2,
            ]
            for c in cells
            if c["label"] == label
        ]
        hits = matched(true, np.array(centres).reshape(-1, 2), 36)
        assert (hits == 1).sum() >= least * len(true) > 0
        assert hits.max() == 1
        assert found[label] <= 1.5 * len(true)


@pytest.mark.slow
def test_its_levels_show_the_same(path: Path, mosaic):
    with open_slide(path) as slide:
        assert [round(level.downsample) for level in slide.levels] == [1, 4, 16, 64]
        assert slide.um_per_px == pytest.approx(0.1)
        for level in slide.levels[:3]:
            step = round(level.downsample)
            x, y = 24 * PATCH, 40 * PATCH
            region = slide.read_region(x, y, 2048, 2048, downsample=level.downsample)
            expected = mosaic.read(x // step, y // step, 2048 // step, step)
            assert np.abs(region.astype(int) - expected).mean() < 3
