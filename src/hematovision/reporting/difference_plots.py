"""The figures that set one thing against another: two models, or numbers of training images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hematovision.evaluation.paired import Difference
from hematovision.reporting.drawing import BLUE, GREY, INK, ORANGE, svg
from hematovision.reporting.learning_curve import MeasuredPoint, curve_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["differences_figure", "learning_curve_figure"]

UNKNOWN = (math.nan, math.nan)


def differences_figure(rows: Mapping[str, Difference]) -> str:
    """Draw how much better the second model is, score by score, with 95 % intervals.

    Right of the line at 0 the second model is better, left of it the first. An interval that
    crosses the line shows no difference.

    Parameters
    ----------
    rows : mapping of str to Difference
        By what is written beside them; from top to bottom.

    Returns
    -------
    str
        An SVG document.
    """
    values = [math.nan if row.value is None else 100 * row.value for row in rows.values()]
    lows, highs = 100 * np.array([row.interval or UNKNOWN for row in rows.values()]).T

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        heights = np.arange(len(rows))
        axes.axvline(0, color=GREY, linewidth=1)
        axes.hlines(heights, lows, highs, colors=BLUE, linewidth=2, alpha=0.55)
        axes.plot(values, heights, "o", color=BLUE, markersize=5)
        reach = np.nanmax(np.abs([*values, *lows, *highs, 0.1]))
        axes.set_xlim(-1.08 * reach, 1.08 * reach)
        axes.set_yticks(heights, rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("second less first, points")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        for x, side, words in (
            (0.47, "right", "← first better"),
            (0.53, "left", "second better →"),
        ):
            axes.text(x, 1.02, words, ha=side, transform=axes.transAxes, color=INK, fontsize=9)

    return svg((4.8, 1.1 + 0.36 * len(rows)), draw)


def learning_curve_figure(curve: Sequence[MeasuredPoint]) -> str:
    """Draw balanced accuracy against the number of training images, which doubles step by step.

    Each seed is a dot; the line goes through their means, whose 95 % intervals are the bars.
    """
    rows = curve_rows(curve)
    images = [row.images for row in rows]
    means = [100 * row.mean for row in rows]
    lows, highs = 100 * np.array([row.interval or UNKNOWN for row in rows]).T
    dots = [(point.images, 100 * score) for point in curve for score in point.balanced_accuracy]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.plot(*zip(*dots, strict=True), "o", color=ORANGE, markersize=3, label="each seed")
        axes.vlines(images, lows, highs, colors=BLUE, linewidth=2, alpha=0.55)
        axes.plot(images, means, "o-", color=BLUE, markersize=5, label="mean, 95 % interval")
        axes.set_xticks(images, [f"{count:,}" for count in images])
        axes.minorticks_off()
        axes.set(xlabel="training images", ylabel="balanced accuracy, %", title="Learning curve")
        axes.legend(fontsize=9, loc="lower right")

    return svg((4.8, 3.4), draw)
