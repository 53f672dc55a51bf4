"""The figures of a report: functions that return an SVG, or a `Drawing` for any form.

`drawing` has how they look; no meaning hangs on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from hematovision.evaluation.calibration import CoveragePoint, ReliabilityBin
from hematovision.evaluation.intervals import wilson
from hematovision.evaluation.schema import ClassScores
from hematovision.reporting.drawing import BLUE, GREEN, GREY, INK, ORANGE, Drawing, svg
from hematovision.reporting.wording import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "best_epoch",
    "class_scores_figure",
    "confusion_drawing",
    "confusion_figure",
    "curves_drawing",
    "curves_figure",
    "known_quantities",
    "reliability_figure",
    "risk_coverage_figure",
]

UNKNOWN = (math.nan, math.nan)


def confusion_figure(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Draw a confusion matrix: counts, and what part of the true class they are.

    Parameters
    ----------
    confusion : sequence of sequence of int, shape (C, C)
        Rows are true classes, columns predicted ones.
    classes : sequence of str

    Returns
    -------
    str
        An SVG document.
    """
    return svg(*confusion_drawing(confusion, classes))


def confusion_drawing(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], title: str = ""
) -> Drawing:
    """Return what `confusion_figure` draws, to be written in any form, below a title."""
    counts = np.asarray(confusion)
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = counts / rows
    side = max(2.6, 0.72 * len(classes))
    longest = max(map(len, classes))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1.5)
        for (row, column), count in np.ndenumerate(counts):
            _cell(axes, row, column, int(count), float(shares[row, column]))
        ticks = np.arange(len(classes)) + 0.5
        if longest * len(classes) < 34:
            axes.set_xticks(ticks, classes)
        else:
            axes.set_xticks(ticks, classes, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, classes)
        axes.invert_yaxis()
        axes.set(xlabel="predicted class", ylabel="true class", aspect="equal", title=title)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return Drawing((side + 0.5 + 0.085 * longest, side + 0.9), draw)


def _cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    ink = "white" if share > 0.5 else INK if count else "#8a949e"
    x, y = column + 0.5, row + 0.5
    if not count:
        axes.text(x, y, "0", ha="center", va="center", color=ink)
        return
    axes.text(x, y - 0.11, f"{count:,}", ha="center", va="center", color=ink, weight="bold")
    axes.text(x, y + 0.2, percent(share), ha="center", va="center", color=ink, size=8)


def best_epoch(history: Sequence[Mapping[str, float]]) -> int | None:
    """Return the epoch with the lowest validation loss, the first of equals; None without one."""
    known = [row for row in history if math.isfinite(row.get("val_loss", math.nan))]
    return int(min(known, key=lambda row: row["val_loss"])["epoch"]) if known else None


def curves_figure(
    history: Sequence[Mapping[str, float]], quantity: Literal["loss", "accuracy"]
) -> str:
    """Draw how loss or accuracy went over the epochs, and which epoch was kept.

    Parameters
    ----------
    history : sequence of mapping
        One row an epoch: ``epoch``, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``.
    quantity : {"loss", "accuracy"}
    """
    return svg((4.8, 3.1), lambda figure: _curves(figure.subplots(), history, quantity))


def curves_drawing(history: Sequence[Mapping[str, float]]) -> Drawing:
    """Return accuracy beside loss over the epochs, those that the history has."""
    quantities = known_quantities(history)

    def draw(figure: Figure) -> None:
        for axes, quantity in zip(
            figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True
        ):
            _curves(axes, history, quantity)

    return Drawing((4.8 * len(quantities), 3.4), draw)


def known_quantities(
    history: Sequence[Mapping[str, float]],
) -> tuple[Literal["loss", "accuracy"], ...]:
    """Return which of accuracy and loss, in this order, a history has values of."""
    names: tuple[Literal["loss", "accuracy"], ...] = ("accuracy", "loss")
    return tuple(name for name in names if any(_is_known(row, name) for row in history))


def _is_known(row: Mapping[str, float], quantity: str) -> bool:
    values = (row.get(key, math.nan) for key in (quantity, f"val_{quantity}"))
    return any(math.isfinite(value) for value in values)


