"""One page that shows a model's evaluation to people: ``report.html``.

The page is one file. Styles, figures and pictures are inside it, it runs no script, and its content
security policy forbids it to fetch anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hematovision.evaluation.schema import Metrics
from hematovision.files import write_text
from hematovision.model.prediction import headline
from hematovision.reporting import plots, wording
from hematovision.reporting.difference_plots import learning_curve_figure
from hematovision.reporting.learning_curve import MeasuredPoint, curve_rows, curve_sentence
from hematovision.reporting.pages import environment
from hematovision.reporting.pictures import ErrorExample, data_uri, svg_uri

__all__ = ["GALLERY", "ReportFacts", "render_report", "write_report"]

GALLERY = 24
"""The most pictures that a report shows."""

BASELINE_NAMES: Mapping[str, str] = {
    "box_size": "Box size",
    "mean_colour": "Mean colour",
    "most_frequent_class": "Most frequent class",
}


@dataclass(frozen=True)
class ReportFacts:
    """What a report says besides figures.

    Parameters
    ----------
    title : str
        The report's title, for instance ``"BCCD, official split"``.
    model : str
        The evaluated model's name or folder.
    dataset : str
        The dataset's name or folder.
    part : str
        The part evaluated: ``"test"``, ``"all"``.
    created : datetime
        When; now where left out.
    split : mapping of str to mapping of str to int
        For each part of the dataset, the images per class.
    details : mapping of str to str
        Further rows on how the model was made: seed, weights, versions.
    labs : tuple of str
        Labs of the training images, where known.
    notes : tuple of str
        Warnings to show beside those of the metrics.
    curve : tuple of MeasuredPoint
        The learning curve, where it was measured.
    """

    title: str
    model: str
    dataset: str
    part: str
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    split: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    labs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    curve: tuple[MeasuredPoint, ...] = ()


def write_report(
    folder: Path,
    metrics: Metrics,
    facts: ReportFacts,
    *,
    history: Sequence[Mapping[str, float]] = (),
    errors: Sequence[ErrorExample] = (),
) -> Path:
    """Write ``report.html`` into `folder`.

    Parameters
    ----------
    folder : Path
        Created if need be.
    metrics : Metrics
    facts : ReportFacts
    history : sequence of mapping, optional
        One row an epoch: ``epoch``, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``.
    errors : sequence of ErrorExample, optional
        The most confident errors, the most confident first; the first 24 are shown.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MissingExtraError
        If matplotlib or Jinja2 is not installed.
    OutputError
        If the place cannot be written.
    """
    page = render_report(metrics, facts, history=history, errors=errors)
    return write_text(folder / "report.html", page)


def render_report(
    metrics: Metrics,
    facts: ReportFacts,
    *,
    history: Sequence[Mapping[str, float]] = (),
    errors: Sequence[ErrorExample] = (),
) -> str:
    """Return the page that `write_report` writes; the parameters are the same."""
    labs = (*(metrics.per_lab or ()), *facts.labs)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            m=metrics,
            facts=facts,
            drawn=wording.DRAWN if wording.are_synthetic(labs) else None,
            not_a_device=wording.NOT_A_DEVICE,
            best_epoch=plots.best_epoch(history),
            epochs=len(history),
            curve=_curve(facts.curve),
            figures=_figures(metrics, history, facts.curve),
            contenders=_contenders(metrics),
            errors=[_shown(picture) for picture in errors[:GALLERY]],
        )
    )


def _shown(picture: ErrorExample) -> tuple[ErrorExample, str, str | None, str]:
    overlay = None if picture.overlay is None else data_uri(picture.overlay)
    return picture, data_uri(picture.image), overlay, headline(picture.said, picture.reason)


def _curve(curve: Sequence[MeasuredPoint]) -> dict[str, Any] | None:
    if not curve:
        return None
    seeds = len(curve[0].balanced_accuracy)
    return {"rows": curve_rows(curve), "sentence": curve_sentence(curve), "seeds": seeds}


def _figures(
    metrics: Metrics, history: Sequence[Mapping[str, float]], curve: Sequence[MeasuredPoint]
) -> dict[str, str]:
    answered = metrics.accuracy_accepted
    operating = None if answered is None else (1 - metrics.review_rate, 1 - answered)
    drawn = {
        "confusion": plots.confusion_figure(metrics.confusion_matrix, metrics.classes),
        "per_class": plots.class_scores_figure(metrics.per_class),
        "reliability": plots.reliability_figure(metrics.reliability),
        "risk": plots.risk_coverage_figure(metrics.risk_coverage, operating),
    }
    for quantity in plots.known_quantities(history):
        drawn[quantity] = plots.curves_figure(history, quantity)
    if curve:
        drawn["learning_curve"] = learning_curve_figure(curve)
    return {name: svg_uri(figure) for name, figure in drawn.items()}


def _contenders(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the rows of the table in which the model stands beside the baselines."""
    keys = ("balanced_accuracy", "accuracy", "macro_f1")
    rows: list[dict[str, Any]] = [
        {
            "name": "This model",
            "rule": "looks at the cell",
            "scores": [(getattr(metrics, key), metrics.intervals[key]) for key in keys],
            "model": True,
        }
    ]
    for key, name in BASELINE_NAMES.items():
        baseline = metrics.baselines.get(key)
        if baseline is None:
            continue
        partly = f"; on the {baseline.n:,} with a box" if baseline.n < metrics.n else ""
        rows.append(
            {
                "name": name,
                "rule": baseline.rule + partly,
                "scores": [(getattr(baseline, score), None) for score in keys],
                "model": False,
            }
        )
    return rows
