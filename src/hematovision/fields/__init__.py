"""Field analysis: find every cell of a field, classify it and decide whether it counts.

`analyzer.FieldAnalyzer` does it; import it from its module, since it needs ONNX Runtime and the
rows don't.
"""

from __future__ import annotations

from hematovision.fields.rows import (
    ANALYSIS_SCHEMA,
    CELL_CLASSES,
    CELL_SCHEMA,
    FIELD_SCHEMA,
    AnalysisRow,
    CellRow,
    FieldRow,
    combine,
    parse,
    split,
)

__all__ = [
    "ANALYSIS_SCHEMA", "CELL_CLASSES", "CELL_SCHEMA", "FIELD_SCHEMA", "AnalysisRow", "CellRow",
    "FieldRow", "combine", "parse", "split",
]  # fmt: skip
