"""The metrics of a detector, from small fields with known results."""

from dataclasses import replace

import numpy as np
import pytest

from detected_fields import CLASSES, field, random_fields
from hematovision.errors import BundleError
from hematovision.evaluation.detection import (
    FoundCells,
    evaluate_fields,
    read_detection_metrics,
    write_detection_metrics,
)

FIRST = field(
    [(50, 50, 0), (90, 50, 0), (50, 90, 1)],
    # a hit, a cell of another class, a false cell, and one below the threshold
    [(50, 50, 0, 0.9), (50, 90, 0, 0.8), (10, 10, 0, 0.7), (90, 50, 0, 0.4)],
)
SECOND = field([(50, 50, 0)], [(50, 50, 0, 0.9), (90, 90, 1, 0.6)], "b")


def test_counts_of_matched_false_and_missed_cells():
    metrics = evaluate_fields([FIRST, SECOND], CLASSES)
    red, white = metrics.per_class["RBC"], metrics.per_class["WBC"]
    assert (red.annotated, red.found, red.matched) == (3, 4, 2)
    assert (red.precision, red.recall) == (0.5, 2 / 3)
    assert red.f1 == pytest.approx(4 / 7)
    assert (white.annotated, white.found, white.matched, white.f1) == (1, 1, 0, 0.0)
    assert red.counts.bias == 0.5
    assert red.counts.mean_absolute_error == 0.5
    assert metrics.n == 2
    assert metrics.mean_f1 == pytest.approx((4 / 7 + 0) / 2)  # no platelets: not in the mean
    assert metrics.per_class["Platelets"].ap50 is None
    # The cell below the threshold extends the curve of average precision.
    assert red.ap50 == pytest.approx((67 + 34 * 3 / 5) / 101)


def test_the_confusion_matrix_ignores_classes_when_matching():
    metrics = evaluate_fields([FIRST, SECOND], CLASSES)
    assert metrics.confusion_matrix == (
        (2, 0, 0, 1),  # RBC: two found, one missed
        (1, 0, 0, 0),  # the WBC found as RBC
        (0, 0, 0, 0),
        (1, 1, 0, 0),  # false cells
    )


def test_classes_that_a_lab_does_not_annotate_are_left_out():
    known = frozenset({0, 1})
    fields = [
        replace(FIRST, lab="one", annotated=known),
        replace(SECOND, lab="two"),
        field([(50, 50, 2)], [(50, 50, 2, 0.9)], "c", lab="two"),
        replace(field([], [(50, 50, 2, 0.9)], "d", lab="one"), annotated=known),  # not evaluated
    ]
    metrics = evaluate_fields(fields, CLASSES)
    assert metrics.not_annotated == {"one": ("Platelets",)}
    assert metrics.per_class["Platelets"].found == 1
    assert metrics.per_class["Platelets"].precision == 1.0
    assert metrics.per_class["Platelets"].counts.fields == 2
    assert metrics.per_lab is not None
    assert set(metrics.per_lab["one"].per_class) == {"RBC", "WBC"}
    assert metrics.per_lab["two"].n == 2
    only = evaluate_fields([fields[0]], CLASSES)
    assert only.classes == ("RBC", "WBC")
    assert only.per_lab is None
    assert np.shape(only.confusion_matrix) == (3, 3)


def test_intervals_hold_the_value_and_widen_with_groups():
    fields = random_fields(40)
    single = evaluate_fields(fields, CLASSES)
    grouped = evaluate_fields(
        [replace(one, group=f"patient {i // 10}") for i, one in enumerate(fields)], CLASSES
    )
    for metrics in (single, grouped):
        for row in metrics.per_class.values():
            for name in ("precision", "recall", "f1", "ap50", "ap50_95"):
                low, high = row.intervals[name]
                assert low <= getattr(row, name) <= high
                assert low < high
        low, high = metrics.intervals["map50"]
        assert low < metrics.map50 < high
    assert single.interval_details.groups == 40
    assert grouped.interval_details.groups == 4
    assert any("4 groups" in warning for warning in grouped.warnings)


def test_a_single_field_has_score_intervals_only():
    metrics = evaluate_fields([FIRST], CLASSES)
    assert metrics.per_class["RBC"].intervals["recall"] is not None
    assert metrics.per_class["RBC"].intervals["ap50"] is None
    assert metrics.intervals["map50"] is None


def test_fields_without_red_boxes_are_a_caveat():
    bare = field([(50, 50, 1)], [(10, 10, 0, 0.9)], "b")
    metrics = evaluate_fields([FIRST, bare], CLASSES)
    assert any("1 of 2 fields have no annotated red cell" in w for w in metrics.warnings)


def test_the_scale_found_is_compared_with_the_annotated_one():
    sizes = [(30.0, 31.0), (30.0, 40.0), (None, 31.0), (30.0, None)]
    fields = [replace(FIRST, diameter=a, annotated_diameter=b) for a, b in sizes]
    scale = evaluate_fields(fields, CLASSES).scale
    assert scale is not None
    assert (scale.fields, scale.none) == (3, 1)
    assert scale.within_10_percent == pytest.approx(1 / 3)
    assert evaluate_fields([FIRST], CLASSES).scale is None


def test_metrics_are_written_and_read_back(tmp_path):
    fields = [replace(one, lab=f"lab {i % 2}") for i, one in enumerate(random_fields(8))]
    metrics = evaluate_fields(fields, CLASSES)
    path = write_detection_metrics(tmp_path / "metrics.json", metrics)
    assert read_detection_metrics(path) == metrics
    path.write_text('{"n": 3}')
    with pytest.raises(BundleError, match="has no metrics of a detector"):
        read_detection_metrics(path)


def test_wrong_arrays_are_an_error():
    with pytest.raises(ValueError, match="at least one field"):
        evaluate_fields([], CLASSES)
    with pytest.raises(ValueError, match="finite"):
        FoundCells.of([[0, 0, np.nan, 1]], [0], 1.0)
    with pytest.raises(ValueError, match="shape"):
        FoundCells(np.zeros((2, 4)), np.zeros(1, int), np.zeros(1), np.ones(1, bool))


def test_a_perfect_average_precision_of_few_cells_is_uncertain():
    fields = [
        field([(50, 50, 0)], [(50, 50, 0, 0.9)], name, lab="one") for name in ("a", "b", "c", "d")
    ]
    red = evaluate_fields(fields, CLASSES).per_class["RBC"]
    assert red.ap50 == 1
    assert red.intervals["ap50"] == red.intervals["recall"]
    assert red.intervals["ap50"][0] < 0.6
