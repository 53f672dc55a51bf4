"""Every single answer of an evaluation, as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hematovision.files import write_text
from hematovision.paths import csv_row

__all__ = ["write_predictions"]


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
    """Write ``predictions.csv``: one row an image, in the order given.

    Parameters
    ----------
    path : Path
        Where to write.
    files : sequence of str, shape (N,)
        The images, relative to their dataset.
    labels : array_like of int, shape (N,)
        True class indices.
    probabilities : array_like of float, shape (N, C)
    classes : sequence of str
    accepted : array_like of bool, shape (N,)
    reasons : sequence of str, optional
        Why an answer goes to review; empty for the others.
    novelty : array_like of float, shape (N,), optional
    groups, labs : sequence of str, optional
        Empty where not known.

    Returns
    -------
    Path
        `path`. The columns are ``path, true, label, correct, confidence, decision, reason, novelty,
        group, lab, p_<class>...``; ``label`` is the answer, as in the table of `classify`.

    Raises
    ------
    OutputError
        If the place cannot be written.
    ValueError
        If one column is shorter than another.
    """
    table = np.asarray(probabilities, np.float64)
    answers, blank = table.argmax(axis=1), [""] * len(table)
    columns = {
        "path": list(files),
        "true": [classes[i] for i in np.asarray(labels)],
        "label": [classes[i] for i in answers],
        "correct": ["yes" if hit else "no" for hit in answers == np.asarray(labels)],
        "confidence": [f"{p:.6f}" for p in table.max(axis=1)],
        "decision": ["accepted" if a else "review" for a in np.asarray(accepted, np.bool_)],
        "reason": blank if reasons is None else list(reasons),
        "novelty": blank if novelty is None else [f"{v:.6g}" for v in np.asarray(novelty)],
        "group": blank if groups is None else list(groups),
        "lab": blank if labs is None else [lab or "" for lab in labs],
        **{f"p_{name}": [f"{p:.6f}" for p in table[:, i]] for i, name in enumerate(classes)},
    }
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(csv_row(columns))
    writer.writerows(map(csv_row, zip(*columns.values(), strict=True)))
    return write_text(path, buffer.getvalue())
