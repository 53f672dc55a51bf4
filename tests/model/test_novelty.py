"""Novelty is a distance along directions in which cells vary little, and towards decoys."""

import time

import numpy as np
import pytest

from hematovision.errors import ModelError
from hematovision.model.novelty import Novelty, fit_novelty

SIZE = 160  # features; faster than 1280


class Cells:
    """Features of classes that differ along a few directions and very little along the others."""

    def __init__(self, classes=3, size=SIZE, seed=0):
        self.rng = np.random.default_rng(seed)
        self.centres = self.rng.uniform(0, 2, (classes, size))
        self.mixing = self.rng.normal(0, 0.1, (size // 8, size))
        self.decoy = self.rng.normal(0, 0.4, size)

    def draw(self, count):
        labels = np.arange(count) % len(self.centres)
        wide = self.rng.normal(0, 1, (count, len(self.mixing)))
        narrow = self.rng.normal(0, 0.05, (count, self.centres.shape[1]))
        return (self.centres[labels] + wide @ self.mixing + narrow).astype(np.float32), labels

    def draw_decoys(self, count, shift=1.0):
        spread = self.rng.normal(0, 0.3, (count, len(self.decoy)))
        return (self.centres.mean(0) + shift * self.decoy + spread).astype(np.float32)


def test_it_is_one_for_images_like_the_training_images_and_more_for_others():
    cells = Cells()
    fresh, _ = cells.draw(200)
    novelty = fit_novelty(*cells.draw(4000), 3, cells.draw_decoys(50)).scaled_to(fresh)
    scores = novelty.score(cells.draw(500)[0])
    assert np.median(scores) == pytest.approx(1, abs=0.02)
    assert np.quantile(scores, 0.99) < 1.8
    # As far from their class as cells are, but in directions in which cells do not differ.
    rows, labels = cells.draw(500)
    apart = np.linalg.norm(rows - cells.centres[labels], axis=1, keepdims=True)
    aside = cells.rng.normal(0, 1, rows.shape)
    aside *= apart / np.linalg.norm(aside, axis=1, keepdims=True)
    assert novelty.score((cells.centres[labels] + aside).astype(np.float32)).min() > 2


def test_directions_in_which_cells_differ_do_not_count():
    cells = Cells()
    rows, labels = cells.draw(4000)
    novelty = fit_novelty(rows, labels, 3)
    moved = rows[:100] + 5 * cells.mixing[:1]
    np.testing.assert_allclose(novelty.score(moved), novelty.score(rows[:100]), rtol=0.15)


def test_the_direction_leads_from_cells_to_decoys_and_never_back():
    cells = Cells(classes=1)
    rows, labels = cells.draw(2000)
    known = fit_novelty(rows, labels, 1, cells.draw_decoys(100))
    unknown = known._replace(direction=None)
    towards, back = cells.draw_decoys(100), cells.draw_decoys(100, shift=-1)
    assert known.score(towards).min() > 1.05 * unknown.score(towards).min()
    np.testing.assert_array_equal(known.score(back), unknown.score(back))


def test_the_directions_weight_is_three_tenths_of_a_variance():
    cells = Cells()
    rows, labels = cells.draw(3000)
    novelty = fit_novelty(rows, labels, 3, cells.draw_decoys(100))
    apart = (rows - novelty.means[labels]) * novelty.inv_std
    assert (apart @ novelty.direction).var() == pytest.approx(0.3, rel=0.1)


def test_the_score_is_the_distance_to_the_nearest_mean_in_the_given_directions():
    means = np.zeros((2, 1280), np.float32)
    means[1, :3] = 10
    basis = np.eye(1280, 2, dtype=np.float16)
    direction = np.eye(1280)[2].astype(np.float32)
    novelty = Novelty(means, np.full(1280, 2, np.float32), basis, direction)
    rows = np.zeros((3, 1280), np.float32)
    rows[:, :4] = [[3, 4, 0, 99], [0, 0, 2, 99], [10, 10, 8, 99]]
    np.testing.assert_allclose(novelty.score(rows), [10, 4, 0])


def test_a_model_of_the_first_version_scores_as_it_did():
    means = np.zeros((2, 1280), np.float32)
    means[1] = 10
    novelty = Novelty(means, np.full(1280, 2, np.float32))
    rows = np.stack([np.full(1280, 3), np.full(1280, 9), np.full(1280, 10)]).astype(np.float32)
    np.testing.assert_allclose(novelty.score(rows), [6, 2, 0])
    assert novelty.scaled_to(rows) is novelty


def test_the_commonest_class_does_not_dominate_the_spread():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0, 1, (1000, SIZE)), rng.normal(0, 3, (100, SIZE))
    rows = np.concatenate([narrow, wide])
    labels = np.repeat([0, 1], [1000, 100])
    expected = 1 / np.sqrt((1 + 9) / 2)
    assert fit_novelty(rows, labels, 2).inv_std.mean() == pytest.approx(expected, rel=0.02)


def test_a_class_without_images_changes_nothing():
    rng = np.random.default_rng(0)
    rows, labels = rng.uniform(0, 1, (40, SIZE)), np.arange(40) % 2
    with_gap = fit_novelty(rows, labels * 2, 3)
    assert with_gap.means.shape == (3, SIZE)
    np.testing.assert_array_equal(with_gap.score(rows), fit_novelty(rows, labels, 2).score(rows))


def test_constant_features_have_a_bounded_weight():
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (50, SIZE))
    rows[:, 0] = 0
    assert fit_novelty(rows, np.zeros(50, int), 1).inv_std[0] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(("each", "classes"), [(10, 2), (10, 3), (3, 20), (2, 2)])
