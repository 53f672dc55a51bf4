"""Metrics with intervals and baselines.

>>> from hematovision.evaluation import evaluate
>>> metrics = evaluate([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["RBC", "WBC"],
...                    accepted=[True, True, False])
>>> metrics.errors, metrics.balanced_accuracy, metrics.accuracy_accepted
(1, 0.75, 1.0)
"""

from hematovision.evaluation.baselines import Baseline, TrainingSplit, mean_colours
from hematovision.evaluation.calibration import CoveragePoint, ReliabilityBin
from hematovision.evaluation.metrics import (
    ClassScores,
    IntervalDetails,
    LabScores,
    Metrics,
    evaluate,
    most_confident_errors,
    read_metrics,
    write_metrics,
)

__all__ = [
    "Baseline", "ClassScores", "CoveragePoint", "IntervalDetails", "LabScores", "Metrics",
    "ReliabilityBin", "TrainingSplit", "evaluate", "mean_colours", "most_confident_errors",
    "read_metrics", "write_metrics",
]  # fmt: skip
