"""An adapted model is right where the old one was not, and calibrated on images it did not see."""

import numpy as np
import pytest

from hematovision.errors import TrainingError
from hematovision.model.head import Head
from hematovision.model.novelty import Novelty
from hematovision.model.trust import Trust
from hematovision.training.adapt import (
    Known,
    adapt_labelled,
    adapt_unlabelled,
    out_of_fold_predictions,
)
from hematovision.training.adapt_correction import Examples

WIDTH = 1280
OLD = Trust(temperature=1.5, min_confidence=0.6, max_novelty=1.2)


@pytest.fixture(scope="module")
def known() -> Known:
    """Two classes that differ by 1 in a hundred features, where the lab moves everything by -1."""
    means = np.ones((2, WIDTH), np.float32)
    means[1, :100] = 2.0
    kernel = np.zeros((WIDTH, 2), np.float32)
    kernel[:100, 1] = 0.1
    head = Head(((kernel, np.array([0, -15], np.float32)),))
    return Known(head, Novelty(means, np.full(WIDTH, 2.0, np.float32)), OLD, np.array([9.0, 1.0]))


def cells(labels: np.ndarray, moved: float = -1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(1 + moved, 0.5, (len(labels), WIDTH))
    rows[labels == 1, :100] += 1
    return rows.astype(np.float32)


def examples(n: int = 40) -> Examples:
    labels = np.arange(n) % 2
    return Examples(cells(labels)[:, None], labels, tuple(str(i // 2) for i in range(n)))


UNSEEN = np.arange(400) % 2


def right(model: Known) -> float:
    return float((model.answers(cells(UNSEEN, seed=1))[0].argmax(axis=1) == UNSEEN).mean())


def test_the_strange_lab_is_answered_like_a_coin(known):
    assert right(known) == 0.5


def test_labels_make_it_right(known):
    adapted = adapt_labelled(known, examples())
    assert right(adapted.model) > 0.98


def test_novelty_no_longer_calls_the_lab_strange(known):
    before = known.answers(cells(UNSEEN, seed=1)).novelty
    after = adapt_labelled(known, examples()).model.answers(cells(UNSEEN, seed=1)).novelty
    assert (before > OLD.max_novelty).all()
    assert (after < OLD.max_novelty * 1.1).all()


def test_unlabelled_images_move_the_features_and_leave_the_thresholds(known):
    adapted = adapt_unlabelled(known, cells(UNSEEN[:60], moved=-0.45))
    assert adapted.trust is OLD
    there = cells(UNSEEN, moved=-0.45, seed=1)
    novelty = [model.answers(there).novelty.mean() for model in (known, adapted)]
    assert novelty[1] < novelty[0]
    accuracy = [
        (model.answers(there).probabilities.argmax(axis=1) == UNSEEN).mean()
        for model in (known, adapted)
    ]
    assert accuracy[1] > accuracy[0]


def test_a_few_dozen_labels_leave_the_least_confidence_as_it_was(known):
    trust = adapt_labelled(known, examples()).model.trust
    assert trust.min_confidence == OLD.min_confidence
    assert trust.max_novelty >= OLD.max_novelty


def test_two_hundred_labels_set_the_thresholds_anew(known):
    trust = adapt_labelled(known, examples(200)).model.trust
    assert trust.min_confidence != OLD.min_confidence


def test_the_temperature_counts_from_the_old_one_and_stays_near_it(known):
    temperature = adapt_labelled(known, examples()).model.trust.temperature
    assert 0.4 < temperature / OLD.temperature < 2.5


def test_answers_out_of_fold_know_nothing_of_their_own_labels(known):
    shown = examples(60)
    nonsense = np.random.default_rng(2).permutation(shown.labels)
    answers = out_of_fold_predictions(known, Examples(shown.features, nonsense, shown.groups))
    assert abs((answers.probabilities.argmax(axis=1) == nonsense).mean() - 0.5) < 0.2
    np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1)


def test_answers_out_of_fold_tell_how_good_the_adapted_model_is(known):
    said = []
    answers = out_of_fold_predictions(
        known, examples(), progress=lambda done, total, what: said.append((done, total, what))
    )
    labels = examples().labels
    assert (answers.probabilities.argmax(axis=1) == labels).mean() > 0.95
    assert (answers.novelty > 0).all()
    assert said[-1] == (5, 5, "cross-validation")


def test_one_field_is_not_enough(known):
    shown = examples()
    with pytest.raises(TrainingError, match="of one group"):
        adapt_labelled(known, Examples(shown.features, shown.labels, ("a",) * 40))
