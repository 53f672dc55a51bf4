"""Paired differences: held to a bootstrap by hand, and to the edges."""

import math

import numpy as np
import pytest

from hematovision.evaluation.intervals import percentile_interval
from hematovision.evaluation.paired import Difference, PairedScores
from hematovision.evaluation.proportions import tango


def paired(labels, answers, accepted=None, groups=None, n_classes=2, seed=0):
    table = np.array(answers)
    taken = np.ones(table.shape, bool) if accepted is None else np.array(accepted)
    ids = None if groups is None else np.array(groups)
    return PairedScores(np.array(labels), table, taken, n_classes, ids, seed)


def width(difference):
    low, high = difference.interval
    return high - low


@pytest.fixture
def alone():
    """200 images of two classes: 14 that only the second tells rightly, 5 only the first."""
    labels = np.arange(200) % 2
    answers = np.stack([labels, labels])
    answers[0, :14] = 1 - labels[:14]
    answers[1, 14:19] = 1 - labels[14:19]
    answers[:, 19] = 1 - labels[19]
    return labels, answers


def test_the_difference_counts_what_one_model_alone_tells_rightly(alone):
    doubt = paired(*alone)
    assert doubt.counts() == (180, 5, 14, 1)
    assert doubt.method == "tango"
    assert doubt.accuracy() == Difference(9 / 200, tango(14, 5, 200))
    # 7 of the 14 and 3 of the 5 are of class 0 of 100; the other class gets the rest.
    assert doubt.recall(0) == Difference(0.04, tango(7, 3, 100))
    assert doubt.recall(1) == Difference(0.05, tango(7, 2, 100))
    assert doubt.counts(np.arange(200) < 14) == (0, 0, 14, 0)


def test_balanced_accuracy_is_the_mean_over_classes_with_errors_in_quadrature(alone):
    found = paired(*alone).balanced_accuracy()
    (low0, _), (low1, _) = tango(7, 3, 100), tango(7, 2, 100)
    assert found.value == pytest.approx(0.045)
    assert found.interval[0] == pytest.approx(0.045 - math.hypot(0.04 - low0, 0.05 - low1) / 2)


def test_mistakes_that_come_in_groups_widen_every_interval():
    labels = np.arange(400) % 2
    groups = np.arange(400) // 20
    answers = np.stack([np.where(groups < 4, 1 - labels, labels), labels])  # four whole fields
    single, grouped = paired(labels, answers), paired(labels, answers, groups=groups)
    assert (grouped.method, grouped.n_groups) == ("cluster_bootstrap", 20)
    assert grouped.accuracy().value == single.accuracy().value == 0.2
    # The doubt is that of 4 of 20 fields, not of 80 of 400 images.
    assert width(grouped.accuracy()) == pytest.approx(2 * 1.96 * math.sqrt(0.16 / 20), rel=0.15)
    for score in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert width(getattr(grouped, score)()) > 2 * width(getattr(single, score)())


def test_a_group_for_every_image_is_no_grouping(alone):
    assert paired(*alone, groups=np.arange(200)).method == "tango"


def test_groups_never_make_an_interval_narrower_than_as_many_independent_images():
    labels = np.arange(200) % 2
    answers = np.stack([np.where(np.arange(200) % 10 == 0, 1 - labels, labels), labels])
    doubt = paired(labels, answers, groups=np.arange(200) // 10)  # one in each field
    assert doubt.accuracy().interval == tango(20, 0, 200)


def test_a_bootstrap_over_images_draws_both_models_answers_together():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 250)
    answers = np.where(rng.random((2, 250)) < [[0.2], [0.1]], rng.integers(0, 3, (2, 250)), labels)
    accepted = rng.random((2, 250)) < 0.8
    doubt = paired(labels, answers, accepted, n_classes=3)

    def f1(rows, model):
        truth, said = labels[rows], answers[model, rows]
        both = [2 * np.sum((truth == c) & (said == c)) for c in range(3)]
        each = [np.sum(truth == c) + np.sum(said == c) for c in range(3)]
        return np.mean(np.divide(both, each))

    def taken(rows, model):
        right = labels[rows] == answers[model, rows]
        return right[accepted[model, rows]].mean()

    rows = rng.integers(0, 250, (1500, 250))
    for score, found in ((f1, doubt.macro_f1()), (taken, doubt.accuracy_accepted())):
        every = np.arange(250)
        assert found.value == pytest.approx(score(every, 1) - score(every, 0))
        by_hand = percentile_interval([score(draw, 1) - score(draw, 0) for draw in rows])
        assert found.interval == pytest.approx(by_hand, abs=0.012)


def test_review_rates_are_paired_too(alone):
    accepted = np.ones((2, 200), bool)
    accepted[0, :30] = accepted[1, :10] = False
    labels, answers = alone
    found = paired(labels, answers, accepted).review_rate()
    assert found == Difference(-0.1, tango(0, 20, 200))


def test_answers_that_never_differ_leave_doubt_where_it_can_be_told():
    labels = np.arange(60) % 2
    doubt = paired(labels, [labels, labels])
    assert doubt.accuracy() == Difference(0.0, tango(0, 0, 60))
    assert doubt.macro_f1() == Difference(0.0, None)  # a bootstrap without width knows nothing
    assert doubt.accuracy_accepted() == Difference(0.0, None)


def test_what_is_undefined_is_none():
    doubt = paired([0, 0, 1], [[0, 1, 1], [0, 0, 1]], [[True] * 3, [False] * 3], n_classes=3)
    assert doubt.recall(2) == Difference(None, None)
    assert doubt.accuracy_accepted() == Difference(None, None)
    assert doubt.balanced_accuracy().value == pytest.approx(0.25)


def test_the_same_seed_draws_the_same(alone):
    labels, answers = alone
    groups = np.arange(200) // 5
    one, same, other = (paired(labels, answers, groups=groups, seed=s) for s in (0, 0, 1))
    assert one.macro_f1() == same.macro_f1() != other.macro_f1()
