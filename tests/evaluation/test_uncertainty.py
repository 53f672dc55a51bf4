"""Intervals widen if errors come in groups and are never narrower than the score interval."""

import math
import time

import numpy as np
import pytest

from hematovision.evaluation.uncertainty import Difference, PairedScores, Uncertainty
from hematovision.intervals import percentile_interval, tango, wilson


def uncertainty(labels, predicted, groups=None, accepted=None, n_classes=2, seed=0):
    labels, predicted = np.array(labels), np.array(predicted)
    taken = np.ones(len(labels), bool) if accepted is None else np.array(accepted)
    ids = None if groups is None else np.array(groups)
    return Uncertainty(labels, predicted, taken, n_classes, ids, seed)


def width(found):
    low, high = found.interval if isinstance(found, Difference) else found
    return high - low


@pytest.fixture
def clumped():
    """Twenty fields of ten images: all predictions wrong in four fields, correct elsewhere."""
    labels = np.arange(200) % 2
    groups = np.arange(200) // 10
    predicted = np.where(groups % 5 == 0, 1 - labels, labels)
    return labels, predicted, groups


def test_without_groups_proportions_have_wilsons_interval(clumped):
    labels, predicted, _ = clumped
    doubt = uncertainty(labels, predicted)
    assert (doubt.method, doubt.n_groups) == ("wilson", None)
    assert doubt.accuracy() == wilson(160, 200)
    assert doubt.recall(0) == wilson(80, 100)
    assert doubt.precision(1) == wilson(80, 100)


def test_a_group_for_every_image_means_independent_images(clumped):
    labels, predicted, _ = clumped
    assert uncertainty(labels, predicted, np.arange(200)).method == "wilson"


def test_errors_in_groups_widen_the_interval(clumped):
    labels, predicted, groups = clumped
    doubt = uncertainty(labels, predicted, groups)
    assert (doubt.method, doubt.n_groups) == ("cluster_bootstrap", 20)
    # Whole fields are wrong: the precision is that of 16 of 20 fields, not of 160 of 200 images.
    assert width(doubt.accuracy()) == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 20), rel=0.15)
    assert width(doubt.balanced_accuracy()) > 1.5 * width(uncertainty(labels, predicted).accuracy())


