"""The CSV tables of an evaluation: ``predictions.csv`` and ``classification_report.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.evaluation.metrics import Metrics
from hematovision.files import write_text
from hematovision.paths import csv_text

__all__ = ["REPORT_COLUMNS", "classification_report", "write_predictions"]

REPORT_COLUMNS = ("class", "precision", "recall", "f1-score", "support")


def classification_report(metrics: Metrics) -> str:
    """Return ``classification_report.csv``: a row per class, the accuracy and two averages.

    Equal to ``sklearn.metrics.classification_report(..., zero_division=0)``: undefined scores are
    0 and count in the averages. ``metrics.json`` excludes them instead.
    """
    confusion = np.asarray(metrics.confusion_matrix, np.float64)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    correct = np.diagonal(confusion)
    scores = np.stack(
        [
            _divided(correct, predicted),
            _divided(correct, support),
            _divided(2 * correct, support + predicted),
        ],
        axis=1,
    )
    total = support.sum()
    rows: list[list[object]] = [
        [name, *map(_number, row), int(n)]
        for name, row, n in zip(metrics.classes, scores, support, strict=True)
    ]
    rows += [
        ["accuracy", "", "", _number(correct.sum() / total), int(total)],
        ["macro avg", *map(_number, scores.mean(axis=0)), int(total)],
        ["weighted avg", *map(_number, support @ scores / total), int(total)],
    ]
    return csv_text((REPORT_COLUMNS, *rows))


def write_predictions(
    path: Path,
    files: Sequence[str],
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    accepted: ArrayLike,
    reasons: Sequence[str] | None = None,
    novelty: ArrayLike | None = None,
    groups: Sequence[str] | None = None,
    labs: Sequence[str | None] | None = None,
) -> Path:
    """Write ``predictions.csv``: one row per image, in the given order.

    The columns are ``path, true, label, correct, confidence, decision, reason, novelty, group, lab,
    p_<class>...``; ``label`` is the predicted class, as in the table of `classify`. `files` are
    relative to their dataset; `labels` are true class indices, shape (N,); `probabilities` have
    shape (N, C). Returns `path`. Raises `OutputError` if the file can't be written. Raises
    `ValueError` if columns have different lengths.
    """
    table = np.asarray(probabilities, np.float64)
    predicted, blank = table.argmax(axis=1), [""] * len(table)
    columns = {
        "path": list(files),
        "true": [classes[i] for i in np.asarray(labels)],
        "label": [classes[i] for i in predicted],
        "correct": ["yes" if hit else "no" for hit in predicted == np.asarray(labels)],
        "confidence": [f"{p:.6f}" for p in table.max(axis=1)],
        "decision": ["accepted" if a else "review" for a in np.asarray(accepted, np.bool_)],
        "reason": blank if reasons is None else list(reasons),
        "novelty": blank if novelty is None else [f"{v:.6g}" for v in np.asarray(novelty)],
        "group": blank if groups is None else list(groups),
        "lab": blank if labs is None else [lab or "" for lab in labs],
        **{f"p_{name}": [f"{p:.6f}" for p in table[:, i]] for i, name in enumerate(classes)},
    }
    return write_text(path, csv_text((tuple(columns), *zip(*columns.values(), strict=True))))


def _divided(counts: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(counts, of, out=np.zeros_like(counts), where=of > 0)


def _number(value: float) -> str:
    return f"{value:.6f}"
