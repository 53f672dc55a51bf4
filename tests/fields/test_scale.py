"""The scale from red cells: found at any scale, the same every time, or stated as unknown."""

import numpy as np
import pytest

from discs import BACKGROUND, COLOURS, DiscFinder, disc_field
from hematovision.fields.aperture import find_circle
from hematovision.fields.edges import Circle
from hematovision.fields.scale import Scale, diameters, find_scale, given_scale
from hematovision.fields.tiles import FieldImage
from hematovision.model.preprocessing import white_point


def measured(image, finder=None):
    return find_scale(finder or DiscFinder(), FieldImage(image, white_point(image)))


@pytest.mark.parametrize(
    ("diameter", "size"),
    [
        *((diameter, (480, 640)) for diameter in (10, 14, 23, 36, 57, 83, 109)),
        (180, (800, 1000)),
        (330, (1000, 1300)),
        (690, (1600, 2000)),
    ],
)
def test_the_scale_is_found_from_10_to_700_pixels(diameter, size):
    scale, sighting = measured(disc_field(size, diameter, seed=5, spacing=1.4).image)
    assert scale.source == "red cells"
    assert scale.diameter == pytest.approx(diameter, rel=0.08)
    assert sighting.reds > 0


def test_the_same_field_always_has_the_same_scale():
    image = disc_field(diameter=50, seed=2).image
    assert measured(image)[0] == measured(image)[0]


def test_a_usual_field_costs_little_to_search():
    finder = DiscFinder()
    measured(disc_field((480, 640), 72, seed=5, spacing=1.4).image, finder)
    assert finder.pixels < 3 * (240 * 320)


def test_without_red_cells_the_source_is_none():
    blank = np.broadcast_to(BACKGROUND, (480, 640, 3)).astype(np.uint8)
    scale, sighting = measured(blank)
    assert (scale.source, scale.known, sighting) == ("none", False, None)


def test_the_user_overrides_the_file():
    assert given_scale(rbc_diameter=80, metadata=0.5) == Scale(80, "--rbc-diameter")
    assert given_scale(um_per_px=0.1) == Scale(72, "--um-per-px", 0.1)
    assert given_scale(metadata=0.25) == Scale(28.8, "metadata", 0.25)
    assert given_scale() is None


def test_numbers_of_numpy_become_those_of_python():
    scale = given_scale(um_per_px=np.float32(0.5))
    assert (scale.diameter, scale.um_per_px) == (14.4, 0.5)
    assert {type(scale.diameter), type(scale.um_per_px)} == {float}
    assert type(given_scale(rbc_diameter=np.int64(40)).diameter) is float


@pytest.mark.parametrize("metadata", [0.0, -1.0, float("nan"), 1e6, 1e-6])
def test_useless_metadata_is_ignored(metadata):
    assert given_scale(metadata=metadata) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"rbc_diameter": 0}, "`rbc_diameter` must be a number above 0. Received: 0"),
        ({"um_per_px": float("inf")}, "`um_per_px` must be a number above 0"),
        ({"rbc_diameter": 0.001}, "red cells of 0.001 pixels; they must be 5 to 1400 pixels wide"),
        ({"rbc_diameter": 1e9}, "must be 5 to 1400 pixels wide. Check the unit"),
        ({"um_per_px": 50}, "`um_per_px` of 50 means red cells of 0.144 pixels"),
        ({"rbc_diameter": 80, "um_per_px": 0.1}, "not both"),
    ],
)
def test_a_useless_scale_of_the_user_is_an_error(given, reason):
    with pytest.raises(ValueError, match=reason):
        given_scale(**given)


BLANK = FieldImage(np.zeros((200, 100, 3), np.uint8), BACKGROUND)
WHOLE = (0, 0, 100, 200)


def sizes(*boxes, field=BLANK, window=WHOLE):
    return diameters(field, np.array(boxes, np.float32), (100, 200), window).tolist()


def test_cells_clear_of_the_border_are_measured_by_both_sides():
    cells = [(50, 50, 86, 90), (50, 50, 82, 82), (30, 100, 60, 130)]
    assert sizes(*cells, (0, 9, 30, 49), (60, 60, 100, 101)) == [38, 32, 30]


def test_of_few_cells_the_cut_ones_are_measured_along_the_border():
    left, lower, corner = (0, 9, 30, 49), (20, 175, 60, 200), (70, 0, 100, 30)
    assert sizes((50, 50, 82, 82), left, lower, corner) == [32, 40, 40]
    less_than_half = (0, 9, 15, 39)
    assert sizes(less_than_half) == []


def test_cells_cut_by_the_circle_are_not_measured():
    field = FieldImage(BLANK.pixels, BACKGROUND, Circle(60, 60, 30))
    cells = np.array([(50, 50, 86, 90), (50, 50, 82, 82)])
    assert sizes(*cells, field=field) == [32]
    assert sizes(*(cells - 20), field=field, window=(20, 20, 100, 200)) == [32]


def painted(*discs, height=200, width=260):
    """An image with a disc for each (x, y, radius, class)."""
    image = np.broadcast_to(BACKGROUND, (height, width, 3)).copy()
    ys, xs = np.mgrid[:height, :width] + 0.5
    for x, y, radius, label in discs:
        image[np.hypot(xs - x, ys - y) < radius] = COLOURS[label]
    return image.astype(np.uint8)


def test_without_whole_red_cells_the_cut_ones_give_the_scale():
    scale, _ = measured(painted((10, 100, 45, 0), (245, 60, 45, 0), (130, 190, 45, 0)))
    assert scale.source == "red cells"
    assert scale.diameter == pytest.approx(90, rel=0.05)


def test_without_red_cells_other_cells_give_the_scale_that_is_used():
    whites = [(x, 300, 1.8 * 45 / 2, 1) for x in (200, 420, 640)]
    scale, _ = measured(painted(*whites, height=600, width=800))
    assert scale.source == "none"
    assert 45 / 1.5 < scale.diameter < 45 * 1.5


def test_a_circle_does_not_become_a_red_cell():
    field = disc_field((600, 600), 45, seed=2, spacing=1.4)
    ys, xs = np.mgrid[:600, :600]
    image = np.full((800, 1000, 3), 6, np.uint8)
    inside = np.hypot(xs - 300, ys - 300) < 290
    image[100:700, 200:800][inside] = field.image[inside]
    circle = find_circle(image)
    finder = DiscFinder()
    scale, _ = find_scale(finder, FieldImage(image, BACKGROUND, circle))
    assert scale.diameter == pytest.approx(45, rel=0.06)
