"""The stain of a field: measured on red cells and background, and changed to another."""

import numpy as np
import pytest

from discs import BACKGROUND, COLOURS, disc_field
from hematovision.images.stain import Stain, measure_stain, median_stain, recoloured, redyed

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


def density(level, background):
    return np.log(np.array(background) / np.array(level))


def test_the_background_gets_the_colour_of_the_target():
    image = np.array([[OWN.background]]).astype(np.uint8)
    assert recoloured(image, OWN, TARGET).tolist() == [[list(TARGET.background)]]


def test_a_red_cell_gets_half_way_to_the_density_of_the_target():
    own, target = Stain((200.0,) * 3, (100.0,) * 3), Stain((240.0,) * 3, (60.0,) * 3)
    red = recoloured(np.full((1, 1, 3), 100, np.uint8), own, target)[0, 0, 0]
    between = np.sqrt(density(100, 200) * density(60, 240))
    assert density(red, 240) == pytest.approx(between, abs=0.01)


def test_darker_pixels_stay_darker():
    levels = np.repeat(np.arange(0, 256, 5, np.uint8)[None, :, None], 3, axis=2)
    found = recoloured(levels, OWN, TARGET)[0].astype(int)
    assert (np.diff(found, axis=0) >= 0).all()
    assert (found[0] < 20).all()


def test_gains_are_limited_and_a_channel_without_density_keeps_its_own():
    own = Stain((200.0, 200.0, 200.0), (190.0, 20.0, 199.0))
    target = Stain((200.0, 200.0, 210.0), (20.0, 190.0, 100.0))
    image = np.full((1, 1, 3), 100, np.uint8)
    # Densities are doubled, halved, and unchanged on another background.
    assert recoloured(image, own, target)[0, 0].tolist() == [50, 141, 105]


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


def white_cell(nucleus, cytoplasm, stain, side=80):
    """A nucleus in a cell, on a background with a red cell in the corner."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    image = np.empty((side, side, 3), np.uint8)
    image[:] = stain.background
    image[:12, :12] = stain.red_cell
    image[np.hypot(x, y) < 30] = cytoplasm
    image[np.hypot(x, y) < 15] = nucleus
    return image


BLUE, MAGENTA = (70.0, 50.0, 160.0), (150.0, 30.0, 120.0)
NUCLEUS = (110.0, 50.0, 170.0)
STAIN = Stain((235.0, 235.0, 235.0), (200.0, 160.0, 165.0))


def hue(colour, background=(235, 235, 235)):
    """The direction of a colour's density."""
    found = density(np.array(colour, float) + 1, np.array(background) + 1.0)
    return found / np.linalg.norm(found)


@pytest.mark.parametrize("own", [BLUE, MAGENTA])
def test_nuclei_get_the_hue_of_the_target_and_red_cells_keep_their_colour(own):
    cell = white_cell(own, (190, 150, 190), STAIN)
    found = redyed(cell, STAIN, STAIN, NUCLEUS, radius=20, turn=1.0)
    np.testing.assert_allclose(hue(found[40, 40]), hue(NUCLEUS), atol=0.02)
    assert found[0, 0] == pytest.approx(STAIN.red_cell, abs=1.5)
    assert found[0, 40] == pytest.approx(STAIN.background, abs=1)


@pytest.mark.parametrize("own", [BLUE, MAGENTA])
def test_nuclei_are_turned_half_way_by_default_and_not_at_all_on_request(own):
    cell = white_cell(own, (190, 150, 190), STAIN)
    half, none = (
        redyed(cell, STAIN, STAIN, NUCLEUS, radius=20, **how) for how in ({}, {"turn": 0.0})
    )
    between = (hue(own) + hue(NUCLEUS)) / np.linalg.norm(hue(own) + hue(NUCLEUS))
    np.testing.assert_allclose(hue(half[40, 40]), between, atol=0.02)
    np.testing.assert_allclose(hue(none[40, 40]), hue(own), atol=0.02)


def test_a_nucleus_gets_half_way_to_the_density_of_the_target():
    pale = tuple(float(v) for v in 236 * np.exp(-0.6 * density(np.array(NUCLEUS) + 1, 236)) - 1)
    found = redyed(white_cell(pale, (200, 180, 200), STAIN), STAIN, STAIN, NUCLEUS, radius=20)
    shown, wanted = (
        np.linalg.norm(density(np.array(c, float) + 1, 236.0)) for c in (found[40, 40], NUCLEUS)
    )
    assert shown / wanted == pytest.approx(np.sqrt(0.6), abs=0.02)


def test_cytoplasm_of_two_stains_becomes_alike():
    """The same mixture of two dyes, in a lab with blue and in one with magenta nuclei."""
    red = density(np.array(STAIN.red_cell) + 1, 236.0)
    found = []
    for nucleus in (BLUE, MAGENTA):
        own = density(np.array(nucleus) + 1, 236.0)
        mixed = 236 * np.exp(-(0.6 * red + 0.1 * own)) - 1
        cell = white_cell(nucleus, tuple(mixed.round()), STAIN)
        found.append(redyed(cell, STAIN, STAIN, NUCLEUS, 20, turn=1.0)[40, 60].astype(int))
    assert np.abs(found[0] - found[1]).max() < 4  # 15 before


def test_without_a_nucleus_nothing_but_the_stain_changes():
    for middle in (STAIN.red_cell, STAIN.background):
        cell = white_cell(middle, middle, STAIN)
        found = redyed(cell, STAIN, TARGET, NUCLEUS, radius=20)
        np.testing.assert_array_equal(found, recoloured(cell, STAIN, TARGET))


@pytest.mark.parametrize("level", [0, 255])
def test_saturated_nuclei_leave_red_cells_and_background_as_they_are(level):
    cell = white_cell((level,) * 3, (190, 150, 190), STAIN)
    found = redyed(cell, STAIN, STAIN, NUCLEUS, radius=20)
    assert found[0, 0] == pytest.approx(STAIN.red_cell, abs=1.5)
    assert found[0, 40] == pytest.approx(STAIN.background, abs=1)


@pytest.mark.filterwarnings("error")
def test_a_hue_that_is_opposite_to_the_target_has_none_half_way():
    """White is brighter than the background, so its density is opposite to that of a grey."""
    cell = np.full((8, 8, 3), 255, np.uint8)
    found = redyed(cell, STAIN, STAIN, (100.0, 100.0, 100.0), radius=3)
    np.testing.assert_array_equal(found, cell)


@pytest.mark.parametrize(("degrees", "is_mapped"), [(5.5, False), (6.5, True)])
def test_nuclei_within_six_degrees_of_the_red_cells_hue_keep_their_colour(degrees, is_mapped):
    eosin, other = hue(STAIN.red_cell), hue(NUCLEUS)
    across = other - (other @ eosin) * eosin
    across /= np.linalg.norm(across)
    angle = np.radians(degrees)
    own = 236 * np.exp(-2.0 * (np.cos(angle) * eosin + np.sin(angle) * across)) - 1
    cell = white_cell(tuple(own.round()), STAIN.background, STAIN)
    found = redyed(cell, STAIN, STAIN, NUCLEUS, radius=20)
    assert (found != cell).any() == is_mapped
