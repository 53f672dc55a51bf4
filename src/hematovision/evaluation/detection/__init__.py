"""Metrics of detectors on annotated fields, with intervals by field.

Average precision (`coco`), one-to-one matching (`matching`), curves (`curves`), counts per field
(`counts`), and all of them together (`metrics`).
"""

from hematovision.evaluation.detection.counts import CountErrors, count_errors
from hematovision.evaluation.detection.fields import EvaluatedField, FoundCells
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
    "FieldBaseline", "FoundCells", "count_errors", "evaluate_fields", "read_detection_metrics",
    "write_detection_metrics",
]  # fmt: skip
