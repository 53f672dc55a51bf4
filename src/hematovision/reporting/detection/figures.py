"""Figures of a detector's evaluation: precision and recall, FROC, agreement of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hematovision.evaluation.detection import (
    ClassDetection,
    DetectionMetrics,
    EvaluatedField,
)
from hematovision.evaluation.detection.curves import RECALLS
from hematovision.fields.rows import CELL_CLASSES
from hematovision.figures import BLUE, GREEN, GREY, ORANGE, Drawing
from hematovision.files import write_bytes, write_text
from hematovision.reporting.plots import png, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "agreement_figure", "drawings", "froc_figure", "precision_figure",
           "write_figures"]  # fmt: skip

FIGURES = ("precision_recall", "froc", "count_agreement")
"""The names of the figures in the output folder, each as SVG and PNG."""

_STYLES = {"RBC": (BLUE, "-"), "WBC": (GREEN, "--"), "Platelets": (ORANGE, "-.")}
_MOST_FALSE = 16  # cells per field, the end of the FROC's axis

PerClass = Mapping[str, ClassDetection]


def write_figures(
    folder: Path, metrics: DetectionMetrics, fields: Sequence[EvaluatedField]
) -> None:
    """Write `FIGURES` as SVG and PNG into `folder`.

    Raises `MissingExtraError` if matplotlib is not installed, `OutputError` if a file can't be
    written.
    """
    for name, drawing in drawings(metrics, fields).items():
        write_text(folder / f"{name}.svg", svg(*drawing))
        write_bytes(folder / f"{name}.png", png(*drawing))


def drawings(metrics: DetectionMetrics, fields: Sequence[EvaluatedField]) -> dict[str, Drawing]:
    """Return the figures by name."""
    return {
        "precision_recall": precision_figure(metrics.per_class),
        "froc": froc_figure(metrics.per_class),
        "count_agreement": agreement_figure(metrics.per_class, fields),
    }


def precision_figure(per_class: PerClass) -> Drawing:
    """Plot precision against recall at an overlap of 0.5."""
    rows = {name: row for name, row in per_class.items() if row.ap50 is not None}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, row in rows.items():
            colour, style = _STYLES[name]
            label = f"{name}: {row.ap50:.3f}"
            axes.plot(RECALLS, row.precision_curve, style, color=colour, label=label)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        axes.set_title("Precision and recall, IoU 0.5")
        axes.legend(fontsize=9, loc="lower left", title="average precision")

    return Drawing((4.8, 3.6), draw)


def froc_figure(per_class: PerClass) -> Drawing:
    """Plot the sensitivity against false cells per field."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, row in per_class.items():
            if row.froc is None:
                continue
            colour, style = _STYLES[name]
            points = [(0.0, 0.0), *row.froc.curve]
            points.append((_MOST_FALSE, points[-1][1]))  # the same when all found cells are used
            axes.step(*np.array(points).T, style, where="post", color=colour, label=name)
        axes.set_xscale("symlog", linthresh=0.125)
        axes.set_xticks([0, 0.125, 0.5, 1, 2, 4, 8], ["0", "1/8", "1/2", "1", "2", "4", "8"])
        axes.set(xlabel="false cells per field", ylabel="sensitivity")
        axes.set(xlim=(0, _MOST_FALSE), ylim=(0, 1.02))
        axes.set_title("FROC, by centre distance")
        axes.legend(fontsize=9, loc="lower right")

    return Drawing((4.8, 3.6), draw)


def agreement_figure(per_class: PerClass, fields: Sequence[EvaluatedField]) -> Drawing:
    """Plot found minus annotated cells against their mean, per field (Bland & Altman 1986)."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(per_class), squeeze=False)[0]
        for axes, (name, row) in zip(panels, per_class.items(), strict=True):
            _agreement(axes, name, row, fields)
        panels[0].set_ylabel("found - annotated")

    return Drawing((1.0 + 3.0 * max(1, len(per_class)), 3.2), draw)


def _agreement(
    axes: Axes, name: str, row: ClassDetection, fields: Sequence[EvaluatedField]
) -> None:
    index = CELL_CLASSES.index(name)
    known = [one for one in fields if index in one.annotated]
    found = np.array([one.found.count(index) for one in known])
    annotated = np.array([len(one.boxes_of(index)) for one in known])
    # Many fields have the same counts: the area of a dot is their number.
    points, times = np.unique(
        np.stack([(found + annotated) / 2, found - annotated]), axis=1, return_counts=True
    )
    axes.scatter(
        points[0], points[1], s=10 + 6 * np.sqrt(times), color=_STYLES[name][0], alpha=0.6, lw=0
    )
    axes.axhline(row.counts.bias, color=GREY, linewidth=1.5)
    for limit in row.counts.limits or ():
        axes.axhline(limit, color=GREY, linewidth=1, linestyle="--")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -1.5), max(high, 1.5))  # differences are whole cells
    axes.locator_params(axis="y", integer=True)
    axes.set_title(name)
    axes.set_xlabel("mean of both, cells per field")