def test_errors_spread_over_groups_leave_wilsons_interval():
    labels = np.arange(200) % 2
    predicted = np.where(np.arange(200) % 10 == 0, 1 - labels, labels)  # one error in each field
    doubt = uncertainty(labels, predicted, np.arange(200) // 10)
    assert doubt.accuracy() == wilson(180, 200)


def test_intervals_have_a_width_without_errors():
    labels = np.arange(60) % 2
    doubt = uncertainty(labels, labels, np.arange(60) // 6)
    for ends in (doubt.accuracy(), doubt.balanced_accuracy(), doubt.macro_f1(), doubt.f1(0)):
        assert ends[1] == 1.0
        assert ends[0] < 0.97
    assert doubt.accuracy() == wilson(60, 60)


def test_groups_need_not_be_numbered_without_gaps(clumped):
    labels, predicted, groups = clumped
    near = uncertainty(labels, predicted, groups)
    far = uncertainty(labels, predicted, groups * 1000 + 17)
    assert near.accuracy() == far.accuracy()
    assert near.macro_f1() == far.macro_f1()


def test_absent_class_has_no_interval():
    doubt = uncertainty([0, 0, 1], [0, 0, 1], n_classes=3)
    assert (doubt.recall(2), doubt.precision(2), doubt.f1(2)) == (None, None, None)
    assert doubt.balanced_accuracy() is not None


def test_review_rate_and_accuracy_of_the_rest_have_intervals(clumped):
    labels, predicted, groups = clumped
    accepted = groups % 4 != 0
    plain = uncertainty(labels, predicted, accepted=accepted)
    assert plain.review_rate() == wilson(50, 200)
    assert plain.accuracy_accepted() == wilson(int((labels == predicted)[accepted].sum()), 150)
    grouped = uncertainty(labels, predicted, groups, accepted)
    assert width(grouped.review_rate()) > width(plain.review_rate())
    assert width(grouped.accuracy_accepted()) > width(plain.accuracy_accepted())


def test_nothing_accepted_has_no_accuracy_interval(clumped):
    labels, predicted, groups = clumped
    doubt = uncertainty(labels, predicted, groups, accepted=np.zeros(200, bool))
    assert doubt.accuracy_accepted() is None


def test_intervals_keep_their_level():
    # 25 fields of 8 images; each field has an accuracy of its own around 0.9
    rng, hits = np.random.default_rng(3), 0
    for _ in range(100):
        right = rng.random((25, 8)) < rng.beta(9, 1, size=(25, 1))
        labels = np.zeros(200, int)
        doubt = uncertainty(labels, 1 - right.ravel().astype(int), np.arange(200) // 8)
        low, high = doubt.accuracy()
        hits += low <= 0.9 <= high
    assert hits / 100 >= 0.91


def test_six_thousand_images_in_hundreds_of_fields_take_less_than_a_second():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, 6000)
    predicted = np.where(rng.random(6000) < 0.1, rng.integers(0, 8, 6000), labels)
    start = time.process_time()
    doubt = uncertainty(labels, predicted, np.arange(6000) // 15, n_classes=8)
    doubt.macro_f1(), doubt.balanced_accuracy()
    assert time.process_time() - start < 1.0


def paired(labels, predicted, accepted=None, groups=None, n_classes=2, seed=0):
    table = np.array(predicted)
    taken = np.ones(table.shape, bool) if accepted is None else np.array(accepted)
    ids = None if groups is None else np.array(groups)
    return PairedScores(np.array(labels), table, taken, n_classes, ids, seed)


@pytest.fixture
def pair():
    """200 images of two classes: 14 that only the second model gets right, 5 only the first."""
    labels = np.arange(200) % 2
    predicted = np.stack([labels, labels])
    predicted[0, :14] = 1 - labels[:14]
    predicted[1, 14:19] = 1 - labels[14:19]
    predicted[:, 19] = 1 - labels[19]
    return labels, predicted


def test_the_difference_counts_images_that_only_one_model_gets_right(pair):
    doubt = paired(*pair)
    assert doubt.counts() == (180, 5, 14, 1)
    assert doubt.method == "tango"
    assert doubt.accuracy() == Difference(9 / 200, tango(14, 5, 200))
    # 7 of the 14 and 3 of the 5 are of class 0 of 100; the other class gets the rest.
    assert doubt.recall(0) == Difference(0.04, tango(7, 3, 100))
    assert doubt.recall(1) == Difference(0.05, tango(7, 2, 100))
    assert doubt.counts(np.arange(200) < 14) == (0, 0, 14, 0)


def test_balanced_accuracy_is_the_mean_over_classes_with_errors_in_quadrature(pair):
    found = paired(*pair).balanced_accuracy()
    (low0, _), (low1, _) = tango(7, 3, 100), tango(7, 2, 100)
    assert found.value == pytest.approx(0.045)
    assert found.interval[0] == pytest.approx(0.045 - math.hypot(0.04 - low0, 0.05 - low1) / 2)


def test_errors_in_groups_widen_every_interval():
    labels = np.arange(400) % 2
    groups = np.arange(400) // 20
    predicted = np.stack([np.where(groups < 4, 1 - labels, labels), labels])  # four whole fields
    single, grouped = paired(labels, predicted), paired(labels, predicted, groups=groups)
    assert (grouped.method, grouped.n_groups) == ("cluster_bootstrap", 20)
    assert grouped.accuracy().value == single.accuracy().value == 0.2
    # The precision is that of 4 of 20 fields, not of 80 of 400 images.
    assert width(grouped.accuracy()) == pytest.approx(2 * 1.96 * math.sqrt(0.16 / 20), rel=0.15)
    for score in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert width(getattr(grouped, score)().interval) > 2 * width(
            getattr(single, score)().interval
        )


def test_a_group_for_every_image_means_independent_pairs(pair):
    assert paired(*pair, groups=np.arange(200)).method == "tango"


def test_groups_never_make_an_interval_narrower_than_as_many_independent_images():
    labels = np.arange(200) % 2
    predicted = np.stack([np.where(np.arange(200) % 10 == 0, 1 - labels, labels), labels])
    doubt = paired(labels, predicted, groups=np.arange(200) // 10)  # one in each field
    assert doubt.accuracy().interval == tango(20, 0, 200)


def test_a_bootstrap_over_images_resamples_both_models_together():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 250)
    predicted = np.where(
        rng.random((2, 250)) < [[0.2], [0.1]], rng.integers(0, 3, (2, 250)), labels
    )
    accepted = rng.random((2, 250)) < 0.8
    doubt = paired(labels, predicted, accepted, n_classes=3)

    def f1(rows, model):
        truth, found = labels[rows], predicted[model, rows]
        both = [2 * np.sum((truth == c) & (found == c)) for c in range(3)]
        each = [np.sum(truth == c) + np.sum(found == c) for c in range(3)]
        return np.mean(np.divide(both, each))

    def taken(rows, model):
        right = labels[rows] == predicted[model, rows]
        return right[accepted[model, rows]].mean()

    rows = rng.integers(0, 250, (1500, 250))
    for score, found in ((f1, doubt.macro_f1()), (taken, doubt.accuracy_accepted())):
        every = np.arange(250)
        assert found.value == pytest.approx(score(every, 1) - score(every, 0))
        by_hand = percentile_interval([score(draw, 1) - score(draw, 0) for draw in rows])
        assert found.interval == pytest.approx(by_hand, abs=0.012)


def test_review_rates_are_paired(pair):
    accepted = np.ones((2, 200), bool)
    accepted[0, :30] = accepted[1, :10] = False
    labels, predicted = pair
    found = paired(labels, predicted, accepted).review_rate()
    assert found == Difference(-0.1, tango(0, 20, 200))


def test_equal_predictions_have_an_interval_only_for_proportions():
    labels = np.arange(60) % 2
    doubt = paired(labels, [labels, labels])
    assert doubt.accuracy() == Difference(0.0, tango(0, 0, 60))
    assert doubt.macro_f1() == Difference(0.0, None)  # a bootstrap without width has no precision
    assert doubt.accuracy_accepted() == Difference(0.0, None)


def test_undefined_differences_are_none():
    doubt = paired([0, 0, 1], [[0, 1, 1], [0, 0, 1]], [[True] * 3, [False] * 3], n_classes=3)
    assert doubt.recall(2) == Difference(None, None)
    assert doubt.accuracy_accepted() == Difference(None, None)
    assert doubt.balanced_accuracy().value == pytest.approx(0.25)


def test_the_same_seed_gives_the_same_interval(pair):
    labels, predicted = pair
    groups = np.arange(200) // 5
    one, same, other = (paired(labels, predicted, groups=groups, seed=s) for s in (0, 0, 1))
    assert one.macro_f1() == same.macro_f1() != other.macro_f1()
