"""Count errors per field."""

import numpy as np
import pytest

from hematovision.evaluation.detection import count_errors


def test_bias_error_and_limits_of_agreement():
    found, annotated = np.array([12, 9, 10, 15]), np.array([10, 10, 10, 10])
    errors = count_errors(found, annotated, np.zeros((0, 4)))
    difference = found - annotated
    assert errors.mean_absolute_error == 2.0
    assert errors.bias == 1.5
    assert errors.relative_bias == 0.15
    spread = 1.959964 * difference.std(ddof=1)
    assert errors.limits == pytest.approx((1.5 - spread, 1.5 + spread), abs=1e-5)
    assert errors.intervals["bias"] is None  # no bootstrap samples


def test_intervals_cover_the_bias_of_other_fields():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        difference = rng.poisson(3, 40) - 2
        weights = rng.multinomial(40, np.full(40, 1 / 40), 300).astype(float)
        errors = count_errors(difference + 20, np.full(40, 20), weights)
        low, high = errors.intervals["bias"] or (0, 0)
        covered += low <= 1 <= high
    assert covered >= 52


def test_one_field_has_no_limits_and_no_field_is_an_error():
    one = count_errors(np.array([3]), np.array([0]), np.ones((5, 1)))
    assert one.limits is None
    assert one.relative_bias is None
    with pytest.raises(ValueError, match="at least one field"):
        count_errors(np.array([], int), np.array([], int), np.zeros((0, 0)))
