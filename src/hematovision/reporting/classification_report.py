"""``classification_report.csv``: precision, recall and F1 as scikit-learn reports them.

The same numbers as ``sklearn.metrics.classification_report(..., zero_division=0)``: a score that is
not defined counts as 0, also in the averages. ``metrics.json`` leaves such scores out instead.
"""

from __future__ import annotations

import csv
import io

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation.schema import Metrics
from hematovision.paths import csv_row

__all__ = ["COLUMNS", "classification_report"]

COLUMNS = ("class", "precision", "recall", "f1-score", "support")


def classification_report(metrics: Metrics) -> str:
    """Return the text of the table, one row for each class, then accuracy and two averages.

    Parameters
    ----------
    metrics : Metrics
        Its confusion matrix is all that counts.
    """
    confusion = np.asarray(metrics.confusion_matrix, np.float64)
    support, predicted, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)
    scores = np.stack(
        [
            _divided(right, predicted),
            _divided(right, support),
            _divided(2 * right, support + predicted),
        ],
        axis=1,
    )
    total = support.sum()
    rows: list[list[object]] = [
        [name, *map(_number, row), int(n)]
        for name, row, n in zip(metrics.classes, scores, support, strict=True)
    ]
    rows += [
        ["accuracy", "", "", _number(right.sum() / total), int(total)],
        ["macro avg", *map(_number, scores.mean(axis=0)), int(total)],
        ["weighted avg", *map(_number, support @ scores / total), int(total)],
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(csv_row(row) for row in rows)
    return buffer.getvalue()


def _divided(counts: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(counts, of, out=np.zeros_like(counts), where=of > 0)


def _number(value: float) -> str:
    return f"{value:.6f}"
