"""The figures of reports and run folders, as SVG or PNG.

`hematovision.figures` has their style and colours; no meaning depends on colour alone. Text in SVG
stays text, so the reader's fonts can show class names in any script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from hematovision.evaluation.calibration import CoveragePoint, ReliabilityBin
from hematovision.evaluation.metrics import ClassScores, Metrics
from hematovision.evaluation.uncertainty import Difference
from hematovision.figures import BLUE, GREEN, GREY, INK, ORANGE, Drawing, save
from hematovision.files import write_bytes, write_text
from hematovision.intervals import wilson
from hematovision.reporting.learning_curve import MeasuredPoint, curve_rows
from hematovision.reporting.tables import classification_report
from hematovision.reporting.wording import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "CONFUSION", "CURVES", "PNG_DPI", "TABLE", "best_epoch", "class_scores_figure",
    "confusion_figure", "curves_figure", "differences_figure", "known_quantities",
    "learning_curve_figure", "metrics_figure", "png", "reliability_figure",
    "risk_coverage_figure", "svg", "write_figure_files",
]  # fmt: skip

History: TypeAlias = Sequence[Mapping[str, float]]
"""One row per epoch: ``epoch``, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``."""

Quantity: TypeAlias = Literal["loss", "accuracy"]

CONFUSION, CURVES = "confusion_matrix", "accuracy_loss"
TABLE = "classification_report.csv"

PNG_DPI = 200
"""Sharp in print at column width."""

_UNKNOWN = (math.nan, math.nan)


def svg(size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Return a figure of `size` inches, plotted by `draw`, as an SVG document."""
    metadata = {"Date": None, "Creator": None}
    return _saved(size, draw, format="svg", metadata=metadata).decode("utf-8")


def png(size: tuple[float, float], draw: Callable[[Figure], None]) -> bytes:
    """Return a figure as a PNG of `PNG_DPI` pixels per inch, in matplotlib's own font."""
    return _saved(size, draw, format="png", dpi=PNG_DPI, metadata={"Software": None})


def write_figure_files(folder: Path, metrics: Metrics, history: History = ()) -> None:
    """Write `TABLE`, and `CONFUSION` and `CURVES` as SVG and PNG, with reproducible bytes.

    `folder` is created if needed. `history` has one row per epoch; without it there are no curves.
    Raises `MissingExtraError` if matplotlib is not installed. Raises `OutputError` if a file can't
    be written.
    """
    write_text(folder / TABLE, classification_report(metrics))
    drawings = {CONFUSION: metrics_figure(metrics)}
    if quantities := known_quantities(history):
        drawings[CURVES] = curves_figure(history, *quantities)
    for name, drawing in drawings.items():
        write_text(folder / f"{name}.svg", svg(*drawing))
        write_bytes(folder / f"{name}.png", png(*drawing))


def metrics_figure(metrics: Metrics) -> Drawing:
    """Plot the confusion matrix of metrics; see `confusion_figure`."""
    title = f"Confusion matrix, {metrics.n:,} images"
    return confusion_figure(metrics.confusion_matrix, metrics.classes, title)


def confusion_figure(
    confusion: Sequence[Sequence[int]],
    classes: Sequence[str],
    title: str = "",
    names: tuple[str, str] = ("predicted class", "true class"),
) -> Drawing:
    """Plot a confusion matrix with counts and percentages of the true class.

    Rows are true classes, columns predicted ones; `names` are the titles of the axes.
    """
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
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
        axes.set(xlabel=names[0], ylabel=names[1], aspect="equal", title=title)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return Drawing((side + 0.5 + 0.085 * longest, side + 0.9), draw)


def best_epoch(history: History) -> int | None:
    """Return the first epoch with the lowest validation loss, or None without validation."""
    known = [row for row in history if math.isfinite(row.get("val_loss", math.nan))]
    return int(min(known, key=lambda row: row["val_loss"])["epoch"]) if known else None


def curves_figure(history: History, *quantities: Quantity) -> Drawing:
    """Plot quantities against the epoch, side by side, and mark the best epoch."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(quantities), squeeze=False)[0]
        for axes, quantity in zip(panels, quantities, strict=True):
            _curves(axes, history, quantity)

    return Drawing((4.8 * len(quantities), 3.1), draw)


def known_quantities(history: History) -> tuple[Quantity, ...]:
    """Return the quantities in a history: accuracy, loss, or both in this order."""
    quantities: tuple[Quantity, ...] = ("accuracy", "loss")
    return tuple(
        name
        for name in quantities
        if any(
            math.isfinite(row.get(k, math.nan)) for row in history for k in (name, f"val_{name}")
        )
    )


def reliability_figure(bins: Sequence[ReliabilityBin]) -> Drawing:
    """Plot accuracy against confidence with Wilson's 95% intervals, and the images per bin.

    Below the diagonal the model is overconfident.
    """
    full = [b for b in bins if b.count]
    confidence = np.array([b.confidence for b in full], np.float64)
    accuracy = np.array([b.accuracy for b in full], np.float64)
    correct = [round(share * b.count) for share, b in zip(accuracy, full, strict=True)]
    ends = np.array([wilson(k, b.count) for k, b in zip(correct, full, strict=True)], np.float64)

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="ideal")
        lows, highs = ends.T
        upper.vlines(confidence, lows, highs, colors=BLUE, linewidth=2, alpha=0.35)
        upper.plot(confidence, accuracy, "o-", color=BLUE, markersize=4, label="this model")
        upper.set(ylabel="accuracy", ylim=(-0.03, 1.05), title="Reliability")
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

    return Drawing((4.8, 4.0), draw)


def risk_coverage_figure(
    points: Sequence[CoveragePoint], operating: tuple[float, float] | None = None
) -> Drawing:
    """Plot the error rate against the fraction of images accepted without review.

    `points` are by increasing coverage; `operating` is the coverage and risk at the model's own
    thresholds, marked in the figure.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        coverage, risk = [p.coverage for p in points], [100 * p.risk for p in points]
        axes.plot(coverage, risk, color=BLUE, label="by confidence alone", drawstyle="steps-post")
        # The curve is erratic at low coverage: one early error means a risk of 100%.
        highest = max(r for c, r in zip(coverage, risk, strict=True) if c >= 0.1)
        if operating is not None:
            x, y = operating[0], 100 * operating[1]
            axes.plot(x, y, "D", color=ORANGE, markersize=7, label="at the model's thresholds")
            highest = max(highest, y)
        axes.set(xlabel="coverage (fraction accepted)", ylabel="error rate, %")
        axes.set(xlim=(0, 1.02), ylim=(-0.04 * (highest or 1), 1.35 * (highest or 1)))
        axes.set_title("Risk and coverage")
        axes.legend(fontsize=9, loc="upper center")

    return Drawing((4.8, 4.0), draw)


