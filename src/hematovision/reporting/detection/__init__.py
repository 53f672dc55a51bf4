"""The report of a detector's evaluation: page, figures, tables, and fields with outlines."""

from hematovision.reporting.detection.drawing import DrawnField, worst_fields
from hematovision.reporting.detection.figures import write_figures
from hematovision.reporting.detection.page import write_detection_report
from hematovision.reporting.detection.tables import write_cell_table, write_field_table

__all__ = [
    "DrawnField", "worst_fields", "write_cell_table", "write_detection_report",
    "write_field_table", "write_figures",
]  # fmt: skip
