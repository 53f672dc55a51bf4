"""Charts are to scale."""

import re

import pytest

from hematovision.fields.sizes import Histogram
from hematovision.reporting.field_charts import bar, size_chart


def attributes(svg, element, name, class_=""):
    tags = re.findall(rf"<{element} [^>]*>", svg)
    return [re.search(rf' {name}="([^"]*)"', one)[1] for one in tags if class_ in one]


def test_a_bar_and_its_limits_are_shares_of_the_scale():
    svg = bar(0.2, (0.1, 0.35), 0.4)
    assert attributes(svg, "rect", "width") == ["50.00%"]
    assert set(attributes(svg, "line", "x1") + attributes(svg, "line", "x2")) == {
        "25.00%", "87.50%",
    }  # fmt: skip
    assert "<line" not in bar(3, None, 10)
    assert attributes(bar(0, None, 0), "rect", "width") == ["0.00%"]


@pytest.mark.parametrize("unit", ["um", "red cells"])
def test_bars_of_the_histogram_are_as_high_as_their_counts(unit):
    svg = size_chart(Histogram(1.0, 0.25, (10, 0, 40)), unit, 1.4)
    heights = [float(height) for height in attributes(svg, "rect", "height")]
    assert heights == [25.0, 0.0, 100.0]
    lefts = [float(x) for x in attributes(svg, "rect", "x")]
    assert lefts[1] - lefts[0] == pytest.approx(lefts[2] - lefts[1], abs=0.02)
    mean = float(attributes(svg, "line", "x1", "mean")[0])
    assert lefts[1] < mean < lefts[2]


def test_the_axis_has_round_ticks_and_covers_every_bin():
    def ticks(histogram, unit):
        texts = re.findall(r"<text[^>]*>([\d.]+)</text>", size_chart(histogram, unit, None))
        return [float(text) for text in texts]

    assert ticks(Histogram(0.9, 0.05, (1,)), "red cells") == [0.6, 0.8, 1.0, 1.2, 1.4]
    assert ticks(Histogram(6.0, 0.25, (1,)), "um") == [4, 5, 6, 7, 8, 9, 10]
    assert ticks(Histogram(0.0, 0.25, (1,) * 80), "um") == [0, 5, 10, 15, 20]
    assert "mean" not in size_chart(Histogram(0.0, 0.05, ()), "red cells", None)
