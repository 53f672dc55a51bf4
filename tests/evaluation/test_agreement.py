"""Statistics of agreement match published examples and handle undefined cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hematovision.evaluation.agreement import (
    Line,
    bland_altman,
    counting_limit,
    deming,
    kappa,
    passing_bablok,
    pearson,
    spearman,
)

# Peak expiratory flow by two meters, first readings (Bland & Altman 1986).
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI_WRIGHT = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]

percentages = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=3, max_size=30
).map(lambda pairs: np.array(pairs, np.float64).T)


def test_limits_of_agreement_are_those_of_bland_and_altman():
    limits = bland_altman(MINI_WRIGHT, WRIGHT)
    assert limits.bias == pytest.approx(-2.1, abs=0.05)
    # Published: -79.7 and 75.5, with two standard deviations of 38.8 instead of 1.96.
    sd = (limits.upper - limits.bias) / 1.959964
    assert sd == pytest.approx(38.8, abs=0.05)
    assert limits.bias - 2 * sd == pytest.approx(-79.7, abs=0.1)
    assert limits.upper - limits.bias == pytest.approx(limits.bias - limits.lower)


def test_correlation_is_that_of_bland_and_altman():
    assert pearson(WRIGHT, MINI_WRIGHT) == pytest.approx(0.94, abs=0.005)


def test_kappa_is_that_of_cohen():
    # Cohen 1960: two clinicians, three diagnoses, 200 patients.
    assert kappa([[88, 14, 18], [10, 40, 10], [2, 6, 12]]) == pytest.approx(0.492, abs=0.0005)


def test_kappa_is_zero_for_a_constant_class_and_undefined_if_both_are_constant():
    assert kappa([[60, 0], [40, 0]]) == pytest.approx(0.0)
    assert kappa([[60, 0], [0, 0]]) is None
    assert kappa(np.zeros((2, 2))) is None


def test_passing_bablok_is_that_of_the_r_package_mcr():
    # The example of the Python package methcomp, whose values were computed with mcr in R.
    x = np.arange(1, 21)
    y = [
        1.03, 2.05, 2.79, 3.67, 5.00, 5.82, 7.16, 7.69, 8.53, 10.38,
        11.11, 12.17, 13.47, 13.83, 15.15, 16.12, 16.94, 18.09, 19.13, 19.54,
    ]  # fmt: skip
    line = passing_bablok(x, y)
    assert line.slope == pytest.approx(1.0050, abs=5e-4)
    assert line.intercept == pytest.approx(0.0125, abs=5e-3)


def test_passing_bablok_by_hand():
    # Slopes of the six pairs: 1, 1.5, 2, 2, 2.5, 3; their median is 2. Residuals: 1, 0, 0, 1.
    assert passing_bablok([0, 1, 2, 3], [1, 2, 4, 7]) == Line(2.0, 0.5)


def test_passing_bablok_shifts_by_slopes_below_minus_one_and_skips_minus_one():
    # Slopes between (0,0), (1,1), (2,4), (3,1): 1, 2, 1/3, 3, 0, -3. One is below -1: the median
    # moves by one from 1/3..1 to 1..2.
    assert passing_bablok([0, 1, 2, 3], [0, 1, 4, 1]).slope == pytest.approx(1.5)
    # Slopes between (0,1), (1,0), (3,4): -1 (skipped), 1, 2.
    assert passing_bablok([0, 1, 3], [1, 0, 4]).slope == pytest.approx(1.5)


def test_a_reference_that_does_not_vary_has_neither_line_nor_correlation():
    for line in (passing_bablok([3, 3, 3], [1, 2, 4]), deming([3, 3, 3], [1, 2, 4])):
        assert line is None
    assert pearson([3, 3, 3], [1, 2, 4]) is None
    assert spearman([3, 3, 3], [1, 2, 4]) is None


def test_methods_that_run_against_each_other_have_no_passing_bablok_line():
    assert passing_bablok([0, 1, 2], [4, 2, 0]) is None


def test_one_patient_is_too_few():
    assert bland_altman([1], [2]) is None
    assert passing_bablok([1], [2]) is None
    assert pearson([], []) is None


def test_deming_by_hand():
    # Sxx = 2, Syy = 2, Sxy = 1: slope 1 for equal errors; with y's errors small, towards Syy / Sxy.
    assert deming([0, 1, 2], [0, 2, 1]) == Line(1.0, 0.0)
    assert deming([0, 1, 2], [0, 2, 1], error_ratio=1e-9).slope == pytest.approx(2.0)
    # With x free of errors, least squares: Sxy / Sxx.
    assert deming([0, 1, 2], [0, 2, 1], error_ratio=1e9).slope == pytest.approx(0.5)


def test_deming_with_equal_errors_is_the_first_principal_axis():
    rng = np.random.default_rng(0)
    x = rng.normal(50, 10, 80)
    y = 3 + 0.9 * x + rng.normal(0, 3, 80)
    axis = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]))[2][0]
    line = deming(x, y)
    assert line.slope == pytest.approx(axis[1] / axis[0])
    assert line.intercept == pytest.approx(y.mean() - line.slope * x.mean())


def test_the_limit_of_two_counts_is_1_96_standard_deviations_of_their_difference():
    # Half of 100 cells: a standard deviation of 5 points, 7.07 for the difference of two counts.
    assert 100 * counting_limit([0.5], 100) == pytest.approx(13.86, abs=0.005)
    assert counting_limit([0.5, 0.0], 100) == pytest.approx(1.96 * 0.05, rel=1e-4)
    rng = np.random.default_rng(0)
    counted = rng.binomial(200, 0.3, (2, 20_000)) / 200
    found = counting_limit([0.3], 200)
    assert found == pytest.approx(1.96 * np.std(counted[1] - counted[0]), rel=0.02)
    extra = rng.poisson(200 * 0.3, (2, 20_000)) / 200
    found = counting_limit([0.3], 200, additional=True)
    assert found == pytest.approx(1.96 * np.std(extra[1] - extra[0]), rel=0.02)


def test_inputs_must_fit_together():
    with pytest.raises(ValueError, match="equal length"):
        pearson([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="error_ratio"):
        deming([1, 2], [1, 2], error_ratio=0)


@settings(deadline=None)
@given(percentages)
def test_rank_correlation_is_that_of_scipy(pair):
    x, y = pair
    found = spearman(x, y)
    if np.ptp(x) and np.ptp(y):
        assert found == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
    else:
        assert found is None


@settings(deadline=None)
@given(percentages)
def test_equal_methods_agree_perfectly(pair):
    x = pair[0]
    limits = bland_altman(x, x)
    assert (limits.bias, limits.lower, limits.upper) == (0, 0, 0)
    if np.ptp(x):
        assert passing_bablok(x, x) == Line(1.0, 0.0)
        line = deming(x, x)
        assert line.slope == pytest.approx(1.0)
        assert line.intercept == pytest.approx(0.0, abs=1e-9)


@settings(deadline=None)
@given(percentages)
def test_passing_bablok_does_not_depend_on_which_method_is_the_reference(pair):
    x, y = pair[0], pair[0] * 20 + pair[1]
    line, back = passing_bablok(x, y), passing_bablok(y, x)
    i, j = np.triu_indices(len(x), 1)
    run, rise = x[j] - x[i], y[j] - y[i]
    counted = ((run != 0) | (rise != 0)) & (rise != -run)
    # With an even number, the mean of two slopes is not the inverse of the mean of their inverses.
    if line and back and counted.sum() % 2:
        assert line.slope * back.slope == pytest.approx(1.0)
