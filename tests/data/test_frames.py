"""Sizes in box files against those of images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision import images
from hematovision.data.frames import find_frame
from hematovision.errors import AnnotationError


def save(path: Path, width: int, height: int, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("declared", "pixels"),
    [((1600, 1200), (133, 100)), ((133, 100), (1600, 1200)), ((641, 480), (320, 240)),
     ((4000, 3000), (1333, 999))],
)  # fmt: skip
def test_rounded_sides_still_count_as_a_scale(tmp_path, declared, pixels):
    frame = find_frame(tmp_path / "not-opened.png", pixels, declared)
    assert frame.upright((0, 0, *declared)) == pytest.approx((0, 0, *pixels))
    assert "scaled" in frame.note


@pytest.mark.parametrize("pixels", [(320, 200), (240, 320), (320, 244)])
def test_contradicting_sizes_are_an_error(tmp_path: Path, pixels):
    image = save(tmp_path / "a.png", *pixels)
    with pytest.raises(AnnotationError, match="box file declares 640 x 480 pixels, but the image"):
        find_frame(image, pixels, (640, 480))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_rotated_like_pixels_in_every_orientation(tmp_path, suffix, orientation):
    stored = np.zeros((60, 80, 3), np.uint8)
    stored[8:24, 16:48] = 255  # the box (16, 8, 48, 24), on the grid of JPEG's blocks
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    lossless = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(stored).save(path, exif=exif, **lossless)
    upright = images.read(path)
    pixels = (upright.shape[1], upright.shape[0])
    if orientation < 5:
        return  # the size doesn't show whether boxes are for the turned image
    frame = find_frame(path, pixels, (80, 60))
    assert frame.orientation == orientation
    a, b, c, d = map(round, frame.upright((16, 8, 48, 24)))
    assert upright[b:d, a:c].min() > 200
    assert (upright > 200).sum() == 3 * 16 * 32


def test_boxes_with_the_upright_size_are_not_rotated(tmp_path: Path):
    image = save(tmp_path / "a.jpg", 80, 60, orientation=6)
    frame = find_frame(image, (60, 80), (60, 80))
    assert frame.upright((1, 2, 3, 4)) == (1, 2, 3, 4)
    assert frame.note == ""


@pytest.mark.parametrize(
    ("orientation", "size", "declared", "unclear"),
    [
        (1, (80, 60), (80, 60), False),
        (3, (80, 60), (80, 60), True),  # the same sides upright and as stored
        (6, (80, 60), (60, 80), False),
        (6, (60, 60), (60, 60), True),
        (6, (80, 60), None, True),
        (1, (80, 60), None, False),
    ],
)
def test_an_unclear_orientation_is_reported(tmp_path, orientation, size, declared, unclear):
    image = save(tmp_path / "a.jpg", *size, orientation=orientation)
    height, width = images.read(image).shape[:2]
    frame = find_frame(image, (width, height), declared)
    assert frame.upright((1, 2, 3, 4)) == (1, 2, 3, 4)
    assert ("does not show" in frame.note) is unclear


@pytest.mark.parametrize("declared", [(81, 60), (80, 61), (79, 59)])
def test_a_difference_of_one_pixel_is_reported_without_scaling(tmp_path: Path, declared):
    path = images.write(tmp_path / "f.png", np.zeros((60, 80, 3), np.uint8))
    frame = find_frame(path, (80, 60), declared)
    assert frame.upright((10, 8, 26, 24)) == (10, 8, 26, 24)
    assert frame.note.endswith("by one pixel; boxes were not scaled")


def test_boxes_for_an_almost_square_stored_image_are_rotated(tmp_path: Path):
    frame = find_frame(save(tmp_path / "f.jpg", 61, 60, 6), (60, 61), (61, 60))
    assert frame.orientation == 6
    assert frame.upright((0, 0, 20, 10)) == (50, 0, 60, 20)


def test_scaled_and_rotated_boxes_are_reported_as_both(tmp_path: Path):
    frame = find_frame(save(tmp_path / "f.jpg", 80, 60, 6), (60, 80), (160, 120))
    assert frame.upright((0, 0, 40, 20)) == (50, 0, 60, 20)
    assert frame.note.startswith("Boxes were scaled by 0.5, from 160 x 120 to 80 x 60, and turned")
