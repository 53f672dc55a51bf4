"""Red cells of BCCD's test without a box."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import missing_boxes
from benchmarks.missing_boxes import (
    RED_CELL,
    Candidate,
    completed,
    read_verdicts,
    unmatched,
    write,
)
from hematovision.evaluation.detection import EvaluatedField, FoundCells

BOXED, FREE, WHITE = (10, 10, 30, 30), (60, 60, 80, 80), (90, 10, 120, 40)


@pytest.fixture
def field() -> EvaluatedField:
    found = FoundCells.of([BOXED, FREE, WHITE], [0, 0, 1], [0.9, 0.8, 0.95], kept=True)
    annotated = np.array([(11, 11, 31, 31)], np.float64)
    return EvaluatedField("one", annotated, np.array([0]), found, frozenset({0, 1, 2}))


def test_candidates_are_kept_red_cells_without_a_box(field):
    assert unmatched(field) == [Candidate("one", FREE, 0.8)]
    unsure = FoundCells.of([FREE], [0], [0.1], kept=False)
    assert unmatched(replace(field, found=unsure)) == []


def test_confirmed_red_cells_complete_the_boxes(field, tmp_path, monkeypatch):
    path = tmp_path / "verdicts.csv"
    other = (100.0, 100.0, 120.0, 120.0)
    write(
        path,
        [
            Candidate("one", FREE, 0.8, RED_CELL),
            Candidate("one", other, 0.6, "again"),
            Candidate("two", other, 0.6, RED_CELL),
        ],
    )
    monkeypatch.setattr(missing_boxes, "VERDICTS", path)

    (whole,) = completed([field])

    assert whole.boxes.tolist() == [[11, 11, 31, 31], list(FREE)]
    assert whole.labels.tolist() == [0, 0]
    assert unmatched(whole) == []


def test_every_candidate_has_a_verdict():
    verdicts = Counter(one.verdict for one in read_verdicts())
    assert set(verdicts) == {RED_CELL, "again", "other", "unclear"}
