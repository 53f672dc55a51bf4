"""What the benchmark of fields does to images, and how it counts."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fields
from benchmarks.fields import Changed
from hematovision.synthetic import render_field


def changed(after: tuple[int, int, int], flags: str = "", before=(10, 2, 0)) -> Changed:
    return Changed("lab", "field", "dark", before, after, "blurred", flags, 1.0, 1.0)


def test_changes_of_counts_are_of_the_totals_and_of_each_field():
    rows = [changed((12, 2, 0)), changed((8, 1, 0))]
    assert fields.totals(rows) == "+0.0% / -25.0% / -"
    assert fields.mean_change(rows) == "20.0%"
    assert fields.totals([]) == fields.mean_change([]) == "-"


def test_only_new_flags_count():
    assert not fields.newly_flagged(changed((0, 0, 0), ""))
    assert not fields.newly_flagged(changed((0, 0, 0), "blurred"))
    assert fields.newly_flagged(changed((0, 0, 0), "blurred; overstained"))


def test_stains_and_lamps_change_the_absorbance_and_the_background():
    pixels = np.full((40, 40, 3), 240, np.uint8)
    pixels[:10] = 120
    same = fields.casting((1, 1, 1), (1, 1, 1))(pixels, 30.0)
    assert np.abs(same.astype(int) - pixels).max() <= 1
    dark = fields.casting((2, 2, 2), (1, 1, 1))(pixels, 30.0)
    assert dark[20, 20].tolist() == [240, 240, 240]
    assert dark[0, 0] == pytest.approx([60, 60, 60], abs=2)  # half the light, twice: a quarter
    lamp = fields.casting((1, 1, 1), (1.0, 1.0, 0.5))(pixels, 30.0)
    assert lamp[20, 20].tolist() == [240, 240, 120]


def test_sizes_and_blur_follow_the_field():
    pixels = render_field(1, (96, 128)).image
    assert fields.resizing(0.25)(pixels, 30.0).shape == (24, 32, 3)
    assert fields.resizing(2.0)(pixels, 30.0).shape == (192, 256, 3)
    sharp, blurred, more = (
        np.diff(fields.blurring(sigma)(pixels, 30.0).astype(float), axis=0).std()
        for sigma in (0.0, 0.03, 0.12)
    )
    assert sharp > blurred > more


def test_a_cell_counts_in_exactly_one_of_the_windows():
    boxes = np.array([[90, 90, 110, 110], [40, 90, 60, 110], [10, 10, 30, 30]], np.float32)
    windows = [(x, y, x + 100, y + 100) for y in (0, 100) for x in (0, 100)]
    for box in boxes:
        counts = [fields.counted_boxes(box[None], window, "two") for window in windows]
        assert sum(counts) == 1
    everything = sum(fields.counted_boxes(boxes, window, "all") for window in windows)
    assert everything == 4 + 2 + 1


def test_the_edge_rule_is_unbiased_on_synthetic_fields_and_the_others_are_not():
    totals = {"two": 0, "inside": 0, "all": 0}
    true = 0
    for seed in range(3):
        boxes = np.array([c.box for c in render_field(seed, (480, 600)).cells], np.float32)
        true += int((~((boxes[:, 2] >= 600) | (boxes[:, 3] >= 480))).sum())
        for rule in totals:
            totals[rule] += sum(
                fields.counted_boxes(boxes, (x, y, x + 200, y + 160), rule)
                for x in (0, 200, 400)
                for y in (0, 160, 320)
            )
    assert totals["two"] == pytest.approx(true, rel=0.03)
    assert totals["inside"] < 0.8 * true
    assert totals["all"] > 1.2 * true


def test_detectors_are_found_by_the_laboratory_left_out(tmp_path: Path):
    for name in ("without-bccd-0-1100-steps/bundle", "without-pbc", "without-raabin-0"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "without-bccd-0-1100-steps" / "bundle" / "bundle.json").touch()
    (tmp_path / "without-pbc" / "bundle.json").touch()
    bundle = fields.bundle_in(tmp_path, "without-bccd")
    assert bundle == tmp_path / "without-bccd-0-1100-steps" / "bundle"
    assert fields.bundle_in(tmp_path, "without-pbc") == tmp_path / "without-pbc"
    assert fields.bundle_in(tmp_path, "without-raabin") is None  # not finished
    assert fields.bundle_in(None, "without-pbc") is None


def test_official_and_made_splits_are_read(real_data: Path, tmp_path: Path):
    args = Namespace(data=real_data, work=tmp_path)
    assert len(fields.in_split(args, "bccd", "test")) == 72
    folder = tmp_path / "sets" / "draaslan"
    folder.mkdir(parents=True)
    header = "file,source,field,lab,xmin,ymin,xmax,ymax,touches_border,class,split,group\n"
    row = "a.png,images/image-100.png,image-100,draaslan,1,1,9,9,false,RBC,test,g\n"
    (folder / "cells.csv").write_text(header + row)
    test = fields.in_split(args, "draaslan", "test")
    assert [one.image.name for one in test] == ["image-100.png"]
    assert test.annotated == ("RBC", "WBC")
    assert len(fields.some(fields.read_set(real_data, "draaslan"), 7)) == 7
