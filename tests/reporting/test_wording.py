"""Percentages never round to 0 or 100."""

import pytest

from hematovision.reporting import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9937, "99.4%"),
        (0.9996, "99.96%"),
        (0.99996, "99.996%"),
        (0.9999999, "99.99999%"),
        (0.0002, "0.02%"),
        (1.0, "100%"),
        (0.0, "0%"),
        (None, "\u2013"),
    ],
)
def test_percent(value, text):
    assert wording.percent(value) == text


def test_a_relative_difference_may_be_negative_or_above_one():
    assert wording.percent(-0.013417) == "-1.3%"
    assert wording.percent(1.306) == "130.6%"


def test_interval():
    assert wording.interval((0.98765, 0.9994)) == "98.8 to 99.9%"
    assert wording.interval(None) == "\u2013"


def test_number():
    assert wording.number(0.12345) == "0.123"
    assert wording.number(None) == "\u2013"
