"""Intervals widen with the likeness of a group's images and never fall below the score interval."""

import time

import numpy as np
import pytest

from hematovision.evaluation.intervals import wilson
from hematovision.evaluation.uncertainty import Uncertainty


def uncertainty(labels, answers, groups=None, accepted=None, n_classes=2, seed=0):
    labels, answers = np.array(labels), np.array(answers)
    taken = np.ones(len(labels), bool) if accepted is None else np.array(accepted)
    ids = None if groups is None else np.array(groups)
    return Uncertainty(labels, answers, taken, n_classes, ids, seed)


def width(ends):
    return ends[1] - ends[0]


@pytest.fixture
def clumped():
    """Twenty fields of ten images: in four of them every answer is wrong, elsewhere none."""
    labels = np.arange(200) % 2
    groups = np.arange(200) // 10
    answers = np.where(groups % 5 == 0, 1 - labels, labels)
    return labels, answers, groups


def test_without_groups_proportions_have_wilsons_interval(clumped):
    labels, answers, _ = clumped
    doubt = uncertainty(labels, answers)
    assert (doubt.method, doubt.n_groups) == ("wilson", None)
    assert doubt.accuracy() == wilson(160, 200)
    assert doubt.recall(0) == wilson(80, 100)
    assert doubt.precision(1) == wilson(80, 100)


def test_a_group_for_every_image_is_no_grouping(clumped):
    labels, answers, _ = clumped
    assert uncertainty(labels, answers, np.arange(200)).method == "wilson"


def test_errors_that_come_in_groups_widen_the_interval(clumped):
    labels, answers, groups = clumped
    doubt = uncertainty(labels, answers, groups)
    assert (doubt.method, doubt.n_groups) == ("cluster_bootstrap", 20)
    # Whole fields are wrong: the doubt is that of 16 right among 20 fields, not of 160 among 200.
    assert width(doubt.accuracy()) == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 20), rel=0.15)
    assert width(doubt.balanced_accuracy()) > 1.5 * width(uncertainty(labels, answers).accuracy())


def test_errors_spread_over_groups_leave_wilsons_interval_as_the_shortest():
    labels = np.arange(200) % 2
    answers = np.where(np.arange(200) % 10 == 0, 1 - labels, labels)  # one error in each field
    doubt = uncertainty(labels, answers, np.arange(200) // 10)
    assert doubt.accuracy() == wilson(180, 200)


def test_no_error_is_no_certainty():
    labels = np.arange(60) % 2
    doubt = uncertainty(labels, labels, np.arange(60) // 6)
    for ends in (doubt.accuracy(), doubt.balanced_accuracy(), doubt.macro_f1(), doubt.f1(0)):
        assert ends[1] == 1.0
        assert ends[0] < 0.97
    assert doubt.accuracy() == wilson(60, 60)


def test_groups_need_not_be_numbered_without_gaps(clumped):
    labels, answers, groups = clumped
    near = uncertainty(labels, answers, groups)
    far = uncertainty(labels, answers, groups * 1000 + 17)
    assert near.accuracy() == far.accuracy()
    assert near.macro_f1() == far.macro_f1()


def test_absent_class_has_no_interval():
    doubt = uncertainty([0, 0, 1], [0, 0, 1], n_classes=3)
    assert (doubt.recall(2), doubt.precision(2), doubt.f1(2)) == (None, None, None)
    assert doubt.balanced_accuracy() is not None


def test_review_has_intervals_of_its_own(clumped):
    labels, answers, groups = clumped
    accepted = groups % 4 != 0
    plain = uncertainty(labels, answers, accepted=accepted)
    assert plain.review_rate() == wilson(50, 200)
    assert plain.accuracy_accepted() == wilson(int((labels == answers)[accepted].sum()), 150)
    grouped = uncertainty(labels, answers, groups, accepted)
    assert width(grouped.review_rate()) > width(plain.review_rate())
    assert width(grouped.accuracy_accepted()) > width(plain.accuracy_accepted())


def test_nothing_accepted_has_no_accuracy_interval(clumped):
    labels, answers, groups = clumped
    doubt = uncertainty(labels, answers, groups, accepted=np.zeros(200, bool))
    assert doubt.accuracy_accepted() is None


def test_interval_covers_the_truth_about_as_often_as_it_says():
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
    answers = np.where(rng.random(6000) < 0.1, rng.integers(0, 8, 6000), labels)
    start = time.process_time()
    doubt = uncertainty(labels, answers, np.arange(6000) // 15, n_classes=8)
    doubt.macro_f1(), doubt.balanced_accuracy()
    assert time.process_time() - start < 1.0
