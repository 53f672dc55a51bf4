"""Eyepiece circles: found where there is one, and nowhere else."""

import numpy as np
import pytest

from discs import disc_field
from hematovision import images
from hematovision.fields.aperture import find_circle


def masked(image, x, y, radius, dark=12, soft=4):
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    visible = np.clip((radius - np.hypot(xs - x, ys - y)) / soft + 0.5, 0, 1)[..., None]
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image * visible + dark * (1 - visible) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("x", "y", "radius"), [(600, 450, 400), (560, 500, 560), (700, 420, 250), (600, 450, 620)]
)
def test_a_circle_is_found_wherever_it_is(x, y, radius):
    image = masked(disc_field((900, 1200), 60).image, x, y, radius)
    found = find_circle(image)
    assert (found.x, found.y) == pytest.approx((x, y), abs=0.03 * radius)
    assert found.radius == pytest.approx(0.985 * radius, rel=0.03)


def test_ordinary_fields_have_none():
    assert find_circle(disc_field().image) is None
    assert find_circle(np.zeros((100, 100, 3), np.uint8)) is None
    assert find_circle(np.full((100, 100, 3), 255, np.uint8)) is None


def test_a_dark_corner_or_a_straight_border_is_no_circle():
    image = disc_field((480, 640)).image.copy()
    image[:, :90] = 5
    assert find_circle(image) is None
    image = disc_field((480, 640)).image.copy()
    image[:120, :120] = 5
    image[-120:, -120:] = 5
    assert find_circle(image) is None


def test_a_rough_or_tiny_bright_part_is_no_circle():
    ys, xs = np.mgrid[:480, :640]
    angle = np.arctan2(ys - 240, xs - 320)
    star = np.hypot(xs - 320, ys - 240) < 180 + 40 * np.sin(5 * angle)
    assert find_circle(np.where(star[..., None], 220, 8).repeat(3, 2).astype(np.uint8)) is None
    square = (abs(xs - 320) < 200) & (abs(ys - 240) < 200)
    assert find_circle(np.where(square[..., None], 220, 8).repeat(3, 2).astype(np.uint8)) is None
    speck = np.hypot(xs - 320, ys - 240) < 6
    assert find_circle(np.where(speck[..., None], 220, 8).repeat(3, 2).astype(np.uint8)) is None
    assert (
        find_circle(np.where((ys < 300)[..., None], 220, 8).repeat(3, 2).astype(np.uint8)) is None
    )


def test_real_fields_have_none(real_data):
    paths = sorted((real_data / "bccd" / "JPEGImages").iterdir())[::40]
    paths += sorted((real_data / "txl" / "raabin" / "images").iterdir())[::100]
    assert len(paths) > 10
    assert [path.name for path in paths if find_circle(images.read(path))] == []
