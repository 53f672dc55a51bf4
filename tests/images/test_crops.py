"""The crop rule, pixel by pixel."""

import numpy as np
import pytest

from hematovision.errors import AnnotationError
from hematovision.images.crops import crop


def ramp(height: int, width: int) -> np.ndarray:
    """A field whose pixels hold their row (red) and column (green)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_a_crop_is_a_square_of_1_2_longer_sides_around_the_centre():
    image, touches = crop(ramp(100, 200), (50.0, 40.0, 60.0, 60.0))
    assert image.shape == (24, 24, 3)
    assert not touches
    # The centre is (55, 50): columns 43..66, rows 38..61.
    assert image[0, 0].tolist() == [38, 43, 0]
    assert image[-1, -1].tolist() == [61, 66, 0]


def test_without_context_a_square_box_is_cropped_exactly():
    field = ramp(50, 50)
    image, _ = crop(field, (10.0, 20.0, 25.0, 35.0), context=1.0)
    assert np.array_equal(image, field[20:35, 10:25])


def test_border_pixels_are_repeated_outside_the_field():
    image, touches = crop(ramp(40, 40), (0.0, 0.0, 10.0, 10.0))
    assert image.shape == (12, 12, 3)
    assert touches
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[1, 1].tolist() == [0, 0, 0]
    assert image[2, 2].tolist() == [1, 1, 0]
    padded = np.pad(ramp(40, 40), ((1, 1), (1, 1), (0, 0)), mode="edge")
    assert np.array_equal(image, padded[:12, :12])


def test_a_crop_at_the_lower_right_corner_is_padded_there():
    image, touches = crop(ramp(30, 40), (30.0, 20.0, 40.0, 30.0))
    padded = np.pad(ramp(30, 40), ((1, 1), (1, 1), (0, 0)), mode="edge")
    assert np.array_equal(image, padded[-12:, -12:])
    assert touches


def test_a_crop_larger_than_its_field_is_padded_on_all_sides():
    image, touches = crop(ramp(10, 40), (0.0, 0.0, 40.0, 10.0))
    assert image.shape == (48, 48, 3)
    assert touches
    assert (image[:19, :, 0] == 0).all()
    assert (image[-19:, :, 0] == 9).all()


def test_half_pixels_are_rounded_up_everywhere():
    # Side 1.2 * 5 = 6; (10 + 15 - 6) / 2 = 9.5 -> 10 and (11 + 16 - 6) / 2 = 10.5 -> 11.
    assert crop(ramp(50, 50), (10.0, 11.0, 15.0, 16.0))[0][0, 0].tolist() == [11, 10, 0]


def test_a_crop_is_a_copy():
    field = ramp(20, 20)
    image, _ = crop(field, (5.0, 5.0, 10.0, 10.0))
    image[:] = 255
    assert np.array_equal(field, ramp(20, 20))


def test_a_box_beyond_the_field_is_clipped_before_its_square_is_made():
    inside = crop(ramp(40, 40), (30.0, 10.0, 40.0, 20.0))
    beyond = crop(ramp(40, 40), (30.0, 10.0, 90.0, 20.0))
    assert np.array_equal(inside[0], beyond[0])
    assert beyond[1]


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ((1.0, 10.0, 20.0, 20.0), True),
        ((1.01, 10.0, 20.0, 20.0), False),
        ((10.0, 1.0, 20.0, 20.0), True),
        ((10.0, 10.0, 79.0, 20.0), True),
        ((10.0, 10.0, 78.9, 20.0), False),
        ((10.0, 10.0, 20.0, 59.0), True),
        ((10.0, 10.0, 20.0, 58.9), False),
        ((-5.0, 10.0, 20.0, 20.0), True),
    ],
)
def test_a_box_within_a_pixel_of_the_border_touches_it(box, touches):
    assert crop(ramp(60, 80), box)[1] is touches


def test_a_degenerate_box_is_an_error():
    with pytest.raises(AnnotationError, match="no area"):
        crop(np.zeros((480, 640, 3), np.uint8), (504.0, 337.0, 504.0, 337.0))
