"""White cells framed by red cells: in fields, and in images of single cells."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from discs import BACKGROUND, COLOURS, DiscFinder, _paint
from hematovision import images
from hematovision.fields.finding import FieldFinder
from hematovision.fields.framing import PBC, RedCellFramer, square
from hematovision.images.stain import Stain, recoloured, redyed
from hematovision.model.framing import NOT_FRAMED, Framing

FIELD = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3).astype(np.uint8)
TARGET = Stain((220.0, 230.0, 225.0), (210.0, 120.0, 110.0))
REDS = [(60, 60), (60, 180), (180, 60), (240, 240)]


def cell_image(white=(150, 150), reds=REDS, size=(300, 300), diameter=50):
    """A white cell amid red cells; places are x and y of centres in pixels."""
    image = np.broadcast_to(BACKGROUND, (*size, 3)).copy()
    for x, y in reds:
        _paint(image, x, y, diameter / 2, COLOURS[0])
    if white:
        _paint(image, *white, 0.9 * diameter, COLOURS[1])
    return np.rint(image).astype(np.uint8)


def framed(image, framing=None, size=96):
    framer = RedCellFramer(FieldFinder(DiscFinder()))
    return framer.frame(image, framing or Framing(3.0), size, "a.png")


def centre(found):
    x0, y0, x1, y1 = found.box
    return ((x0 + x1) / 2, (y0 + y1) / 2)


def test_a_square_repeats_the_border():
    crop = square(FIELD, np.array([0, 0, 10, 10], "f4"), 20)
    assert crop.shape == (20, 20, 3)
    np.testing.assert_array_equal(crop[5:, 5:], FIELD[:15, :15])
    np.testing.assert_array_equal(crop[0, 5:], FIELD[0, :15])


@pytest.mark.parametrize("white", [(150, 150), (165, 170)])
def test_the_crop_is_centred_on_the_white_cell_and_measured_in_red_cells(white):
    found = framed(cell_image(white))
    assert centre(found) == pytest.approx(white, abs=2)
    assert found.box[2] - found.box[0] == pytest.approx(150, abs=8)
    assert (found.pixels.shape, found.note) == ((96, 96, 3), "")


@pytest.mark.parametrize("white", [None, (150, 230)])
def test_without_a_white_cell_in_the_middle_the_middle_is_seen(white):
    found = framed(cell_image(white, REDS[:3]))
    assert centre(found) == pytest.approx((150, 150), abs=1)
    assert found.note == ""


def test_of_two_white_cells_the_nearer_one_is_seen():
    image = cell_image((125, 150), [*REDS[:3], (240, 270)])
    _paint(view := image.astype(np.float32), 215, 150, 40, COLOURS[1])
    found = framed(np.rint(view).astype(np.uint8))
    assert centre(found) == pytest.approx((125, 150), abs=2)


@pytest.mark.parametrize(
    ("white", "several"), [((125, 150), False), ((240, 270), True), (None, False)]
)
def test_white_cells_outside_the_middle_only_make_an_image_a_field(white, several):
    assert framed(cell_image(white, REDS[:3])).several is several


def test_the_input_is_the_same_at_any_resolution():
    image = cell_image()
    double = np.asarray(Image.fromarray(image).resize((600, 600), Image.Resampling.BICUBIC))
    one, two = framed(image), framed(double)
    assert np.array(two.box) == pytest.approx(2 * np.array(one.box), abs=6)
    assert np.abs(one.pixels.astype(int) - two.pixels).mean() < 3


def test_an_image_without_red_cells_is_used_as_it_is_and_the_note_states_it():
    image = cell_image(reds=[])
    found = framed(image, Framing(3.0, TARGET))
    np.testing.assert_array_equal(found.pixels, images.fit(image, 96))
    assert (found.box, found.note) == ((0, 0, 300, 300), NOT_FRAMED)


def test_colours_are_changed_from_the_stain_of_the_image_to_that_of_the_framing():
    image = cell_image((150, 150), [(105, 60), (195, 60), (60, 240)])
    own = Stain(tuple(map(float, BACKGROUND)), tuple(map(float, COLOURS[0])))
    found, plain = framed(image, Framing(5.0, TARGET), 250), framed(image, Framing(5.0), 250)
    np.testing.assert_array_equal(found.pixels, recoloured(plain.pixels, own, TARGET))
    assert found.pixels[240, 10] == pytest.approx(TARGET.background, abs=2)


def test_nuclei_are_turned_to_the_colour_of_the_framing():
    image = cell_image((150, 150), [(105, 60), (195, 60), (60, 240)])
    framing = Framing(5.0, TARGET, nucleus=(90.0, 60.0, 190.0))
    plain, turned = (
        framed(image, f, 250).pixels for f in (replace(framing, nucleus=None), framing)
    )
    own = Stain(tuple(map(float, BACKGROUND)), tuple(map(float, COLOURS[0])))
    expected = redyed(framed(image, Framing(5.0), 250).pixels, own, TARGET, framing.nucleus, 30)
    np.testing.assert_array_equal(turned, expected)
    assert np.abs(turned[125, 125].astype(int) - plain[125, 125]).max() > 10  # the nucleus
    assert turned[240, 10] == pytest.approx(TARGET.background, abs=2)


def test_with_two_red_cells_the_scale_is_known_and_colours_are_as_recorded():
    image = cell_image((150, 150), REDS[:2])
    found = framed(image, Framing(3.0, TARGET))
    np.testing.assert_array_equal(found.pixels, framed(image).pixels)
    assert found.note == ""


def test_of_a_large_field_only_the_middle_is_searched():
    places = [(x, y) for x in range(20, 2400, 50) for y in range(20, 2400, 50)]
    reds = [(x, y) for x, y in places if np.hypot(x - 1200, y - 1200) > 60]
    finder = DiscFinder()
    image = cell_image((1205, 1195), reds, (2400, 2400), diameter=20)
    found = RedCellFramer(FieldFinder(finder)).frame(image, Framing(3.0), 96, "a.png")
    assert centre(found) == pytest.approx((1205, 1195), abs=2)
    assert finder.pixels < 3 * (24 * 36) ** 2  # at the detector's scale it has 18 million


def test_identity_includes_that_of_the_detector():
    identity = RedCellFramer(FieldFinder(DiscFinder())).identity
    assert DiscFinder.identity.items() < identity.items()
    assert identity["framer"] == 2


@pytest.mark.parametrize("kind", ["neutrophil", "lymphocyte", "eosinophil"])
def test_images_of_pbc_are_seen_in_their_own_framing(real_data, kind):
    framer = RedCellFramer.load()
    for path in sorted((real_data / "pbc" / "train" / kind).iterdir())[:4]:
        image = images.read(path)
        found = framer.frame(image, PBC, 224, path.name)
        assert found.note == ""
        assert found.box[2] - found.box[0] == pytest.approx(360, rel=0.2)
        assert centre(found) == pytest.approx((180, 180), abs=30)


@pytest.mark.parametrize("reds", [REDS, []])
def test_a_blur_is_in_red_cell_diameters_and_hides_fine_texture(reds):
    image = cell_image(reds=reds)
    image[140:160:2, 120:180] = 0  # lines a pixel wide
    sharp, blurred = (framed(image, Framing(3.0, blur=blur)).pixels for blur in (0.0, 0.05))

    def roughness(pixels):
        return np.abs(np.diff(pixels[30:66, 30:66].astype(float), axis=0)).mean()

    assert blurred.shape == sharp.shape
    assert roughness(blurred) < 0.8 * roughness(sharp)
    assert blurred.mean() == pytest.approx(sharp.mean(), abs=1)
