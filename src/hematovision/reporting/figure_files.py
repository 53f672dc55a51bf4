"""The figures and the classification report of a run folder, as separate files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hematovision.evaluation.schema import Metrics
from hematovision.files import write_bytes, write_text
from hematovision.reporting.classification_report import classification_report
from hematovision.reporting.drawing import Drawing, png, svg
from hematovision.reporting.plots import confusion_drawing, curves_drawing, known_quantities

__all__ = ["CONFUSION", "CURVES", "TABLE", "write_figure_files"]

CONFUSION, CURVES = "confusion_matrix", "accuracy_loss"
TABLE = "classification_report.csv"


def write_figure_files(
    folder: Path, metrics: Metrics, history: Sequence[Mapping[str, float]] = ()
) -> None:
    """Write `TABLE`, and `CONFUSION` and `CURVES` as SVG and PNG.

    The same figures are the same bytes.

    Parameters
    ----------
    folder : Path
        Created if need be.
    metrics : Metrics
    history : sequence of mapping, optional
        One row an epoch, as in `plots.curves_figure`; without it there are no curves.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    OutputError
        If the place cannot be written.
    """
    write_text(folder / TABLE, classification_report(metrics))
    title = f"Confusion matrix, {metrics.n:,} images"
    _write(folder, CONFUSION, confusion_drawing(metrics.confusion_matrix, metrics.classes, title))
    if known_quantities(history):
        _write(folder, CURVES, curves_drawing(history))


def _write(folder: Path, name: str, drawing: Drawing) -> None:
    write_text(folder / f"{name}.svg", svg(*drawing))
    write_bytes(folder / f"{name}.png", png(*drawing))
