"""The CSV tables of a detector's evaluation: ``fields.csv`` and ``predictions.csv``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hematovision.evaluation.detection import EvaluatedField, match_counts
from hematovision.evaluation.detection.matching import match_centres
from hematovision.files import write_text
from hematovision.paths import csv_text, escape_name

__all__ = ["matched_cells", "write_cell_table", "write_field_table"]

_SIDES = ("x_min", "y_min", "x_max", "y_max")


def write_field_table(
    path: Path, fields: Sequence[EvaluatedField], classes: Sequence[str], flags: Sequence[str]
) -> Path:
    """Write ``fields.csv``: a row per field.

    The columns are ``field, lab, group``; for each class ``annotated_<class>``, ``found_<class>``
    and ``matched_<class>``, empty where the lab does not annotate it; ``rbc_diameter_px`` as found
    and as annotated, and ``flags`` of the analysis. Raises `OutputError` if the file can't be
    written.
    """
    counts = [f"{what}_{name}" for name in classes for what in ("annotated", "found", "matched")]
    scale = ("rbc_diameter_px", "annotated_rbc_diameter_px")
    rows = (
        (
            escape_name(one.name),
            escape_name(one.lab),
            escape_name(one.group),
            *(value for i in range(len(classes)) for value in _counts(one, i)),
            *(_number(value) for value in (one.diameter, one.annotated_diameter)),
            flag,
        )
        for one, flag in zip(fields, flags, strict=True)
    )
    return write_text(path, csv_text((("field", "lab", "group", *counts, *scale, "flags"), *rows)))


def write_cell_table(path: Path, fields: Sequence[EvaluatedField], classes: Sequence[str]) -> Path:
    """Write ``predictions.csv``: a row per found cell and per missed one.

    The columns are ``field, result, label, confidence``, and the box in pixels of the field;
    ``result`` is ``correct``, ``false`` or ``missed``. Raises `OutputError` if the file can't be
    written.
    """
    rows = (
        (escape_name(one.name), result, classes[label], confidence, *box)
        for one in fields
        for result, label, confidence, box in matched_cells(one)
    )
    return write_text(path, csv_text((("field", "result", "label", "confidence", *_SIDES), *rows)))


def matched_cells(one: EvaluatedField) -> Iterator[tuple[str, int, str, tuple[str, ...]]]:
    """Yield result, class index, confidence and box of every found or missed cell, as text.

    Classes that the lab does not annotate are left out.
    """
    for index in sorted(one.annotated):
        found, annotated = one.found.only_kept().of_class(index), one.boxes_of(index)
        matches = match_centres(found.boxes, found.confidence, annotated)
        for box, confidence, match in zip(found.boxes, found.confidence, matches, strict=True):
            result = "correct" if match >= 0 else "false"
            yield result, index, f"{confidence:.6f}", tuple(f"{side:.2f}" for side in box)
        for missed in sorted(set(range(len(annotated))) - set(matches.tolist())):
            yield "missed", index, "", tuple(f"{side:.2f}" for side in annotated[missed])


def _counts(one: EvaluatedField, index: int) -> tuple[object, object, object]:
    if index not in one.annotated:
        return "", "", ""
    matched, found, annotated = match_counts(one, index)
    return annotated, found, matched


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