def _curves(
    axes: Axes, history: Sequence[Mapping[str, float]], quantity: Literal["loss", "accuracy"]
) -> None:
    epochs = [row["epoch"] for row in history]
    lines = (
        ("training", quantity, BLUE, "-", "o"),
        ("validation", f"val_{quantity}", ORANGE, "--", "s"),
    )
    for name, key, colour, style, marker in lines:
        values = [row.get(key, math.nan) for row in history]
        if not any(map(math.isfinite, values)):
            continue
        axes.plot(epochs, values, style, color=colour, marker=marker, markersize=4, label=name)
    best = best_epoch(history)
    if best is not None:
        axes.axvline(best, color=GREY, linewidth=1, linestyle=":", label=f"kept: epoch {best}")
    axes.set_title(quantity.capitalize())
    axes.set_xlabel("epoch")
    axes.locator_params("x", integer=True)
    axes.legend(fontsize=9)


def reliability_figure(bins: Sequence[ReliabilityBin]) -> str:
    """Draw how often answers of a confidence are right, over how many there are.

    On the diagonal confidence can be taken at its word; below it the model is too sure. The bars
    are Wilson's 95 % intervals: a bin of three images says little.
    """
    full = [b for b in bins if b.count]
    confidence = np.array([b.confidence for b in full], np.float64)
    accuracy = np.array([b.accuracy for b in full], np.float64)
    right = [round(share * b.count) for share, b in zip(accuracy, full, strict=True)]
    ends = np.array([wilson(k, b.count) for k, b in zip(right, full, strict=True)], np.float64)

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="ideal")
        lows, highs = ends.T
        upper.vlines(confidence, lows, highs, colors=BLUE, linewidth=2, alpha=0.35)
        upper.plot(confidence, accuracy, "o-", color=BLUE, markersize=4, label="this model")
        upper.set(ylabel="fraction right", ylim=(-0.03, 1.05), title="Reliability")
        upper.legend(fontsize=9, loc="upper left")
        lower.bar(
            [(b.lower + b.upper) / 2 for b in full],
            [b.count for b in full],
            width=0.9 / len(bins),
            color=BLUE,
        )
        lower.set(xlabel="confidence", ylabel="images", xlim=(-0.02, 1.02), yscale="log")
        lower.set_ylim(bottom=0.7)
        lower.yaxis.set_major_formatter("{x:,.0f}")
        lower.yaxis.set_minor_formatter("")

    return svg((4.8, 4.0), draw)


def risk_coverage_figure(
    points: Sequence[CoveragePoint], operating: tuple[float, float] | None = None
) -> str:
    """Draw the error rate against the fraction of images answered without review.

    Parameters
    ----------
    points : sequence of CoveragePoint
        By growing coverage.
    operating : (float, float), optional
        Coverage and risk at the model's own thresholds, marked in the figure.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        coverage, risk = [p.coverage for p in points], [100 * p.risk for p in points]
        axes.plot(coverage, risk, color=BLUE, label="by confidence alone", drawstyle="steps-post")
        # The first few answers make a curve of their own: one early error is a risk of 100 %.
        highest = max(r for c, r in zip(coverage, risk, strict=True) if c >= 0.1)
        if operating is not None:
            x, y = operating[0], 100 * operating[1]
            axes.plot(x, y, "D", color=ORANGE, markersize=7, label="at the model's thresholds")
            highest = max(highest, y)
        axes.set(xlabel="fraction answered without review", ylabel="errors among them, %")
        axes.set(xlim=(0, 1.02), ylim=(-0.04 * (highest or 1), 1.35 * (highest or 1)))
        axes.set_title("Risk and coverage")
        axes.legend(fontsize=9, loc="upper center")

    return svg((4.8, 4.0), draw)


def class_scores_figure(per_class: Mapping[str, ClassScores]) -> str:
    """Draw precision, recall and F1 of each class with their 95 % intervals."""
    series = (
        ("precision", BLUE, "o", -0.22),
        ("recall", ORANGE, "s", 0.0),
        ("f1", GREEN, "D", 0.22),
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, colour, marker, shift in series:
            rows = per_class.values()
            values = [math.nan if (v := getattr(row, name)) is None else v for row in rows]
            ends = np.array([row.intervals[name] or UNKNOWN for row in rows])
            heights = np.arange(len(rows)) + shift
            lows, highs = ends.T
            axes.hlines(heights, lows, highs, colors=colour, linewidth=2, alpha=0.55)
            label = "F1" if name == "f1" else name
            axes.plot(values, heights, marker, color=colour, markersize=5, label=label)
        axes.set_yticks(range(len(per_class)), per_class)
        axes.set_ylim(len(per_class) - 0.5, -0.5)
        axes.set(xlabel="score, with its 95 % interval")
        axes.set_xlim(right=1.0 + 0.03 * (1.0 - axes.get_xlim()[0]))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.legend(ncols=3, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return svg((4.8, 1.1 + 0.55 * len(per_class)), draw)