def test_few_images_are_enough_to_separate_decoys_from_cells(each, classes):
    cells = Cells(classes)
    fresh, _ = cells.draw(40)
    novelty = fit_novelty(*cells.draw(each * classes), classes, cells.draw_decoys(30))
    novelty = novelty.scaled_to(fresh)
    assert np.isfinite(novelty.basis).all()
    high = np.quantile(novelty.score(cells.draw(200)[0]), 0.95)
    assert high < 4
    assert novelty.score(cells.draw_decoys(100)).min() > high


def test_one_image_a_class_gives_the_plain_distance():
    novelty = fit_novelty(np.eye(2, SIZE), np.array([0, 1]), 2, np.ones((5, SIZE)))
    assert novelty.basis is novelty.direction is None
    np.testing.assert_array_equal(novelty.inv_std, np.ones(SIZE))


def test_images_that_are_all_the_same_give_finite_scores():
    same = fit_novelty(np.ones((3, SIZE)), np.zeros(3, int), 1, np.zeros((4, SIZE)))
    np.testing.assert_allclose(same.inv_std, 1000)
    scores = same.scaled_to(np.ones((3, SIZE), np.float32)).score(np.eye(2, SIZE))
    assert np.isfinite(scores).all()
    assert scores.min() > 0


def test_a_basis_never_leaves_half_precision():
    spread = np.random.default_rng(0).normal(0, 1e-7, (40, SIZE)).astype(np.float32)
    novelty = fit_novelty(spread, np.arange(40) % 2, 2, np.zeros((4, SIZE))).scaled_to(spread)
    assert np.isfinite(novelty.basis).all()
    assert np.isfinite(novelty.score(spread)).all()


def test_the_fit_is_quick():
    cells = Cells(size=1280)
    rows, labels = cells.draw(10_000)
    decoys = cells.draw_decoys(286)
    # Relative to one decomposition of that size: seconds depend on the load of the machine.
    yardstick = rows.T.astype(np.float64) @ rows
    took = []
    for work in (
        lambda: np.linalg.eigh(yardstick),
        lambda: fit_novelty(rows, labels, 3, decoys),
    ):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    assert took[1] < 20 * took[0]


def test_inputs_of_other_shapes_are_refused():
    with pytest.raises(ModelError, match="1 of 4 rows"):
        fit_novelty(np.diag([1, 1, np.inf, 1]) * 1.0, np.zeros(4, int), 1)
    with pytest.raises(ModelError, match="1 of 2 rows"):
        fit_novelty(np.eye(4), np.zeros(4, int), 1, np.array([[1, 1, 1, 1], [1, 1, 1, np.nan]]))
    with pytest.raises(ModelError, match="at least one image"):
        fit_novelty(np.empty((0, 3)), np.empty(0, int), 3)
