"""McNemar's test and Tango's interval are those of the papers."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, chi2

from hematovision.evaluation.proportions import EXACT, mcnemar, tango

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
    # Where the method changes, the two say the same.
    exact, beyond = mcnemar(465, EXACT - 465), mcnemar(466, EXACT + 2 - 466)
    assert exact.method != beyond.method
    assert exact.p == pytest.approx(beyond.p, rel=0.02)


def test_models_that_are_never_right_alone_give_no_reason_to_prefer_one():
    assert mcnemar(0, 0).p == 1.0
    with pytest.raises(ValueError, match="must not be negative"):
        mcnemar(-1, 3)


@pytest.mark.parametrize(("more", "less", "n"), [(14, 5, 750), (9, 0, 54), (3, 30, 60), (1, 0, 9)])
def test_tangos_ends_are_where_the_score_test_refuses(more, less, n):
    for delta in tango(more, less, n):

        def loss(share, delta=delta):  # of images only the first tells rightly, given delta
            cells = ((share + delta, more), (share, less), (1 - 2 * share - delta, n - more - less))
            return -sum(count * math.log(max(p, 1e-300)) for p, count in cells if count)

        ends = (max(0.0, -delta) + 1e-12, (1 - delta) / 2 - 1e-12)
        share = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
        variance = n * (2 * share + delta * (1 - delta))
        assert (more - less - n * delta) ** 2 == pytest.approx(Z2 * variance, rel=1e-4)


def test_tangos_interval_has_a_width_where_the_models_never_differ():
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


def test_tangos_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    counts = rng.multinomial(150, (0.06, 0.02, 0.92), size=800)
    ends = [tango(int(more), int(less), 150) for more, less, _ in counts]
    assert np.mean([low <= 0.04 <= high for low, high in ends]) == pytest.approx(0.95, abs=0.02)