def class_scores_figure(per_class: Mapping[str, ClassScores]) -> Drawing:
    """Plot precision, recall and F1 of each class with their 95% intervals."""
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
            lows, highs = np.array([row.intervals[name] or _UNKNOWN for row in rows]).T
            heights = np.arange(len(rows)) + shift
            axes.hlines(heights, lows, highs, colors=colour, linewidth=2, alpha=0.55)
            label = "F1" if name == "f1" else name
            axes.plot(values, heights, marker, color=colour, markersize=5, label=label)
        axes.set_yticks(range(len(per_class)), per_class)
        axes.set_ylim(len(per_class) - 0.5, -0.5)
        axes.set(xlabel="score, 95% interval")
        axes.set_xlim(right=1.0 + 0.03 * (1.0 - axes.get_xlim()[0]))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.legend(ncols=3, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))

    return Drawing((4.8, 1.1 + 0.55 * len(per_class)), draw)


def differences_figure(rows: Mapping[str, Difference]) -> Drawing:
    """Plot the second model's lead for each score, with 95% intervals.

    To the right of 0 the second model is better, to the left the first.

    `rows` are by label, from top to bottom.
    """
    values = [math.nan if row.value is None else 100 * row.value for row in rows.values()]
    lows, highs = 100 * np.array([row.interval or _UNKNOWN for row in rows.values()]).T

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
        axes.set_xlabel("second minus first, percentage points")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        labels = ((0.47, "right", "← first better"), (0.53, "left", "second better →"))
        for x, side, text in labels:
            axes.text(x, 1.02, text, ha=side, transform=axes.transAxes, color=INK, fontsize=9)

    return Drawing((4.8, 1.1 + 0.36 * len(rows)), draw)


def learning_curve_figure(curve: Sequence[MeasuredPoint]) -> Drawing:
    """Plot balanced accuracy against the number of training images, on a log scale.

    Each seed is a dot; the line joins their means, with 95% intervals as bars.
    """
    rows = curve_rows(curve)
    images = [row.images for row in rows]
    means = [100 * row.mean for row in rows]
    lows, highs = 100 * np.array([row.interval or _UNKNOWN for row in rows]).T
    dots = [(point.images, 100 * score) for point in curve for score in point.balanced_accuracy]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        axes.plot(*zip(*dots, strict=True), "o", color=ORANGE, markersize=3, label="each seed")
        axes.vlines(images, lows, highs, colors=BLUE, linewidth=2, alpha=0.55)
        axes.plot(images, means, "o-", color=BLUE, markersize=5, label="mean, 95% interval")
        axes.set_xticks(images, [f"{count:,}" for count in images])
        axes.minorticks_off()
        axes.set(xlabel="training images", ylabel="balanced accuracy, %", title="Learning curve")
        axes.legend(fontsize=9, loc="lower right")

    return Drawing((4.8, 3.4), draw)


def _saved(size: tuple[float, float], draw: Callable[[Figure], None], **how: Any) -> bytes:
    return save(Drawing(size, draw), **how)


def _cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    ink = "white" if share > 0.5 else INK if count else "#8a949e"
    x, y = column + 0.5, row + 0.5
    if not count:
        axes.text(x, y, "0", ha="center", va="center", color=ink)
        return
    axes.text(x, y - 0.11, f"{count:,}", ha="center", va="center", color=ink, weight="bold")
    axes.text(x, y + 0.2, percent(share), ha="center", va="center", color=ink, size=8)


def _curves(axes: Axes, history: History, quantity: Quantity) -> None:
    epochs = [row["epoch"] for row in history]
    lines = (
        ("training", quantity, BLUE, "-", "o"),
        ("validation", f"val_{quantity}", ORANGE, "--", "s"),
    )
    for name, key, colour, style, marker in lines:
        values = [row.get(key, math.nan) for row in history]
        if any(map(math.isfinite, values)):
            axes.plot(epochs, values, style, color=colour, marker=marker, markersize=4, label=name)
    best = best_epoch(history)
    if best is not None:
        axes.axvline(best, color=GREY, linewidth=1, linestyle=":", label=f"best epoch: {best}")
    axes.set_title(quantity.capitalize())
    axes.set_xlabel("epoch")
    axes.locator_params("x", integer=True)
    axes.legend(fontsize=9)
