"""Fields and cell images: exact ground truth, reproducible pixels."""

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from hematovision.synthetic import KINDS, LABS, render_cell, render_field


@pytest.fixture(scope="module")
def fields():
    return [render_field(seed, lab=lab) for seed, lab in enumerate(LABS)]


def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_pixels_in_another_process():
    here = digest(render_field(11, size=(160, 200)).image) + digest(
        render_cell("monocyte", 12, size=96)
    )
    code = (
        "import hashlib\n"
        "from hematovision.synthetic import render_cell, render_field\n"
        "render_cell('rbc', 1)\n"  # earlier images change nothing
        "field = render_field(11, size=(160, 200))\n"
        "for image in (field.image, render_cell('monocyte', 12, size=96)):\n"
        "    print(hashlib.sha256(image.tobytes()).hexdigest(), end='')\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert there.stdout == here


def test_other_seeds_labs_and_kinds_give_other_pixels():
    images = [
        render_cell("neutrophil", 1, lab="synthetic-a", size=96),
        render_cell("neutrophil", 2, lab="synthetic-a", size=96),
        render_cell("neutrophil", 1, lab="synthetic-b", size=96),
        render_cell("eosinophil", 1, lab="synthetic-a", size=96),
    ]
    assert len({digest(image) for image in images}) == 4


def test_without_a_lab_every_lab_occurs():
    assert {render_field(seed, size=(64, 64)).lab for seed in range(24)} == set(LABS)


def test_a_field_is_rgb_of_the_requested_size():
    field = render_field(0, size=(100, 150))
    assert field.image.shape == (100, 150, 3)
    assert field.image.dtype == np.uint8
    assert field.labels.shape == (100, 150)
    assert field.labels.dtype == np.int32


def test_boxes_bound_the_whole_masks_exactly(fields):
    for field in fields:
        for index, cell in enumerate(field.cells):
            rows, columns = np.nonzero(field.mask(index))
            tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert cell.box == tight
            assert cell.mask.shape == (tight[3] - tight[1], tight[2] - tight[0])


def test_labels_hold_the_topmost_cell_of_every_pixel(fields):
    for field in fields:
        expected = np.zeros_like(field.labels)
        for index in range(len(field.cells)):
            expected[field.mask(index)] = index + 1
        assert np.array_equal(field.labels, expected)


def test_overlapped_means_shared_pixels(fields):
    for field in fields:
        layers = sum(field.mask(i).astype(int) for i in range(len(field.cells)))
        for index, cell in enumerate(field.cells):
            assert cell.overlapped == bool((layers[field.mask(index)] > 1).any())
    flags = [cell.overlapped for field in fields for cell in field.cells]
    assert 0.02 < np.mean(flags) < 0.8


def test_touching_the_border_means_a_box_that_ends_there(fields):
    for field in fields:
        height, width = field.labels.shape
        for cell in field.cells:
            xmin, ymin, xmax, ymax = cell.box
            assert cell.touches_border == (0 in (xmin, ymin) or xmax == width or ymax == height)
    flags = [cell.touches_border for field in fields for cell in field.cells]
    assert 0.05 < np.mean(flags) < 0.6


def test_a_field_holds_the_requested_cells():
    wanted = {"rbc": 7, "platelet": 3, "monocyte": 1, "basophil": 0}
    field = render_field(3, cells=wanted)
    assert Counter(cell.kind for cell in field.cells) == {k: n for k, n in wanted.items() if n}


def test_a_random_field_is_mostly_red_cells(fields):
    counts = Counter(cell.kind for field in fields for cell in field.cells)
    assert counts["rbc"] / counts.total() > 0.7
    assert counts["platelet"] >= 1
    assert counts.total() - counts["rbc"] - counts["platelet"] >= 3


def test_a_larger_field_shows_more_cells_of_the_same_size():
    small, large = (
        render_field(5, size=size, lab="synthetic-a") for size in ((240, 320), (960, 640))
    )
    assert len(large.cells) > 4 * len(small.cells)
    small_area, large_area = (
        np.median([c.mask.sum() for c in f.cells if c.kind == "rbc" and not c.touches_border])
        for f in (small, large)
    )
    assert large_area == pytest.approx(small_area, rel=0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_image_shows_its_cell_in_the_middle(kind):
    image = render_cell(kind, 1, lab="synthetic-a", size=128)
    assert image.shape == (128, 128, 3)
    assert image.dtype == np.uint8
    background = np.percentile(image.reshape(-1, 3), 95, axis=0)
    middle = image[60:68, 60:68].reshape(-1, 3).mean(axis=0)
    assert np.abs(background - middle).max() > (8 if kind == "rbc" else 40)


def test_a_cell_image_shows_the_same_at_any_size():
    small, large = (
        render_cell("lymphocyte", 4, lab="synthetic-a", size=size) for size in (112, 224)
    )
    shrunk = np.asarray(Image.fromarray(large).resize((112, 112), Image.Resampling.BOX))
    middle = slice(40, 72)
    difference = small[middle, middle].astype(float) - shrunk[middle, middle]
    assert abs(difference.mean()) < 12


def test_some_platelets_come_in_clumps():
    dark = []
    for seed in range(20):
        image = render_cell("platelet", seed, lab="synthetic-a", size=72).astype(float)
        dark.append((image[..., 0] < 150).sum())
    assert max(dark) > 2.5 * np.median(dark)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "`seed` must be 0 or more"),
        ({"seed": 0, "size": (32, 640)}, "`size` must be at least 64"),
        ({"seed": 0, "lab": "a"}, "`lab` must be one of"),
        ({"seed": 0, "cells": {"red": 3}}, "`cells` must map .* Received: {'red': 3}"),
        ({"seed": 0, "cells": {"rbc": -3}}, "`cells` must map"),
    ],
)
def test_invalid_arguments_raise_value_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_field(**arguments)


@pytest.mark.parametrize(
    ("lab", "folder", "pattern"),
    [
        ("synthetic-a", "pbc/train", "*/*.jpg"),
        ("synthetic-b", "bccd/JPEGImages", "*.jpg"),
        ("synthetic-c", "txl/raabin/images", "*.jpg"),
    ],
)
def test_colours_are_those_of_real_smears(real_data, lab, folder, pattern):
    """Mean and spread of the pixels, within 30 of 255 levels of the lab's model."""
    files = sorted((real_data / folder).glob(pattern))
    files = files[:: max(1, len(files) // 24)]
    real = [np.asarray(Image.open(f).convert("RGB").resize((96, 96))) for f in files]
    rendered = [render_field(seed, size=(240, 240), lab=lab).image for seed in range(8)]
    for statistic in (np.mean, np.std):
        there = statistic(np.stack(real).reshape(-1, 3), axis=0)
        here = statistic(np.stack(rendered).reshape(-1, 3), axis=0)
        assert np.abs(there - here).max() < 30


@pytest.mark.parametrize(
    ("lab", "mean", "deviation"),
    [
        ("synthetic-a", 184.99, 52.28),
        ("synthetic-b", 176.77, 30.83),
        ("synthetic-c", 119.23, 51.33),
        ("synthetic-d", 133.60, 49.52),
    ],
)
def test_fields_are_rendered_as_in_version_0_1(lab, mean, deviation):
    """Recorded results and the self-tests of bundled models rely on it."""
    image = render_field(3, size=(160, 200), lab=lab).image.astype(float)
    assert image.mean() == pytest.approx(mean, abs=0.02)
    assert image.std() == pytest.approx(deviation, abs=0.02)
