"""Boxes in their field: degenerate ones, clipping, scaling and turning."""

import math

import pytest

from hematovision.errors import AnnotationError
from hematovision.images.boxes import clip_box, round_box, scale_box, show_box, turn_box


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((504.0, 337.0, 504.0, 337.0), "no area"),
        ((20.0, 10.0, 10.0, 20.0), "no area"),
        ((10.0, 20.0, 20.0, 10.0), "no area"),
        ((math.nan, 1.0, 5.0, 5.0), "not a number"),
        ((0.0, 0.0, math.inf, 5.0), "not a number"),
        ((700.0, 10.0, 720.0, 30.0), "outside the 640x480 field"),
        ((-30.0, 10.0, 0.0, 30.0), "outside"),
        ((10.0, 480.0, 30.0, 500.0), "outside"),
        ((10.0, -9.0, 30.0, -1.0), "outside"),
        ((10.0, 10.0, 11.9, 30.0), "1.9x20 pixels"),
        ((638.5, 10.0, 660.0, 30.0), "1.5x20 pixels"),
    ],
)
def test_a_degenerate_box_is_an_error_with_its_reason(box, reason):
    with pytest.raises(AnnotationError, match=reason):
        clip_box(box, 640, 480)


def test_a_clipped_box_of_two_pixels_a_side_is_usable():
    assert clip_box((-3.0, 0.0, 2.0, 2.0), 640, 480) == (0.0, 0.0, 2.0, 2.0)


def test_a_box_is_scaled_and_rounded_to_a_number_of_decimals():
    assert round_box(scale_box((0.1, 0.7, 0.35, 1.0), 480, 640), 3) == (48.0, 448.0, 168.0, 640.0)


@pytest.mark.parametrize(
    ("orientation", "box"),
    [
        (1, (1, 2, 11, 22)),
        (2, (69, 2, 79, 22)),
        (3, (69, 38, 79, 58)),
        (4, (1, 38, 11, 58)),
        (5, (2, 1, 22, 11)),
        (6, (58, 1, 78, 11)),
        (7, (58, 49, 78, 59)),
        (8, (2, 49, 22, 59)),
    ],
)
def test_a_box_is_rotated_upright_with_its_image(orientation, box):
    assert turn_box((1, 2, 11, 22), orientation, 80, 60) == box


def test_a_box_is_shown_without_trailing_zeros():
    assert show_box((1.0, 2.5, 30.125, 40.0)) == "(1, 2.5, 30.125, 40)"
