"""Adapting: alignment, correction, thresholds and out-of-fold predictions."""

import numpy as np
import pytest

from hematovision.errors import TrainingError
from hematovision.model.head import Head
from hematovision.model.novelty import Novelty
from hematovision.model.thresholds import Thresholds
from hematovision.training.adapting import (
    FeatureModel,
    adapt_labelled,
    adapt_unlabelled,
    align,
    out_of_fold_predictions,
    shifted_head,
    shifted_novelty,
)
from hematovision.training.correction import Examples

WIDTH = 1280
OLD = Thresholds(min_confidence=0.6, max_novelty=1.2)


@pytest.fixture(scope="module")
def model() -> FeatureModel:
    """Two classes that differ by 1 in a hundred features; the lab shifts all by -1."""
    means = np.ones((2, WIDTH), np.float32)
    means[1, :100] = 2.0
    kernel = np.zeros((WIDTH, 2), np.float32)
    kernel[:100, 1] = 0.1
    head = Head(((kernel, np.array([0, -15], np.float32)),))
    return FeatureModel(
        head, Novelty(means, np.full(WIDTH, 2.0, np.float32)), OLD, np.array([9.0, 1.0])
    )


def cells(labels: np.ndarray, shift: float = -1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(1 + shift, 0.5, (len(labels), WIDTH))
    rows[labels == 1, :100] += 1
    return rows.astype(np.float32)


def examples(n: int = 40) -> Examples:
    labels = np.arange(n) % 2
    return Examples(cells(labels)[:, None], labels, tuple(str(i // 2) for i in range(n)))


UNSEEN = np.arange(400) % 2


def right(model: FeatureModel) -> float:
    return float((model.predict(cells(UNSEEN, seed=1))[0].argmax(axis=1) == UNSEEN).mean())


def test_the_old_model_only_guesses_in_the_new_lab(model):
    assert right(model) == 0.5


def test_labels_correct_the_model(model):
    adapted = adapt_labelled(model, examples())
    assert right(adapted.model) > 0.98


def test_images_of_the_lab_are_no_longer_novel(model):
    before = model.predict(cells(UNSEEN, seed=1)).novelty
    after = adapt_labelled(model, examples()).model.predict(cells(UNSEEN, seed=1)).novelty
    assert (before > OLD.max_novelty).all()
    assert (after < OLD.max_novelty * 1.1).all()


def test_unlabelled_images_shift_the_features_and_keep_the_thresholds(model):
    adapted = adapt_unlabelled(model, cells(UNSEEN[:60], shift=-0.45))
    assert adapted.thresholds is OLD
    there = cells(UNSEEN, shift=-0.45, seed=1)
    novelty = [one.predict(there).novelty.mean() for one in (model, adapted)]
    assert novelty[1] < novelty[0]
    accuracy = [
        (one.predict(there).probabilities.argmax(axis=1) == UNSEEN).mean()
        for one in (model, adapted)
    ]
    assert accuracy[1] > accuracy[0]


def test_a_few_dozen_labels_keep_the_confidence_threshold(model):
    thresholds = adapt_labelled(model, examples()).model.thresholds
    assert thresholds.min_confidence == OLD.min_confidence
    assert thresholds.max_novelty >= OLD.max_novelty


def test_two_hundred_labels_fit_new_thresholds(model):
    thresholds = adapt_labelled(model, examples(200)).model.thresholds
    assert thresholds.min_confidence != OLD.min_confidence


def test_the_temperature_stays_near_the_old_one(model):
    temperature = adapt_labelled(model, examples()).model.temperature
    assert 0.4 < temperature / model.temperature < 2.5


def test_out_of_fold_predictions_do_not_depend_on_their_own_labels(model):
    given = examples(60)
    nonsense = np.random.default_rng(2).permutation(given.labels)
    predicted = out_of_fold_predictions(model, Examples(given.features, nonsense, given.groups))
    assert abs((predicted.probabilities.argmax(axis=1) == nonsense).mean() - 0.5) < 0.2
    np.testing.assert_allclose(predicted.probabilities.sum(axis=1), 1)


def test_out_of_fold_predictions_estimate_the_accuracy_of_the_adapted_model(model):
    calls = []
    predicted = out_of_fold_predictions(
        model, examples(), progress=lambda *step: calls.append(step)
    )
    labels = examples().labels
    assert (predicted.probabilities.argmax(axis=1) == labels).mean() > 0.95
    assert (predicted.novelty > 0).all()
    assert calls[-1] == (5, 5, "cross-validation", "folds")


def test_one_group_is_not_enough(model):
    given = examples()
    with pytest.raises(TrainingError, match="in one group"):
        adapt_labelled(model, Examples(given.features, given.labels, ("a",) * 40))


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


def shifted_cells(
    novelty: Novelty, counts: tuple[int, int], shift: float, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = [
        novelty.means[label] + shift + rng.normal(0, 0.5, (n, WIDTH))
        for label, n in enumerate(counts)
    ]
    return np.concatenate(rows).astype(np.float32)


@pytest.mark.parametrize("counts", [(30, 30), (55, 5), (60, 0)])
def test_a_shift_is_found_whatever_the_proportions(head, novelty, counts):
    shift = align(head, novelty, shifted_cells(novelty, counts, shift=-0.4))
    # 60 images against a prior worth 10: six sevenths of the way.
    assert shift.mean() == pytest.approx(0.4 * 60 / 70, abs=0.02)
    # The difference between the classes (2 in the first hundred features) is no shift.
    assert shift[:100].mean() == pytest.approx(0.4 * 60 / 70, abs=0.08)


def test_the_difference_of_overall_means_depends_on_the_proportions(novelty):
    rows = shifted_cells(novelty, (55, 5), shift=0.0)
    naive = novelty.means.mean(axis=0) - rows.mean(axis=0)
    assert naive[:100].mean() > 0.8


def test_images_like_the_training_images_give_almost_no_shift(head, novelty):
    assert np.abs(align(head, novelty, shifted_cells(novelty, (30, 30), 0.0))).mean() < 0.06


def test_without_images_the_shift_is_zero(head, novelty):
    assert not align(head, novelty, np.zeros((0, WIDTH), np.float32)).any()


def test_few_images_shift_less_than_many(head, novelty):
    few, many = (
        align(head, novelty, shifted_cells(novelty, (n, n), shift=-0.4)).mean() for n in (5, 100)
    )
    assert few == pytest.approx(0.2, abs=0.03)
    assert many == pytest.approx(0.38, abs=0.03)


def test_a_shifted_head_equals_the_old_one_on_shifted_features(novelty):
    rng = np.random.default_rng(0)
    layers = [(rng.normal(0, 0.03, (WIDTH, 16)), rng.normal(size=16)),
              (rng.normal(size=(16, 2)), rng.normal(size=2))]  # fmt: skip
    head, shift = Head(tuple(layers)), rng.normal(0, 0.3, WIDTH)
    rows = shifted_cells(novelty, (3, 3), 0.0)
    moved = (rows + shift).astype(np.float32)
    np.testing.assert_allclose(
        shifted_head(head, shift).logits(rows), head.logits(moved), atol=1e-4
    )
    # Also with a basis and a direction towards decoys.
    basis, direction = rng.normal(0, 0.02, (WIDTH, 64)), rng.normal(0, 0.02, WIDTH)
    directed = novelty._replace(
        basis=basis.astype(np.float16), direction=direction.astype(np.float32)
    )
    for score in (novelty, directed):
        np.testing.assert_allclose(
            shifted_novelty(score, shift).score(rows), score.score(moved), rtol=1e-3
        )
