"""Calibration agrees with counts by hand and with scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from hematovision.evaluation.calibration import (
    BINS,
    expected_calibration_error,
    log_loss,
    reliability,
    risk_coverage,
)


def test_log_loss_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.ones(4), size=50)
    labels = rng.integers(0, 4, 50)
    expected = oracle.log_loss(labels, table, labels=range(4))
    assert log_loss(labels, table) == pytest.approx(expected)


def test_log_loss_of_a_certain_error_is_finite():
    assert log_loss([1], np.array([[1.0, 0.0]], np.float32)) == pytest.approx(-math.log(2**-23))


def test_bins_are_open_below_and_closed_above():
    bins = reliability([0.0, 0.5, 0.51, 1.0], [True, True, False, True], bins=2)
    assert [b.count for b in bins] == [2, 2]
    assert (bins[0].confidence, bins[0].accuracy) == (0.25, 1.0)
    assert (bins[1].confidence, bins[1].accuracy) == (pytest.approx(0.755), 0.5)


def test_empty_bins_have_no_accuracy():
    bins = reliability([0.95], [True])
    assert len(bins) == BINS == 15
    assert [b.count for b in bins] == [0] * 14 + [1]
    assert bins[0].confidence is None
    assert bins[0].accuracy is None


def test_calibration_error_counted_by_hand():
    # 4 predictions of confidence 0.9, half correct; 1 of confidence 0.6, correct
    bins = reliability([0.9, 0.9, 0.9, 0.9, 0.6], [True, True, False, False, True])
    assert expected_calibration_error(bins) == pytest.approx((4 * 0.4 + 1 * 0.4) / 5)


def test_calibration_error_of_perfect_calibration_is_zero():
    bins = reliability([0.75] * 4 + [0.5] * 2, [True, True, True, False, True, False])
    assert expected_calibration_error(bins) == pytest.approx(0.0)


def test_risk_falls_as_the_least_confident_are_left_out():
    points = risk_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    assert [(p.coverage, p.risk, p.threshold) for p in points] == [
        (0.25, 0.0, 0.9),
        (0.5, 0.0, 0.8),
        (0.75, pytest.approx(1 / 3), 0.7),
        (1.0, 0.25, 0.6),
    ]


def test_predictions_of_equal_confidence_are_accepted_together():
    points = risk_coverage([0.9, 0.8, 0.8, 0.8], [True, False, True, True])
    assert [p.coverage for p in points] == [0.25, 1.0]


def test_curve_of_many_predictions_is_thinned_but_keeps_its_end():
    rng = np.random.default_rng(1)
    confidence, right = rng.random(5000), rng.random(5000) < 0.9
    points = risk_coverage(confidence, right)
    assert len(points) == 101
    assert points[-1].coverage == 1.0
    assert points[-1].risk == pytest.approx(1 - right.mean())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50), st.randoms())
def test_order_of_the_images_does_not_matter(predictions, random):
    shuffled = random.sample(predictions, len(predictions))
    both = []
    for rows in (predictions, shuffled):
        confidence, right = zip(*rows, strict=True)
        ece = expected_calibration_error(reliability(confidence, right))
        assert 0.0 <= ece <= 1.0
        both.append((risk_coverage(confidence, right), round(ece, 9)))
    assert both[0] == both[1]
