"""The resize, the eight views and mean colours."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from hematovision import images
from image_files import noise, scene


def exact_area(row, size):
    """Area averages of one row of numbers, in fractions."""
    step = Fraction(len(row), size)
    result = []
    for i in range(size):
        start, stop = i * step, (i + 1) * step
        parts = (
            max(Fraction(0), min(stop, Fraction(k + 1)) - max(start, Fraction(k))) * int(value)
            for k, value in enumerate(row)
        )
        result.append(int(sum(parts) / step + Fraction(1, 2)))
    return result


def test_the_models_size_is_224():
    assert images.SIZE == 224
    assert images.fit(scene()).shape == (224, 224, 3)


def test_an_image_that_fits_is_copied_and_not_changed():
    image = noise(224, 224, 3)
    fitted = images.fit(image)
    np.testing.assert_array_equal(fitted, image)
    assert not np.shares_memory(fitted, image)


def test_integer_factors_give_the_means_of_blocks():
    image = noise(12, 20, 3)
    blocks = image.reshape(4, 3, 4, 5, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_array_equal(images.fit(image, 4), np.floor(blocks + 0.5))


@pytest.mark.parametrize("length", [7, 10, 13, 363])
def test_other_factors_count_border_pixels_by_the_part_covered(length):
    row = noise(length)
    image = np.broadcast_to(row[None, :, None], (6, length, 3))
    assert images.fit(image, 6)[0, :, 1].tolist() == exact_area(row, 6)


@pytest.mark.parametrize(
    "shape", [(480, 640), (363, 360), (575, 575), (225, 1000), (224, 300), (3000, 2500)]
)
def test_shrinking_is_opencvs_area_averaging(shape):
    image = noise(*shape, 3)
    reference = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
    assert abs(images.fit(image).astype(int) - reference).max() <= 1


@pytest.mark.parametrize("shape", [(80, 80), (1, 1), (100, 223), (224, 30)])
def test_growing_is_opencvs_bilinear(shape):
    image = noise(*shape, 3)
    reference = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR)
    assert abs(images.fit(image).astype(int) - reference).max() <= 1


def test_each_axis_has_its_own_rule():
    image = noise(100, 448, 3)
    narrow = np.floor(image.reshape(100, 224, 2, 3).mean(axis=2) + 0.5).astype(np.uint8)
    assert abs(images.fit(image).astype(int) - images.fit(narrow)).max() <= 1


@pytest.mark.parametrize("shape", [(80, 500), (360, 363), (9, 9), (4096, 2100)])
def test_uniform_colours_are_unchanged(shape):
    image = np.broadcast_to(np.array([255, 128, 1], np.uint8), (*shape, 3))
    assert (images.fit(image) == image[0, 0]).all()


def test_fitting_commutes_with_every_view():
    image = noise(90, 50, 3)
    for index in range(8):
        np.testing.assert_array_equal(
            images.fit(images.view(image, index), 32), images.view(images.fit(image, 32), index)
        )


def test_result_is_contiguous_rgb_whatever_the_layout_of_the_input():
    image = noise(300, 500, 3)[::2, ::-1]
    fitted = images.fit(image)
    assert fitted.flags.c_contiguous
    np.testing.assert_array_equal(fitted, images.fit(image.copy()))


@pytest.mark.parametrize(
    "image", [noise(5, 5), noise(5, 5, 4), noise(5, 5, 3).astype(np.float32), noise(0, 5, 3)]
)
def test_another_shape_or_type_is_a_value_error(image):
    with pytest.raises(ValueError, match=r"must be RGB uint8 of shape \(H, W, 3\). Received: "):
        images.fit(image)


def test_size_must_be_positive():
    with pytest.raises(ValueError, match=r"`size` must be at least 1. Received: 0"):
        images.fit(scene(), 0)


def test_load_is_fit_of_read(tmp_path):
    path = images.write(tmp_path / "cell.png", noise(90, 70, 3))
    np.testing.assert_array_equal(images.load(path), images.fit(images.read(path)))


class TestViews:
    def test_the_eight_views_are_all_different_and_the_first_is_the_image(self):
        image = scene()
        views = [images.view(image, index) for index in range(8)]
        assert len({(*view.shape, view.tobytes()) for view in views}) == 8
        np.testing.assert_array_equal(views[0], image)
        assert all(view.flags.c_contiguous for view in views)

    def test_turns_are_counter_clockwise_and_mirrors_left_to_right(self):
        image = scene()
        top_right, top_left = image[0, -1].tolist(), image[0, 0].tolist()
        assert images.view(image, 1)[0, 0].tolist() == top_right
        assert images.view(image, 4)[0, 0].tolist() == top_right
        assert images.view(image, 5)[0, -1].tolist() == top_right
        assert images.view(image, 2)[-1, -1].tolist() == top_left

    @pytest.mark.parametrize("index", [-1, 8])
    def test_other_views_are_an_error(self, index):
        with pytest.raises(ValueError, match=r"`index` must be 0 to 7. Received: "):
            images.view(scene(), index)
