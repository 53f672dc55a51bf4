"""Intervals and tests agree with published values and contain the estimate."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binomtest, chi2, gamma

from hematovision.intervals import (
    EXACT,
    bootstrap_counts,
    clopper_pearson,
    f1_interval,
    garwood,
    hull,
    mcnemar,
    mean_interval,
    percentile_interval,
    tango,
    variation_interval,
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
def test_wilson_equals_the_published_intervals(successes, n, low, high):
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
def test_wilson_contains_the_estimate_and_stays_within_zero_and_one(counts):
    successes, n = counts
    low, high = wilson(successes, n)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    assert low < high


# Rümke 1979: 95% limits of a differential, in percent, of 100, 200 and 1,000 cells
RUMKE = {
    0: ((0, 4), (0, 2), (0, 1)),
    1: ((0, 6), (0, 4), (0, 2)),
    5: ((1, 12), (2, 10), (3, 7)),
    10: ((4, 18), (6, 16), (8, 13)),
    50: ((39, 61), (42, 58), (46, 54)),
}


@pytest.mark.parametrize("percentage", RUMKE)
def test_clopper_pearson_rounded_outwards_is_rumkes_table(percentage):
    for n, expected in zip((100, 200, 1000), RUMKE[percentage], strict=True):
        low, high = clopper_pearson(percentage * n // 100, n)
        assert (math.floor(100 * low), math.ceil(100 * high)) == expected


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 7), (1, 5000), (4999, 5000), (40, 90)])
def test_clopper_pearsons_limits_are_beta_quantiles(k, n):
    low, high = clopper_pearson(k, n)
    assert low == (pytest.approx(beta.ppf(0.025, k, n - k + 1), rel=1e-9) if k else 0.0)
    assert high == (pytest.approx(beta.ppf(0.975, k + 1, n - k), rel=1e-9) if k < n else 1.0)


def test_clopper_pearson_of_nothing_is_none_and_of_more_than_all_an_error():
    assert clopper_pearson(0, 0) is None
    with pytest.raises(ValueError, match=r"Received: successes=4, n=3"):
        clopper_pearson(4, 3)


@pytest.mark.parametrize("count", [0, 1, 2, 10, 135, 4321, 200_000, 5_000_000])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_garwoods_limits_are_gamma_quantiles(count, level):
    low, high = garwood(count, level)
    half = (1 - level) / 2
    assert low == (pytest.approx(gamma.ppf(half, count), rel=1e-7) if count else 0.0)
    assert high == pytest.approx(gamma.ppf(1 - half, count + 1), rel=1e-7)


def test_garwood_of_a_negative_count_is_an_error():
    with pytest.raises(ValueError, match="Received: -1"):
        garwood(-1)


def _moments(values):
    mean, deviations = values.mean(axis=1), values - values.mean(axis=1, keepdims=True)
    sd = deviations.std(axis=1)
    return [
        values.std(axis=1, ddof=1) / mean,
        *((deviations**k).mean(axis=1) / sd**k for k in (3, 4)),
    ]


@pytest.mark.parametrize("kind", ["normal", "skewed", "mixed"])
def test_variation_interval_keeps_its_level_for_any_distribution(kind):
    rng = np.random.default_rng(3)
    shape = (600, 300)
    values = {
        "normal": lambda: rng.normal(1, 0.08, shape),
        "skewed": lambda: rng.gamma(20, 1, shape),
        "mixed": lambda: rng.normal(np.where(rng.random(shape) < 0.1, 1.2, 1.0), 0.06),
    }[kind]()
    true = {
        "normal": 0.08,
        "skewed": 1 / math.sqrt(20),
        "mixed": math.sqrt(0.06**2 + 0.09 * 0.04) / 1.02,
    }[kind]
    ends = [variation_interval(300, *row) for row in np.transpose(_moments(values))]
    assert np.mean([low <= true <= high for low, high in ends]) == pytest.approx(0.94, abs=0.025)


def test_variation_interval_needs_two_values_that_differ():
    assert variation_interval(1, 0.1, 0, 3) is None
    assert variation_interval(50, 0.0, 0, 3) is None


def test_f1_interval_is_wilsons_interval_of_the_overlap_converted_to_f1():
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


def test_bootstrap_resamples_whole_groups():
    samples = bootstrap_counts([[10, 0], [0, 10]], draws=500)
    assert set(samples[:, 0]) == {0.0, 10.0, 20.0}
    assert set(samples.sum(axis=1)) == {20.0}


def test_bootstrap_spreads_as_the_groups_do():
    # 50 groups of one image, half of them correct: the mean has standard error sqrt(1/4/50)
    samples = bootstrap_counts([[1], [0]], [25, 25], draws=20000)[:, 0] / 50
    assert samples.mean() == pytest.approx(0.5, abs=0.005)
    assert samples.std() == pytest.approx(np.sqrt(0.25 / 50), rel=0.03)


def test_percentile_interval_skips_undefined_samples():
    values = [*np.linspace(0, 1, 1001), np.nan, np.nan]
    assert percentile_interval(values) == pytest.approx((0.025, 0.975))
    assert percentile_interval([np.nan]) is None


def test_hull_contains_all_and_skips_none():
    assert hull((0.2, 0.5), None, (0.3, 0.9)) == (0.2, 0.9)
    assert hull(None, None) is None


Z2 = 1.959963984540054**2


@pytest.mark.parametrize("counts", [(5, 14), (0, 1), (0, 6), (7, 7), (400, 460)])
def test_mcnemars_test_is_the_binomial_one_on_the_discordant_images(counts):
    found = mcnemar(*counts)
    expected = binomtest(counts[0], sum(counts), 0.5).pvalue
    assert found.p == pytest.approx(expected, rel=1e-9)
    assert (found.method, found.discordant) == ("exact binomial", sum(counts))
    assert mcnemar(*reversed(counts)) == found


def test_mcnemars_test_of_many_images_is_edwards_chi_squared():
    found = mcnemar(560, 480)
    assert found.method == "chi-squared, continuity corrected"
    assert found.p == pytest.approx(chi2.sf(79**2 / 1040, 1), rel=1e-9)
    # Where the method changes, the two agree.
    exact, beyond = mcnemar(465, EXACT - 465), mcnemar(466, EXACT + 2 - 466)
    assert exact.method != beyond.method
    assert exact.p == pytest.approx(beyond.p, rel=0.02)


def test_mcnemars_test_without_discordant_images_has_p_1():
    assert mcnemar(0, 0).p == 1.0
    with pytest.raises(ValueError, match="must not be negative"):
        mcnemar(-1, 3)


@pytest.mark.parametrize(("more", "less", "n"), [(14, 5, 750), (9, 0, 54), (3, 30, 60), (1, 0, 9)])
def test_tangos_limits_are_where_the_score_test_rejects(more, less, n):
    for delta in tango(more, less, n):

        def loss(share, delta=delta):  # of images only the first gets right, given delta
            cells = ((share + delta, more), (share, less), (1 - 2 * share - delta, n - more - less))
            return -sum(count * math.log(max(p, 1e-300)) for p, count in cells if count)

        ends = (max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12)
        share = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
        variance = n * (2 * share + delta * (1 - delta))
        assert (more - less - n * delta) ** 2 == pytest.approx(Z2 * variance, rel=1e-4)


def test_tangos_interval_has_a_width_if_the_models_never_differ():
    low, high = tango(0, 0, 100)
    assert (-low, high) == pytest.approx((Z2 / (100 + Z2),) * 2)


def test_tangos_interval_turns_with_the_models_and_stays_within_its_bounds():
    low, high = tango(3, 12, 40)
    assert tango(12, 3, 40) == pytest.approx((-high, -low))
    assert tango(7, 0, 7)[1] == 1.0
    assert tango(0, 7, 7)[0] == -1.0
    assert tango(0, 0, 0) is None
    for counts in ((-1, 0, 5), (3, 3, 5)):
        with pytest.raises(ValueError, match="add up to at most"):
            tango(*counts)


def test_tangos_interval_keeps_its_level():
    rng = np.random.default_rng(1)
    counts = rng.multinomial(150, (0.06, 0.02, 0.92), size=800)
    ends = [tango(int(more), int(less), 150) for more, less, _ in counts]
    assert np.mean([low <= 0.04 <= high for low, high in ends]) == pytest.approx(0.95, abs=0.02)
