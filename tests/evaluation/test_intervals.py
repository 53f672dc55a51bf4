"""Intervals agree with published ones, hold the estimate, and never shrink to a point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hematovision.evaluation.intervals import (
    bootstrap_counts,
    f1_interval,
    hull,
    mean_interval,
    percentile_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_the_edges_is_exact_at_one_end_and_open_at_the_other():
    low, high = wilson(30, 30)
    assert high == 1.0
    assert low == pytest.approx(30 / (30 + 1.959964**2))
    assert wilson(0, 30) == pytest.approx((0.0, 1 - low))


def test_wilson_of_nothing_is_none_and_of_more_than_all_an_error():
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match=r"Received: successes=4, n=3"):
        wilson(4, 3)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_estimate_and_stays_within_zero_and_one(counts):
    successes, n = counts
    low, high = wilson(successes, n)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    assert low < high


def test_f1_interval_is_wilsons_of_the_overlap_put_on_the_scale_of_f1():
    low, high = wilson(8, 10)
    assert f1_interval(8, 2) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert f1_interval(0, 0) is None
    assert f1_interval(5, 0)[1] == 1.0


def test_mean_interval_adds_distances_in_quadrature():
    # distances below 0.03 and 0.04, above 0.06 and 0.08; the mean of two halves their sum
    low, high = mean_interval([0.5, 0.7], [(0.47, 0.56), (0.66, 0.78)])
    assert (low, high) == pytest.approx((0.6 - 0.05 / 2, 0.6 + 0.10 / 2))


def test_mean_interval_of_one_estimate_is_its_own_and_of_none_none():
    assert mean_interval([0.9], [(0.8, 0.95)]) == pytest.approx((0.8, 0.95))
    assert mean_interval([], []) is None


def test_bootstrap_is_the_same_for_the_same_seed_and_for_any_order_of_groups():
    counts = np.array([[3, 0], [1, 2], [0, 3], [3, 0]])
    first = bootstrap_counts(counts, seed=7)
    assert first.shape == (2000, 2)
    assert np.array_equal(first, bootstrap_counts(counts[[2, 0, 3, 1]], seed=7))
    assert not np.array_equal(first, bootstrap_counts(counts, seed=8))


def test_bootstrap_draws_whole_groups():
    drawn = bootstrap_counts([[10, 0], [0, 10]], draws=500)
    assert set(drawn[:, 0]) == {0.0, 10.0, 20.0}
    assert set(drawn.sum(axis=1)) == {20.0}


def test_bootstrap_spreads_as_the_groups_do():
    # 50 groups of one image, half of them right: the mean has standard error sqrt(1/4/50)
    drawn = bootstrap_counts([[1], [0]], [25, 25], draws=20000)[:, 0] / 50
    assert drawn.mean() == pytest.approx(0.5, abs=0.005)
    assert drawn.std() == pytest.approx(np.sqrt(0.25 / 50), rel=0.03)


def test_percentile_interval_leaves_undefined_draws_out():
    values = [*np.linspace(0, 1, 1001), np.nan, np.nan]
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    assert percentile_interval([np.nan]) is None


def test_hull_holds_all_and_leaves_none_out():
    assert hull((0.2, 0.5), None, (0.3, 0.9)) == (0.2, 0.9)
    assert hull(None, None) is None
