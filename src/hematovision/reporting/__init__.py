"""Reports, model cards and plots."""

from hematovision.reporting.card import CardFacts, Statements, model_card
from hematovision.reporting.plots import write_figure_files
from hematovision.reporting.report import (
    GALLERY,
    ErrorExample,
    ReportFacts,
    render_report,
    write_report,
)
from hematovision.reporting.tables import write_predictions

__all__ = [
    "GALLERY", "CardFacts", "ErrorExample", "ReportFacts", "Statements", "model_card",
    "render_report", "write_figure_files", "write_predictions", "write_report",
]  # fmt: skip
