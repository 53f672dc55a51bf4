"""Outlines, chains of lobes, grain and spots."""

import numpy as np
import pytest

from hematovision.synthetic import shapes


def rng():
    return shapes.random_generator(7)


def test_a_circle_has_the_area_of_a_circle_to_a_thousandth():
    patch = shapes.make_patch(4.0, 10.0, offset=(0.3, -0.4))
    depth, _ = shapes.outline_depth(patch, np.full(360, 3.75, np.float32))
    area = shapes.coverage(depth, 10.0).sum() / 100.0
    assert area == pytest.approx(np.pi * 3.75**2, rel=1e-3)


def test_depth_is_the_distance_to_the_outline():
    patch = shapes.make_patch(4.0, 10.0)
    depth, relative = shapes.outline_depth(patch, np.full(360, 2.0, np.float32))
    middle = patch.shape[0] // 2
    assert depth[middle, middle] == pytest.approx(2.0)
    assert depth[middle, middle + 30] == pytest.approx(-1.0, abs=1e-4)
    assert relative[middle, middle + 10] == pytest.approx(0.5, abs=1e-4)


def test_an_oval_outline_has_the_requested_axes():
    radii = shapes.outline(rng(), 2.0, oval=1.44, wobble=0.0)
    assert radii[0] == pytest.approx(2.0 * 1.2, rel=1e-5)
    assert radii[90] == pytest.approx(2.0 / 1.2, rel=1e-5)


def test_a_tail_reaches_out_on_one_side_only():
    radii = shapes.outline(rng(), 2.0, wobble=0.0, tail=0.5)
    assert radii[180] == pytest.approx(3.0, rel=1e-5)
    assert radii[0] == pytest.approx(2.0, rel=1e-5)


def test_stretch_makes_a_circle_higher_than_wide_without_changing_its_area():
    patch = shapes.make_patch(3.0, 10.0, stretch=1.21)
    depth, _ = shapes.outline_depth(patch, np.full(360, 2.0, np.float32))
    inside = depth >= 0
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert rows / columns == pytest.approx(1.21, abs=0.06)
    assert inside.sum() / 100.0 == pytest.approx(np.pi * 4.0, rel=0.01)


def test_coverage_rises_from_0_to_1_over_the_softness():
    depth = np.array([-0.2, -0.075, 0.0, 0.075, 0.2], np.float32)
    assert shapes.coverage(depth, 10.0, 1.5) == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])


def test_a_capsule_is_a_segment_with_a_radius():
    patch = shapes.make_patch(4.0, 10.0)
    depth = shapes.capsule_depth(patch, np.array([[-1.0, 0.0, 1.0, 0.0, 0.5]]), 0.02)
    middle = patch.shape[0] // 2
    assert depth[middle, middle + 10] == pytest.approx(0.5, abs=1e-3)
    assert depth[middle + 5, middle] == pytest.approx(0.0, abs=1e-3)
    assert depth[middle, middle + 20] == pytest.approx(-0.5, abs=1e-3)


def test_two_capsules_melt_into_one_another():
    patch = shapes.make_patch(4.0, 10.0)
    pair = np.array([[-0.55, 0.0, -0.55, 0.0, 0.5], [0.55, 0.0, 0.55, 0.0, 0.5]])
    middle = patch.shape[0] // 2
    assert shapes.capsule_depth(patch, pair, 0.01)[middle, middle] < 0.0
    assert shapes.capsule_depth(patch, pair, 0.1)[middle, middle] > 0.0


def test_grain_is_centred_and_smooth_over_its_size():
    noise = shapes.grain(rng(), (400, 400), 8.0)
    assert noise.mean() == pytest.approx(0.0, abs=0.1)
    assert noise.std() == pytest.approx(1.0, abs=0.15)
    near = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    far = np.corrcoef(noise[:, :-24].ravel(), noise[:, 24:].ravel())[0, 1]
    assert near > 0.95
    assert abs(far) < 0.1


def test_spots_lie_at_their_points_and_end_at_the_border():
    patch = shapes.make_patch(1.0, 10.0)
    noise = shapes.spots(
        patch, np.array([[5.0, 9.0], [0.0, 0.0]], np.float32), np.array([2.0, 1.0], np.float32)
    )
    assert noise[9, 5] == 1.0
    assert noise[9, 8] == 0.0
    assert noise[0, 0] == 1.0
    assert shapes.spots(patch, np.zeros((0, 2)), np.zeros(0)).max() == 0.0


def test_streams_of_different_keys_differ_and_a_negative_seed_is_an_error():
    first, second = shapes.random_generator(1, 0), shapes.random_generator(1, 1)
    assert first.integers(2**62) != second.integers(2**62)
    assert shapes.random_generator(1, 0).integers(2**62) == shapes.random_generator(1, 0).integers(
        2**62
    )
    with pytest.raises(ValueError, match=r"`seed` must be 0 or more. Received: -1"):
        shapes.random_generator(-1)
