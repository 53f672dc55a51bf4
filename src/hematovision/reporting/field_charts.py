"""The charts of a field analysis, as SVG inside the page.

Colours come from the page's styles, so the charts fit a dark screen and a sheet of paper.
"""

from __future__ import annotations

import math

from hematovision.fields.sizes import Histogram, Unit
from hematovision.intervals import Interval
from hematovision.reporting.markup import Markup, join, tag

__all__ = ["bar", "size_chart"]

_WIDTH, _HEIGHT = 440, 150  # of the size chart
_LEFT, _RIGHT, _TOP, _BOTTOM = 6, 6, 14, 36  # its margins
_SHOWN: dict[Unit, Interval] = {"um": (4.0, 10.0), "red cells": (0.5, 1.5)}  # always shown
_AXIS: dict[Unit, str] = {
    "um": "Diameter of red cells, µm",
    "red cells": "Diameter, in units of the median red cell",
}
_TICKS = 9  # at most, about


def bar(value: float, ends: Interval | None, most: float) -> Markup:
    """Return a bar from 0 to `value`, with its limits, on a scale that ends at `most`."""
    parts = [tag("rect", class_="bar-fill", y=3, width=_percent(value, most), height=8)]
    if ends is not None:
        low, high = (_percent(end, most) for end in ends)
        parts.append(tag("line", class_="whisker", x1=low, x2=high, y1=7, y2=7))
        parts += [tag("line", class_="whisker", x1=x, x2=x, y1=4, y2=10) for x in (low, high)]
    return tag("svg", *parts, class_="share", aria_hidden="true")


def _percent(value: float, most: float) -> str:
    return f"{100 * value / most if most else 0:.2f}%"


def size_chart(histogram: Histogram, unit: Unit, mean: float | None) -> Markup:
    """Return the histogram of diameters, with a line at their mean."""
    width = histogram.width
    low = min(_SHOWN[unit][0], histogram.start)
    high = max(_SHOWN[unit][1], histogram.start + width * len(histogram.counts))
    scale = (_WIDTH - _LEFT - _RIGHT) / (high - low)
    most = max(histogram.counts, default=1)
    base = _HEIGHT - _BOTTOM

    def across(diameter: float) -> float:
        return round(_LEFT + (diameter - low) * scale, 2)

    bars = []
    for i, count in enumerate(histogram.counts):
        height = round((base - _TOP) * count / most, 2)
        x = across(histogram.start + i * width)
        bars.append(
            tag(
                "rect",
                class_="bar-fill",
                x=x,
                y=round(base - height, 2),
                width=round(max(width * scale - 1, 1), 2),
                height=height,
            )
        )
    line = () if mean is None else _mean_line(across(mean), base)
    axis = (
        tag("line", class_="axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=base, y2=base),
        *(_tick(across(value), base, f"{value:g}") for value in _ticks(low, high)),
        tag("text", _AXIS[unit], x=_WIDTH / 2, y=_HEIGHT - 4, text_anchor="middle"),
    )
    return tag(
        "svg",
        *bars,
        *line,
        *axis,
        class_="chart",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label="Histogram of the diameters of red cells",
    )


def _mean_line(x: float, base: int) -> tuple[Markup, Markup]:
    return (
        tag("line", class_="mean", x1=x, x2=x, y1=_TOP, y2=base),
        tag("text", "mean", x=x, y=_TOP - 4, text_anchor="middle"),
    )


def _tick(x: float, base: int, text: str) -> Markup:
    return join(
        tag("line", class_="axis", x1=x, x2=x, y1=base, y2=base + 4),
        tag("text", text, x=x, y=base + 16, text_anchor="middle"),
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between `low` and `high`."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 6) for i in range(first, last + 1)]
