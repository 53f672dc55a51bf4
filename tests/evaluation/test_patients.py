"""Simulated patients have plausible differentials."""

import numpy as np
import pytest

from hematovision.evaluation.patients import (
    ABNORMAL_PERCENT,
    REFERENCE_PERCENT,
    count_cells,
    is_white,
    sample_proportions,
)

KINDS = tuple(REFERENCE_PERCENT)
ERYTHROBLAST = KINDS.index("erythroblast")


@pytest.fixture
def proportions():
    return sample_proportions(KINDS, 2001, np.random.default_rng(0))


def test_every_kind_has_a_reference_interval_and_an_abnormal_range_above_it():
    assert set(ABNORMAL_PERCENT) == set(REFERENCE_PERCENT)
    for kind, (low, high) in REFERENCE_PERCENT.items():
        assert 0 <= low <= high <= ABNORMAL_PERCENT[kind][0] < ABNORMAL_PERCENT[kind][1] < 100


def test_nucleated_red_cells_are_no_white_cells():
    assert [kind for kind, white in zip(KINDS, is_white(KINDS), strict=True) if not white] == [
        "erythroblast"
    ]


def test_white_cells_add_up_to_one(proportions):
    assert proportions[:, is_white(KINDS)].sum(axis=1) == pytest.approx(1)
    assert (proportions >= 0).all()


def test_the_first_half_is_normal(proportions):
    normal = proportions[:1001]
    assert (normal[:, ERYTHROBLAST] == 0).all()
    # Uniform means of the intervals, scaled from a sum of about 96%.
    assert 100 * normal[:, KINDS.index("neutrophil")].mean() == pytest.approx(57.5, rel=0.07)
    assert 100 * normal[:, KINDS.index("lymphocyte")].mean() == pytest.approx(28, rel=0.07)
    assert 100 * normal[:, KINDS.index("basophil")].max() < 2


def test_every_kind_is_raised_in_some_of_the_others(proportions):
    for k, kind in enumerate(KINDS):
        low, high = ABNORMAL_PERCENT[kind]
        highest = 100 * proportions[1001:, k].max()
        assert low < highest <= high + 0.01
        assert highest > 0.9 * high
    few_neutrophils = proportions[1001:, KINDS.index("neutrophil")] < 0.1
    assert few_neutrophils.any()


def test_kinds_that_are_not_there_have_no_cells():
    present = np.array([kind in {"lymphocyte", "neutrophil"} for kind in KINDS])
    found = sample_proportions(KINDS, 50, np.random.default_rng(0), present)
    assert (found[:, ~present] == 0).all()
    assert found.sum(axis=1) == pytest.approx(1)


def test_counts_follow_the_proportions(proportions):
    counts = count_cells(proportions, KINDS, 200, np.random.default_rng(0))
    white = is_white(KINDS)
    assert (counts[:, white].sum(axis=1) == 200).all()
    assert counts.mean(axis=0) == pytest.approx(200 * proportions.mean(axis=0), rel=0.05)
    spread = np.var(counts - 200 * proportions, axis=0)[white]
    binomial = (200 * proportions * (1 - proportions)).mean(axis=0)[white]
    assert spread == pytest.approx(binomial, rel=0.15)


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="Received: band"):
        sample_proportions(("band", "neutrophil"), 2, np.random.default_rng(0))


def test_one_white_kind_is_no_differential():
    with pytest.raises(ValueError, match=r"at least two kinds .*\['erythroblast', 'neutrophil'\]"):
        sample_proportions(("erythroblast", "neutrophil"), 2, np.random.default_rng(0))
