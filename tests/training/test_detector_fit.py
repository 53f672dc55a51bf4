"""Calibration and thresholds of a detector are recovered from peaks with known truth."""

import numpy as np
import pytest

from hematovision.training.detector_fit import (
    Peaks,
    best_threshold,
    box_ratio,
    fit_logits,
    is_gain,
    log_loss,
    logit,
    sigmoid,
)


def sampled(n: int, a: float, b: float) -> Peaks:
    """Peaks that are cells with the probability sigmoid(a * logit + b)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, n)
    right = rng.random(n) < 1 / (1 + np.exp(-(a * logits + b)))
    return Peaks(logits, right, int(right.sum()))


def test_a_calibration_is_recovered_from_many_peaks():
    assert fit_logits(sampled(20_000, 1.6, -0.8)) == pytest.approx((1.6, -0.8), abs=0.08)


def test_few_peaks_change_little():
    few = Peaks(np.array([2.0]), np.array([False]), 0)
    a, b = fit_logits(few)
    assert 0.7 < a < 1
    assert -1.5 < b < 0


def test_separable_peaks_have_a_finite_calibration():
    peaks = Peaks(np.array([-3.0, -2, 2, 3] * 50), np.array([False, False, True, True] * 50), 100)
    a, b = fit_logits(peaks)
    assert 1 < a < 20
    assert abs(b) < 0.5
    assert log_loss(peaks, a, b) < log_loss(peaks, 1, 0)


def test_the_best_threshold_is_in_the_middle_of_its_plateau():
    logits = np.array([logit(p) for p in [0.9] * 20 + [0.3] * 20])
    peaks = Peaks(logits, np.array([True] * 20 + [False] * 20), 20)
    assert best_threshold(peaks) == pytest.approx(0.6, abs=0.01)
    assert peaks.f1(0.6) == 1
    assert peaks.f1(0.2) == pytest.approx(2 / 3)
    assert peaks.f1(0.95) == 0


def test_a_plateau_with_a_gap_is_not_averaged_across_it():
    # Up to 0.3 and from 0.6 to 0.9 all is right; between them five false cells are found.
    logits = np.array([logit(p) for p in [0.9] * 40 + [0.6] * 5 + [0.3] * 5])
    right = np.array([True] * 40 + [False] * 5 + [True] * 5)
    peaks = Peaks(logits, right, 45)
    best = best_threshold(peaks)
    assert peaks.f1(best) == max(peaks.f1(t) for t in np.linspace(0.05, 0.95, 181))


def test_no_cells_and_no_peaks_are_perfect():
    assert Peaks(np.zeros(0), np.zeros(0, bool), 0).f1(0.5) == 1


def test_logits_of_certain_peaks_are_finite():
    assert logit(1.0) == pytest.approx(13.8, abs=0.1)
    assert sigmoid(logit(0.25)) == pytest.approx(0.25)
    assert sigmoid(-1000) == 0


def test_the_size_of_boxes_is_corrected_by_the_median_within_limits():
    assert box_ratio(np.array([1.1, 1.12, 5.0])) == pytest.approx(1.12)
    assert box_ratio(np.array([3.0])) == pytest.approx(1.25)
    assert box_ratio(np.array([])) == 1


def test_a_gain_in_few_fields_may_be_chance():
    assert not is_gain(np.array([1, 0, 0, 0]))
    assert not is_gain(np.array([9, -1, 0, -2]))
    assert is_gain(np.array([2, 3, 2, 1]))
    assert not is_gain(np.zeros(5, int))
