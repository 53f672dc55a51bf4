"""Augmentation changes an image as another laboratory would, and by chance alone."""

import numpy as np
import pytest

from hematovision.training.augment import MILD, Augmentation, augment

STILL = Augmentation(
    min_crop=1.0, gain=0.0, mixing=0.0, tint=0.0, blur=0.0, resolution=0.0, noise=0.0
)

STRONG = Augmentation(
    min_crop=0.65, gain=0.25, mixing=0.12, tint=0.12, blur=0.25, resolution=0.25, noise=0.25,
    jpeg=0.15, grey=0.1,
)  # fmt: skip


@pytest.fixture
def cell() -> np.ndarray:
    y, x = np.mgrid[:90, :90]
    inside = (x - 40) ** 2 + (y - 50) ** 2 < 500
    return np.where(inside[..., None], (120, 60, 160), (235, 225, 230)).astype(np.uint8)


@pytest.mark.parametrize("how", [MILD, STRONG])
def test_the_result_has_the_requested_size_and_type(cell: np.ndarray, how: Augmentation):
    result = augment(cell, 64, how, np.random.default_rng(0))
    assert result.shape == (64, 64, 3)
    assert result.dtype == np.uint8


def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(cell: np.ndarray):
    one, again, other = (
        augment(cell, 48, STRONG, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_without_strength_only_the_view_changes(cell: np.ndarray):
    result = augment(cell, 90, STILL, np.random.default_rng(5))
    values = {tuple(map(int, pixel)) for pixel in result.reshape(-1, 3)}
    assert values == {(120, 60, 160), (235, 225, 230)}


def test_tint_moves_the_background_of_each_channel(cell: np.ndarray):
    tinted = Augmentation(min_crop=1.0, gain=0, mixing=0, tint=0.3, blur=0, resolution=0, noise=0)
    rng = np.random.default_rng(3)
    corners = np.array([augment(cell, 90, tinted, rng)[0, 0] for _ in range(60)], float)
    assert (corners.std(axis=0) > 15).all()


def test_grey_leaves_no_colour(cell: np.ndarray):
    grey = Augmentation(grey=1.0, noise=0.0)
    result = augment(cell, 40, grey, np.random.default_rng(0)).astype(int)
    assert (result.max(axis=-1) == result.min(axis=-1)).all()


def test_the_cell_stays_darker_than_its_background(cell: np.ndarray):
    rng = np.random.default_rng(11)
    for _ in range(50):
        result = augment(cell, 90, STRONG, rng).astype(float).mean(axis=-1)
        assert np.percentile(result, 5) < np.percentile(result, 95)


def test_texture_varies_what_is_stained_and_not_the_background(cell: np.ndarray):
    how = Augmentation(
        min_crop=1.0, gain=0, mixing=0, tint=0, blur=0, resolution=0, noise=0, texture=0.3
    )
    rng = np.random.default_rng(2)
    images = [augment(cell, 90, how, rng).astype(float) for _ in range(12)]
    stained = [image[image[..., 1] < 140][:, 1].std() for image in images]
    assert max(stained) > 10
    assert min(stained) < 0.5  # some images keep their texture
    assert all(image[0, 0, 0] == pytest.approx(235, abs=15) for image in images)


def test_sharpening_makes_the_edge_of_a_cell_steeper(cell: np.ndarray):
    def steepest(sharpen: float) -> int:
        how = Augmentation(
            min_crop=1.0, gain=0, mixing=0, tint=0, blur=0, resolution=0, noise=0, sharpen=sharpen
        )
        image = augment(cell, 224, how, np.random.default_rng(4)).astype(int)
        return int(np.abs(np.diff(image[..., 1], axis=0)).max())

    assert steepest(1.0) > 1.2 * steepest(0.0)
