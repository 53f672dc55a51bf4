"""Quality: blur, overlap, saturation and few cells are measured and flagged."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from discs import disc_field
from hematovision.fields.quality import Quality, flags, measure, overlap_share

FINE = Quality(focus=0.3, overlap=0.1, saturation=0.0)


def boxes(*centres, side=36.0):
    return np.array([(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in centres])


def test_blur_lowers_the_focus_and_stain_does_not():
    image = disc_field((400, 400), 36).image
    sharp, pale = (measure(one, one, boxes((9, 9))).focus for one in (image, image // 2 + 110))
    assert pale == pytest.approx(sharp, rel=0.1)
    blurred = [
        measure(
            np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(r))), image, boxes()
        )
        for r in (1, 2, 4)
    ]
    assert sharp > blurred[0].focus > blurred[1].focus > blurred[2].focus
    assert "blurred" in flags(blurred[2], 20, scale_known=True)


def test_a_blank_field_has_no_focus():
    blank = np.full((100, 100, 3), 200, np.uint8)
    assert measure(blank, blank, np.zeros((0, 4), "f4")) == Quality(None, None, 0.0)


def test_overlap_is_the_share_of_cells_nearer_than_their_width():
    assert overlap_share(boxes((20, 20), (50, 20), (90, 20), (126, 20)).astype("f4")) == 0.5


def test_diagonal_neighbours_whose_boxes_overlap_do_not():
    assert overlap_share(boxes((20, 20), (46, 46)).astype("f4")) == 0.0


def test_black_pixels_are_saturated():
    raw = np.full((10, 10, 3), 200, np.uint8)
    raw[:3] = (90, 0, 120)
    raw[3:5] = (9, 9, 9)
    assert measure(raw, raw, np.zeros((0, 4), "f4")).saturation == 0.5


@pytest.mark.parametrize(
    ("changes", "reds", "known", "expected"),
    [
        ({}, 40, True, []),
        ({}, 0, False, ["no red cells found"]),
        ({}, 40, False, ["scale unknown"]),
        ({}, 9, True, ["too few cells"]),
        ({"overlap": 0.7}, 40, True, ["too dense"]),
        ({"focus": 0.02}, 40, True, ["blurred"]),
        ({"saturation": 0.5}, 40, True, ["overstained"]),
    ],
)
def test_each_flag_has_its_reason(changes, reds, known, expected):
    quality = Quality(**{**FINE.__dict__, **changes})
    assert flags(quality, reds, scale_known=known) == expected
