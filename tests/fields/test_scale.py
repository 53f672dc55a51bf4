"""The red cell as ruler: found at any scale, the same every time, or stated as unknown."""

import numpy as np
import pytest

from discs import BACKGROUND, DiscFinder, disc_field
from hematovision.fields.aperture import find_circle
from hematovision.fields.edges import Circle
from hematovision.fields.scale import (
    Scale,
    clear_of_border,
    find_scale,
    given_scale,
    red_cell_diameter,
    unclipped,
)
from hematovision.fields.tiles import FieldImage
from hematovision.model.detector import Detections
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


def test_the_diameter_is_the_median_of_the_cells_clear_of_the_border():
    boxes = np.array([(0, 9, 20, 49), (50, 50, 86, 90), (50, 50, 82, 82), (60, 60, 100, 101)], "f4")
    scores = np.ones((4, 3), np.float32)
    found = Detections(boxes, scores, np.zeros(4, np.intp), np.zeros((4, 2), np.int32))
    clear = unclipped(boxes, (100, 200))
    assert clear.tolist() == [False, True, True, False]
    assert red_cell_diameter(found, clear) == 35.0
    assert red_cell_diameter(found, np.zeros(4, bool)) is None


def test_cells_cut_by_the_circle_are_not_measured():
    boxes = np.array([(50, 50, 86, 90), (50, 50, 82, 82), (0, 9, 20, 49)], np.float32)
    field = FieldImage(np.zeros((200, 100, 3), np.uint8), BACKGROUND, Circle(60, 60, 30))
    whole = (0, 0, 100, 200)
    assert clear_of_border(field, boxes, (100, 200), whole).tolist() == [False, True, False]
    shifted = clear_of_border(field, boxes - 20, (100, 200), (20, 20, 100, 200))
    assert shifted.tolist() == [False, True, False]


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
