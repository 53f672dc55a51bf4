"""How well a model does: metrics with intervals and baselines, figures, the report and the card.

>>> from hematovision.evaluation import evaluate
>>> metrics = evaluate([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["RBC", "WBC"],
...                    accepted=[True, True, False])
>>> metrics.errors, metrics.balanced_accuracy, metrics.accuracy_accepted
(1, 0.75, 1.0)
"""

from hematovision.evaluation.baselines import Baseline, TrainingPart, mean_colours
from hematovision.evaluation.calibration import CoveragePoint, ReliabilityBin
from hematovision.evaluation.card import CardFacts, model_card
from hematovision.evaluation.figure_files import write_figure_files
from hematovision.evaluation.metrics import evaluate, most_confident_errors
from hematovision.evaluation.pictures import ErrorPicture
from hematovision.evaluation.plots import (
    best_epoch,
    class_scores_figure,
    confusion_figure,
    curves_figure,
    reliability_figure,
    risk_coverage_figure,
)
from hematovision.evaluation.predictions import write_predictions
from hematovision.evaluation.report import GALLERY, ReportFacts, render_report, write_report
from hematovision.evaluation.schema import (
    ClassScores,
    IntervalDetails,
    LabScores,
    Metrics,
    read_metrics,
    write_metrics,
)

__all__ = [
    "GALLERY",
    "Baseline",
    "CardFacts",
    "ClassScores",
    "CoveragePoint",
    "ErrorPicture",
    "IntervalDetails",
    "LabScores",
    "Metrics",
    "ReliabilityBin",
    "ReportFacts",
    "TrainingPart",
    "best_epoch",
    "class_scores_figure",
    "confusion_figure",
    "curves_figure",
    "evaluate",
    "mean_colours",
    "model_card",
    "most_confident_errors",
    "read_metrics",
    "reliability_figure",
    "render_report",
    "risk_coverage_figure",
    "write_figure_files",
    "write_metrics",
    "write_predictions",
    "write_report",
]
