"""Learning curves have paired gains with intervals, and a cautious summary."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from hematovision.reporting.learning_curve import curve_rows, curve_sentence, seeds_interval
from hematovision.reporting.plots import learning_curve_figure, svg
from hematovision.reporting.report import render_report


@dataclass(frozen=True)
class Point:
    images: int
    balanced_accuracy: tuple[float, ...]
    per_class: tuple[int, ...] = ()


RISING = (
    Point(100, (0.90, 0.92, 0.94, 0.92), (80, 15, 5)),
    Point(200, (0.94, 0.955, 0.98, 0.955), (160, 30, 10)),
    Point(400, (0.95, 0.962, 0.99, 0.963), (320, 60, 20)),
)
FLAT = (*RISING, Point(800, (0.952, 0.96, 0.989, 0.962), (640, 120, 40)))


@pytest.mark.parametrize("n", [2, 4, 10, 12])
def test_the_interval_over_seeds_is_students(n):
    values = np.random.default_rng(n).normal(0.9, 0.02, n)
    expected = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert seeds_interval(values) == pytest.approx(expected, abs=2e-3 if n > 10 else 2e-5)


def test_one_seed_and_seeds_that_agree_have_no_interval():
    assert seeds_interval([0.9]) is None
    assert seeds_interval([1.0] * 4) is None
    same = curve_sentence((Point(50, (1.0, 1.0)), Point(100, (1.0, 1.0))))
    assert same.startswith("Doubling from 50 to 100 images gained 0.0 points of balanced accuracy.")
    assert "no significant gain" in same


def test_gains_are_paired_seed_by_seed():
    first, second, third = curve_rows(RISING)
    assert (first.gain, first.gain_interval) == (None, None)
    assert (second.mean, second.gain) == pytest.approx((0.9575, 0.0375))
    # The seeds differ by far more than the gain from seed to seed.
    low, high = third.gain_interval
    assert third.gain == pytest.approx(0.00875)
    assert (low, high) == pytest.approx(seeds_interval([0.01, 0.007, 0.01, 0.008]))
    assert high - low < 0.2 * (third.interval[1] - third.interval[0])


def test_intervals_stay_within_zero_and_one():
    (row,) = curve_rows([Point(10, (1.0, 0.9, 1.0, 1.0))])
    assert row.interval[1] == 1.0


def test_points_of_other_numbers_of_seeds_are_not_paired():
    rows = curve_rows([Point(50, (0.8, 0.9)), Point(100, (0.97,))])
    assert (rows[1].gain, rows[1].interval) == (None, None)


def test_a_rising_curve_suggests_more_images():
    summary = curve_sentence(RISING)
    assert summary.startswith(
        "Doubling from 200 to 400 images gained 0.9 points of balanced accuracy (95% interval 0.6 "
    )
    assert "still rising" in summary


def test_a_flat_curve_promises_no_gain():
    summary = curve_sentence(FLAT)
    assert "Doubling from 400 to 800 images lost 0.1 points" in summary
    assert "no significant gain" in summary
    assert "still rising" not in summary


def test_only_a_doubling_is_called_a_doubling():
    assert curve_sentence((RISING[0], RISING[2])).startswith("Going from 100 to 400 images gained")


def test_a_single_point_is_no_curve():
    assert "needs at least two" in curve_sentence(RISING[:1])


def test_the_figure_has_a_tick_for_each_number_of_images():
    root = ET.fromstring(svg(*learning_curve_figure((*RISING, Point(1600, (0.97,))))))
    found = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"100", "200", "400", "1,600", "training images", "each seed"} <= found


def test_the_report_shows_the_curve_if_it_was_measured(monkeypatch, metrics, facts):
    monkeypatch.setattr("hematovision.reporting.plots.svg", lambda size, draw: "<svg/>")
    text = render_report(metrics, replace(facts, curve=RISING))
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    assert "Learning curve" in words
    assert "Doubling from 200 to 400 images gained 0.9 points" in words
    assert "400 320 60 20 96.6" in words
    assert "with 4 seeds each" in words
    assert "Learning curve" not in render_report(metrics, facts)
