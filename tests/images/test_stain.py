"""The stain of a field: measured on red cells and background, and changed to another."""

import numpy as np
import pytest

from discs import BACKGROUND, COLOURS, disc_field
from hematovision.images.stain import Stain, measure_stain, median_stain, recoloured

OWN = Stain((240.0, 232.0, 236.0), (226.0, 150.0, 156.0))
TARGET = Stain((235.0, 229.0, 225.0), (214.0, 175.0, 172.0))


def test_the_red_cells_of_a_field_have_their_colour():
    field = disc_field(diameter=40, seed=2)
    reds = field.clipped[field.labels == 0].astype(np.float32)
    stain = measure_stain(field.image, OWN.background, reds)
    assert stain.background == tuple(BACKGROUND)
    assert stain.red_cell == pytest.approx(tuple(COLOURS[0]), abs=1)


def test_the_colour_is_that_of_most_red_cells():
    image = np.full((40, 200, 3), 240, np.uint8)
    boxes = np.array([(x, 5, x + 30, 35) for x in range(5, 195, 40)], np.float32)
    for number, (x0, y0, x1, y1) in enumerate(boxes.astype(int)):
        image[y0:y1, x0:x1] = (200, 150, 160) if number < 3 else (10, 10, 10)
    assert measure_stain(image, OWN.background, boxes).red_cell == (200, 150, 160)


def test_a_red_cell_at_the_border_and_one_of_no_size_are_measured():
    image = np.full((20, 20, 3), 100, np.uint8)
    boxes = np.array([(-5, -5, 10, 10), (15, 15, 30, 30), (7, 7, 7, 7)], np.float32)
    assert measure_stain(image, OWN.background, boxes).red_cell == (100, 100, 100)


def test_two_red_cells_are_too_few():
    image = np.zeros((20, 20, 3), np.uint8)
    assert measure_stain(image, OWN.background, np.zeros((2, 4), np.float32)) is None
    assert measure_stain(image, OWN.background, np.zeros((0, 4), np.float32)) is None


def test_background_and_red_cell_get_the_colours_of_the_target():
    image = np.array([[OWN.background, OWN.red_cell]]).astype(np.uint8)
    found = recoloured(image, OWN, TARGET)
    assert found.tolist() == [[list(TARGET.background), list(TARGET.red_cell)]]


def test_values_between_follow_a_straight_line_and_beyond_it_are_clipped():
    own = Stain((200.0,) * 3, (100.0,) * 3)
    target = Stain((220.0,) * 3, (60.0,) * 3)
    levels = np.repeat(np.array([[0, 50, 150, 230]], np.uint8)[..., None], 3, axis=2)
    assert recoloured(levels, own, target)[0, :, 0].tolist() == [0, 0, 140, 255]


def test_slopes_are_limited_and_a_channel_without_contrast_is_shifted():
    own = Stain((200.0, 200.0, 200.0), (190.0, 20.0, 193.0))
    target = Stain((200.0, 200.0, 210.0), (100.0, 180.0, 100.0))
    image = np.full((1, 1, 3), 180, np.uint8)
    # 10 of contrast would become 100, at most 25; 180 would become 20, at least 72; 7 is too little
    assert recoloured(image, own, target)[0, 0].tolist() == [150, 192, 190]


def test_an_image_of_the_target_stain_does_not_change():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(recoloured(image, TARGET, TARGET), image)


@pytest.mark.parametrize("value", [-1.0, 255.5, float("nan")])
def test_a_stain_has_colours_from_0_to_255(value):
    with pytest.raises(ValueError, match=r"two colours from 0 to 255\. Received"):
        Stain((value, 200.0, 200.0), (100.0, 100.0, 100.0))


def test_the_median_of_stains_is_taken_value_by_value():
    stains = [OWN, TARGET, Stain((0.0,) * 3, (255.0, 160.0, 0.0))]
    found = median_stain(stains)
    assert found == Stain((235.0, 229.0, 225.0), (226.0, 160.0, 156.0))
    assert median_stain([]) is None
