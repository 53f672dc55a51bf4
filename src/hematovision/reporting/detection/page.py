"""``report.html`` of a detector's evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hematovision.evaluation.detection import DetectionMetrics, EvaluatedField
from hematovision.files import write_text
from hematovision.reporting.detection.drawing import DrawnField
from hematovision.reporting.detection.figures import drawings
from hematovision.reporting.embedding import data_uri, svg_uri
from hematovision.reporting.plots import svg
from hematovision.reporting.report import ReportFacts, render_page

__all__ = ["BASELINES", "render_detection_report", "write_detection_report"]

BASELINES = {"watershed": "Watershed", "area": "Stained area"}


def write_detection_report(
    folder: Path,
    metrics: DetectionMetrics,
    facts: ReportFacts,
    fields: Sequence[EvaluatedField],
    worst: Sequence[DrawnField] = (),
) -> Path:
    """Write ``report.html`` into `folder` and return its path.

    `worst` are the fields to show. Raises `MissingExtraError` if matplotlib or Jinja2 is not
    installed. Raises `OutputError` if the file can't be written.
    """
    page = render_detection_report(metrics, facts, fields, worst)
    return write_text(folder / "report.html", page)


def render_detection_report(
    metrics: DetectionMetrics,
    facts: ReportFacts,
    fields: Sequence[EvaluatedField],
    worst: Sequence[DrawnField] = (),
) -> str:
    """Return the content of ``report.html``; parameters as in `write_detection_report`."""
    figures = drawings(metrics, fields)
    return render_page(
        "detection",
        facts,
        (*(metrics.per_lab or ()), *{one.lab for one in fields}, *facts.labs),
        m=metrics,
        figures={name: svg_uri(svg(*figure)) for name, figure in figures.items()},
        contenders=_contenders(metrics),
        worst=[(one, data_uri(one.image)) for one in worst],
    )


def _contenders(metrics: DetectionMetrics) -> list[dict[str, Any]]:
    """Return the rows of the table of baselines, the detector first."""
    rows: list[dict[str, Any]] = [
        {
            "name": "This detector",
            "rule": "",
            "model": True,
            "mean_f1": metrics.mean_f1,
            "classes": {
                name: (row.f1, row.intervals.get("f1"), row.counts.mean_absolute_error)
                for name, row in metrics.per_class.items()
            },
        }
    ]
    for key, baseline in metrics.baselines.items():
        scores = baseline.scores
        known = {} if scores is None else scores.per_class
        rows.append(
            {
                "name": BASELINES.get(key, key),
                "rule": f"{baseline.rule}; fitted on {baseline.fitted_on}",
                "model": False,
                "mean_f1": None if scores is None else scores.mean_f1,
                "classes": {
                    name: (
                        known[name].f1 if name in known else None,
                        known[name].intervals.get("f1") if name in known else None,
                        baseline.counts[name].mean_absolute_error
                        if name in baseline.counts
                        else None,
                    )
                    for name in metrics.per_class
                },
            }
        )
    return rows
