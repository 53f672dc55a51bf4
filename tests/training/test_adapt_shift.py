"""A lab's features are brought back to where they were learnt, whatever its mixture of classes."""

import numpy as np
import pytest

from hematovision.model.head import Head
from hematovision.model.novelty import Novelty
from hematovision.training.adapt_shift import (
    align,
    class_means,
    class_spread,
    shifted_head,
    shifted_novelty,
)

WIDTH = 1280


@pytest.fixture(scope="module")
def novelty() -> Novelty:
    """Two classes that differ in the first hundred features, each with a spread of 0.5."""
    means = np.ones((2, WIDTH), np.float32)
    means[1, :100] = 3.0
    return Novelty(means, np.full(WIDTH, 2.0, np.float32))


@pytest.fixture(scope="module")
def head() -> Head:
    """The logit of the second class grows with the first hundred features, and is 0 midway."""
    kernel = np.zeros((WIDTH, 2), np.float32)
    kernel[:100, 1] = 0.1
    return Head(((kernel, np.array([0, -20], np.float32)),))


def images(novelty: Novelty, counts: tuple[int, int], moved: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = [
        class_means(novelty)[label] + moved + rng.normal(0, 0.5, (n, WIDTH))
        for label, n in enumerate(counts)
    ]
    return np.concatenate(rows).astype(np.float32)


def test_what_a_novelty_says_of_the_old_images(novelty):
    assert class_means(novelty)[1, 99] == 3.0
    assert class_spread(novelty)[0] == 0.5


@pytest.mark.parametrize("counts", [(30, 30), (55, 5), (60, 0)])
def test_a_shift_is_found_whatever_the_proportions(head, novelty, counts):
    shift = align(head, novelty, images(novelty, counts, moved=-0.4))
    # 60 images and a belief worth 10 that nothing moved: six sevenths of the way.
    assert shift.mean() == pytest.approx(0.4 * 60 / 70, abs=0.02)
    # The classes' own difference (2 in the first hundred features) is no shift.
    assert shift[:100].mean() == pytest.approx(0.4 * 60 / 70, abs=0.08)


def test_the_plain_difference_of_means_would_take_proportions_for_a_shift(novelty):
    rows = images(novelty, (55, 5), moved=0.0)
    naive = class_means(novelty).mean(axis=0) - rows.mean(axis=0)
    assert naive[:100].mean() > 0.8


def test_images_like_the_old_ones_hardly_move_anything(head, novelty):
    assert np.abs(align(head, novelty, images(novelty, (30, 30), 0.0))).mean() < 0.06


def test_without_images_nothing_moves(head, novelty):
    assert not align(head, novelty, np.zeros((0, WIDTH), np.float32)).any()


def test_few_images_move_less_than_many(head, novelty):
    few, many = (align(head, novelty, images(novelty, (n, n), moved=-0.4)).mean() for n in (5, 100))
    assert few == pytest.approx(0.2, abs=0.03)
    assert many == pytest.approx(0.38, abs=0.03)


def test_a_shifted_head_answers_as_the_old_one_did_for_shifted_features(novelty):
    rng = np.random.default_rng(0)
    layers = [(rng.normal(0, 0.03, (WIDTH, 16)), rng.normal(size=16)),
              (rng.normal(size=(16, 2)), rng.normal(size=2))]  # fmt: skip
    head, shift = Head(tuple(layers)), rng.normal(0, 0.3, WIDTH)
    rows = images(novelty, (3, 3), 0.0)
    moved = (rows + shift).astype(np.float32)
    np.testing.assert_allclose(
        shifted_head(head, shift).logits(rows), head.logits(moved), atol=1e-4
    )
    # Also where the distance is along directions, and towards images without a cell.
    basis, direction = rng.normal(0, 0.02, (WIDTH, 64)), rng.normal(0, 0.02, WIDTH)
    directed = novelty._replace(
        basis=basis.astype(np.float16), direction=direction.astype(np.float32)
    )
    for one in (novelty, directed):
        np.testing.assert_allclose(
            shifted_novelty(one, shift).score(rows), one.score(moved), rtol=1e-3
        )
