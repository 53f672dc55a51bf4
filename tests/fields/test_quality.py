"""Quality: blur, overlap, stain, saturation and few cells are measured and flagged."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from discs import disc_field
from hematovision.fields.quality import Quality, flags, measure, overlap_share

FINE = Quality(focus=0.3, overlap=0.1, saturation=0.0, stain=0.4)
NONE = np.zeros((0, 4), np.float32)


def boxes(*centres, side=36.0):
    squares = [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in centres]
    return np.array(squares, np.float32)


def blurred(image, radius):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def test_blur_lowers_the_focus_and_stain_does_not():
    image = disc_field((400, 400), 36).image
    sharp, pale = (measure(one, one, NONE, NONE).focus for one in (image, image // 2 + 110))
    assert pale == pytest.approx(sharp, rel=0.1)
    soft = [measure(blurred(image, radius), image, NONE, NONE) for radius in (1, 2, 4)]
    assert sharp > soft[0].focus > soft[1].focus > soft[2].focus
    assert "blurred" in flags(soft[2], 20, scale_known=True)


def test_a_blank_field_has_no_focus():
    blank = np.full((100, 100, 3), 200, np.uint8)
    assert measure(blank, blank, NONE, NONE) == Quality(None, None, 0.0, None)


def test_overlap_is_the_share_of_cells_nearer_than_four_fifths_of_their_width():
    assert overlap_share(boxes((20, 20), (46, 20), (90, 20), (124, 20))) == 0.5


def test_diagonal_neighbours_whose_boxes_overlap_do_not():
    assert overlap_share(boxes((20, 20), (45, 45))) == 0.0


def test_black_and_white_pixels_are_saturated():
    raw = np.full((10, 10, 3), 200, np.uint8)
    raw[:3] = (255, 255, 254)
    raw[3:5] = (9, 9, 9)
    raw[5:7] = (255, 230, 255)
    assert measure(raw, raw, NONE, NONE).saturation == 0.5


def test_stain_is_the_density_of_red_cells():
    field = disc_field((300, 300), 36, seed=2)
    reds = field.boxes[field.labels == 0].astype(np.float32)
    found = measure(field.image, field.image, reds, reds)
    assert found.stain == pytest.approx(np.log(236 / 151), abs=0.02)  # 150 is their green
    assert measure(field.image, field.image, reds, NONE).stain is None


@pytest.mark.parametrize(
    ("changes", "reds", "known", "expected"),
    [
        ({}, 40, True, []),
        ({}, 0, False, ["no red cells found"]),
        ({}, 40, False, ["scale unknown"]),
        ({}, 4, True, ["too few cells"]),
        ({"overlap": 0.8}, 40, True, ["too dense"]),
        ({"focus": 0.02}, 40, True, ["blurred"]),
        ({"stain": 0.1}, 40, True, ["pale"]),
        ({"stain": 1.5}, 40, True, ["overstained"]),
        ({"saturation": 0.5}, 40, True, ["saturated"]),
    ],
)
def test_each_flag_has_its_reason(changes, reds, known, expected):
    quality = Quality(**{**FINE.__dict__, **changes})
    assert flags(quality, reds, scale_known=known) == expected


def test_a_given_scale_is_compared_with_the_red_cells():
    assert flags(FINE, 20, scale_known=True, relative_width=1.2) == []
    assert flags(FINE, 20, scale_known=True, relative_width=0.5) == ["scale doubtful"]
    assert flags(FINE, 3, scale_known=True, relative_width=2.0) == ["too few cells"]
