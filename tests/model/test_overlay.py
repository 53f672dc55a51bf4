"""Overlays: the cell stays visible, the hottest place is found, the size is sensible."""

import numpy as np
import pytest

from hematovision.model.explain import hottest_point
from hematovision.model.overlay import MAX_SIDE, MIN_SIDE, colour_of, draw_overlay


def hot_at(row: int, column: int) -> np.ndarray:
    attention = np.zeros((7, 7), np.float32)
    attention[row, column] = 2.5
    return attention


@pytest.fixture
def pink() -> np.ndarray:
    return np.full((300, 360, 3), (230, 190, 200), np.uint8)


def test_colours_get_lighter_throughout_so_that_they_hold_in_grey():
    colours = colour_of(np.linspace(0, 1, 101, dtype=np.float32))
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    assert colours[0] == pytest.approx((68, 1, 84))
    assert colours[-1] == pytest.approx((253, 231, 37))
    assert colours[50] == pytest.approx((33, 144, 141), abs=1)


def test_what_did_not_matter_stays_as_it_was_and_what_did_turns_yellow(pink):
    found = draw_overlay(pink, hot_at(3, 3))
    assert found.shape == pink.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:60], pink[:60])
    np.testing.assert_array_equal(found[-60:, -60:], pink[-60:, -60:])
    x, y = hottest_point(hot_at(3, 3))
    # Inside the ring: six tenths of yellow and four of the image.
    expected = 0.6 * np.array([253, 231, 37]) + 0.4 * pink[0, 0]
    np.testing.assert_allclose(found[int(y * 300), int(x * 360)], expected, atol=3)


def test_a_ring_stands_around_the_hottest_point(pink):
    found = draw_overlay(pink, hot_at(1, 5)).astype(int)
    x, y = hottest_point(hot_at(1, 5))
    radius = 360 / 48 + 3
    white = found[int(y * 300), int(x * 360 + radius)]
    assert (white > 240).all()
    rows, columns = np.nonzero((found > 240).all(axis=2))
    assert rows.mean() == pytest.approx(y * 300, abs=1)
    assert columns.mean() == pytest.approx(x * 360, abs=1)


@pytest.mark.parametrize("place", [(0, 0), (6, 6), (0, 6)])
def test_a_ring_at_the_border_is_cut_off(pink, place):
    assert draw_overlay(pink, hot_at(*place)).shape == pink.shape


def test_a_map_of_nothing_leaves_the_image_alone(pink):
    np.testing.assert_array_equal(draw_overlay(pink, np.zeros((7, 7), np.float32)), pink)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (30, 40, (192, MIN_SIDE)),
        (360, 363, (360, 363)),
        (3000, 4000, (768, MAX_SIDE)),
        (1, 5000, (1, MAX_SIDE)),
        (1, 1, (MIN_SIDE, MIN_SIDE)),
    ],
)
def test_small_crops_are_enlarged_and_large_fields_reduced(height, width, expected):
    image = np.full((height, width, 3), 100, np.uint8)
    assert draw_overlay(image, hot_at(2, 2)).shape == (*expected, 3)


def test_a_caption_stands_below_and_is_cut_to_the_width(pink):
    found = draw_overlay(pink, hot_at(3, 3), "WBC  99.0%")
    plain = draw_overlay(pink, hot_at(3, 3))
    np.testing.assert_array_equal(found[:300], plain)
    strip = found[300:]
    assert 15 < len(strip) < 40
    assert (strip[0] == 255).all()
    assert (strip.min(axis=(0, 2)) < 128).any(), "there is ink"
    long = draw_overlay(pink, hot_at(3, 3), "Δ " + "promyelocyte " * 20)[300:]
    assert (long[:, -6:] == 255).all(), "the margin stays free"
    assert draw_overlay(np.zeros((400, 9, 3), np.uint8), hot_at(0, 0), "WBC").shape[1] == 9


def test_the_image_given_is_not_changed(pink):
    before = pink.copy()
    pink.setflags(write=False)
    draw_overlay(pink, hot_at(3, 3), "WBC")
    np.testing.assert_array_equal(pink, before)
