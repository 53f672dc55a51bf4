"""Sizes of red cells: moments, histogram and the units they are in."""

import numpy as np
import pytest
from scipy.stats import kurtosis, skew

from hematovision.fields.sizes import FEWEST_CELLS, SizeTally, _Moments
from hematovision.intervals import variation_interval


def tallied(diameters, median=36.0, um_per_px=None):
    tally = SizeTally()
    for diameter in diameters:
        tally.add(diameter, median, um_per_px)
    return tally


DIAMETERS = np.random.default_rng(2).gamma(150, 36 / 150, 700)


def test_moments_taken_one_at_a_time_and_merged_are_those_of_all_values():
    parts = [_Moments() for _ in range(3)]
    for i, value in enumerate(DIAMETERS):
        parts[i % 3 if i < 600 else 0].add(value)
    whole = _Moments()
    for part in (*parts, _Moments()):
        whole.merge(part)
    assert whole.n == 700
    assert whole.mean == pytest.approx(DIAMETERS.mean(), rel=1e-12)
    assert whole.sd == pytest.approx(DIAMETERS.std(ddof=1), rel=1e-10)
    assert whole.skewness == pytest.approx(skew(DIAMETERS), rel=1e-8)
    assert whole.kurtosis == pytest.approx(kurtosis(DIAMETERS, fisher=False), rel=1e-9)


def test_without_micrometres_sizes_are_in_units_of_the_fields_median_red_cell():
    tally = tallied([36, 36, 45] * 20)
    tally.merge(tallied([72, 72, 90] * 20, median=72.0))  # the same cells, magnified
    found = tally.distribution()
    assert (found.unit, found.n) == ("red cells", 120)
    assert found.mean == pytest.approx(13 / 12)
    assert found.histogram.start == 1.0
    assert found.histogram.counts == (80, 0, 0, 0, 0, 40)


def test_sizes_are_in_micrometres_only_if_all_cells_have_that_scale():
    found = tallied(DIAMETERS, um_per_px=0.2).distribution()
    assert found.unit == "um"
    assert found.mean == pytest.approx(DIAMETERS.mean() * 0.2)
    assert found.cv == pytest.approx(DIAMETERS.std(ddof=1) / DIAMETERS.mean())
    assert found.cv_interval == pytest.approx(
        variation_interval(700, found.cv, skew(DIAMETERS), kurtosis(DIAMETERS, fisher=False))
    )
    assert sum(found.histogram.counts) == 700
    mixed = tallied(DIAMETERS, um_per_px=0.2)
    mixed.merge(tallied([36.0]))
    assert (mixed.distribution().unit, mixed.distribution().n) == ("red cells", 701)


def test_few_cells_have_a_histogram_but_no_variation():
    found = tallied([36.0] * (FEWEST_CELLS - 1)).distribution()
    assert (found.n, found.mean, found.cv, found.cv_interval) == (29, None, None, None)
    assert found.histogram.counts == (29,)


def test_equal_cells_vary_by_nothing_and_no_cells_are_no_error():
    found = tallied([36.0] * 50).distribution()
    assert (found.cv, found.cv_interval) == (0.0, None)
    nothing = SizeTally().distribution()
    assert (nothing.n, nothing.histogram.counts) == (0, ())


def test_a_giant_is_counted_in_the_topmost_bin_and_a_cell_without_a_scale_not_at_all():
    tally = tallied([36.0, 36 * 700])
    tally.add(36.0, None, None)
    found = tally.distribution()
    assert found.histogram.counts[-1] == 1
    assert found.histogram.start + 0.05 * len(found.histogram.counts) == pytest.approx(3.0)
    assert (found.n, found.no_scale) == (2, 1)
