"""``report.html``: the evaluation of a model on one page.

Pages are single files with embedded styles, figures and images. They contain no scripts, and the
content security policy forbids loading anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation.metrics import Metrics
from hematovision.extras import needs_extra
from hematovision.files import write_text
from hematovision.model.prediction import NOT_RECOGNISED, headline
from hematovision.reporting import plots, wording
from hematovision.reporting.embedding import data_uri, svg_uri
from hematovision.reporting.learning_curve import MeasuredPoint, curve_rows, curve_sentence

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "BASELINE_NAMES", "GALLERY", "ErrorExample", "ReportFacts", "render_page", "render_report",
    "write_report",
]  # fmt: skip

GALLERY = 24
"""Maximum number of images in a gallery."""

BASELINE_NAMES: Mapping[str, str] = {
    "box_size": "Box size",
    "mean_colour": "Mean colour",
    "most_frequent_class": "Most frequent class",
}


@dataclass(frozen=True)
class ReportFacts:
    """The contents of a report except the metrics."""

    # the report's title, and the names of the model and the dataset
    title: str
    model: str
    dataset: str
    split: str  # the evaluated split: ``"test"``, ``"all"``
    created: datetime = field(default_factory=lambda: datetime.now(UTC))  # now by default
    # for each split of the dataset, the images per class
    split_sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    # other rows about the model: seed, weights, versions
    details: Mapping[str, str] = field(default_factory=dict)
    labs: tuple[str, ...] = ()  # labs of the training images, if known
    notes: tuple[str, ...] = ()  # caveats, in addition to the warnings of the metrics
    curve: tuple[MeasuredPoint, ...] = ()  # the learning curve, if measured


@dataclass(frozen=True)
class ErrorExample:
    """A misclassified image in a report."""

    image: NDArray[np.uint8] | bytes  # shape (H, W, 3): RGB pixels, or an encoded PNG or JPEG
    # the true and the predicted class
    true: str
    predicted: str
    confidence: float  # the probability of the predicted class
    name: str  # the file name to show
    decision: str = ""  # ``"accepted"``, ``"review"``, or empty if not known
    # shape (H, W, 3): the image with the model's attention map
    overlay: NDArray[np.uint8] | bytes | None = None
    # why it was sent for review (`Prediction.reason`); empty if accepted or not known
    reason: str = ""


def write_report(
    folder: Path,
    metrics: Metrics,
    facts: ReportFacts,
    *,
    history: Sequence[Mapping[str, float]] = (),
    errors: Sequence[ErrorExample] = (),
) -> Path:
    """Write ``report.html`` into `folder`, created if missing, and return its path.

    Rows of `history`, one per epoch, have ``epoch``, ``loss``, ``accuracy``, ``val_loss`` and
    ``val_accuracy``. `errors` has the most confident ones first; up to `GALLERY` are shown. Raises
    `MissingExtraError` if matplotlib or Jinja2 is not installed. Raises `OutputError` if the file
    can't be written.
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
    """Return the content of ``report.html``; parameters as in `write_report`."""
    return render_page(
        "report",
        facts,
        (*(metrics.per_lab or ()), *facts.labs),
        m=metrics,
        best_epoch=plots.best_epoch(history),
        epochs=len(history),
        curve=_curve(facts.curve),
        figures=_figures(metrics, history, facts.curve),
        contenders=_contenders(metrics),
        errors=[_shown(example) for example in errors[:GALLERY]],
    )


def render_page(template: str, facts: ReportFacts, labs: Sequence[str], **content: Any) -> str:
    """Render ``<template>.html.j2``; MissingExtraError if Jinja2 is not installed.

    The images' `labs` decide whether the page is marked as synthetic; `content` has the template's
    other variables.
    """
    return (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(
            facts=facts,
            synthetic=wording.SYNTHETIC if wording.are_synthetic(labs) else None,
            not_a_device=wording.NOT_A_DEVICE,
            not_recognised=NOT_RECOGNISED,
            **content,
        )
    )


def _environment() -> Environment:
    with needs_extra("train", "Writing reports"):
        from jinja2 import Environment, PackageLoader, StrictUndefined
    templates = Environment(
        loader=PackageLoader("hematovision.reporting"),
        autoescape=True,  # class names and paths are untrusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = set(wording.__all__) - {"NOT_A_DEVICE", "SYNTHETIC", "are_synthetic"}
    templates.filters.update({name: getattr(wording, name) for name in filters})
    return templates


def _shown(example: ErrorExample) -> tuple[ErrorExample, str, str | None, str]:
    overlay = None if example.overlay is None else data_uri(example.overlay)
    title = headline(example.predicted, example.reason)
    return example, data_uri(example.image), overlay, title


def _curve(curve: Sequence[MeasuredPoint]) -> dict[str, Any] | None:
    if not curve:
        return None
    seeds = len(curve[0].balanced_accuracy)
    return {"rows": curve_rows(curve), "sentence": curve_sentence(curve), "seeds": seeds}


def _figures(
    metrics: Metrics, history: Sequence[Mapping[str, float]], curve: Sequence[MeasuredPoint]
) -> dict[str, str]:
    accuracy = metrics.accuracy_accepted
    operating = None if accuracy is None else (1 - metrics.review_rate, 1 - accuracy)
    figures = {
        "confusion": plots.confusion_figure(metrics.confusion_matrix, metrics.classes),
        "per_class": plots.class_scores_figure(metrics.per_class),
        "reliability": plots.reliability_figure(metrics.reliability),
        "risk": plots.risk_coverage_figure(metrics.risk_coverage, operating),
    }
    for quantity in plots.known_quantities(history):
        figures[quantity] = plots.curves_figure(history, quantity)
    if curve:
        figures["learning_curve"] = plots.learning_curve_figure(curve)
    return {name: svg_uri(plots.svg(*figure)) for name, figure in figures.items()}


def _contenders(metrics: Metrics) -> list[dict[str, Any]]:
    """Return the rows of the table of baselines, the model first."""
    keys = ("balanced_accuracy", "accuracy", "macro_f1")
    rows: list[dict[str, Any]] = [
        {
            "name": "This model",
            "rule": "",
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
