"""Metrics of detectors on annotated fields, with intervals by field.

Fields and the matching of their cells (`matching`), average precision and curves (`curves`), counts
per field (`counts`), all of them together (`metrics`), and two simple methods (`baselines`).
"""

from hematovision.evaluation.detection.counts import CountErrors, count_errors
from hematovision.evaluation.detection.matching import (
    EvaluatedField,
    FoundCells,
    match_counts,
)
from hematovision.evaluation.detection.metrics import (
    ClassDetection,
    DetectionMetrics,
    DetectionScores,
    FieldBaseline,
    evaluate_fields,
    read_detection_metrics,
    write_detection_metrics,
)

__all__ = [
    "ClassDetection", "CountErrors", "DetectionMetrics", "DetectionScores", "EvaluatedField",
    "FieldBaseline", "FoundCells", "count_errors", "evaluate_fields", "match_counts",
    "read_detection_metrics", "write_detection_metrics",
]  # fmt: skip
