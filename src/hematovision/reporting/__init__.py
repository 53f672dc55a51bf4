"""Reports, model cards and plots."""

from hematovision.reporting.card import CardFacts, model_card
from hematovision.reporting.figure_files import write_figure_files
from hematovision.reporting.pictures import ErrorExample
from hematovision.reporting.plots import (
    best_epoch,
    class_scores_figure,
    confusion_figure,
    curves_figure,
    reliability_figure,
    risk_coverage_figure,
)
from hematovision.reporting.predictions import write_predictions
from hematovision.reporting.report import GALLERY, ReportFacts, render_report, write_report

__all__ = [
    "GALLERY",
    "CardFacts",
    "ErrorExample",
    "ReportFacts",
    "best_epoch",
    "class_scores_figure",
    "confusion_figure",
    "curves_figure",
    "model_card",
    "reliability_figure",
    "render_report",
    "risk_coverage_figure",
    "write_figure_files",
    "write_predictions",
    "write_report",
]
