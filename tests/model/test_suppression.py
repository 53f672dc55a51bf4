"""Suppression: each cell once, whatever the order, with platelets on red cells kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hematovision.model.suppression import overlapping, suppressed

CLASSES = ("RBC", "WBC", "Platelets")
RED, WHITE, PLATELET = range(3)


def square(x, y, side):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def removed(*cells):
    """Whether each (box, label, confidence) is removed."""
    boxes, labels, scores = zip(*cells, strict=True)
    found = suppressed(
        np.array(boxes, np.float32),
        np.array(scores, np.float32),
        np.array(labels, np.intp),
        classes=CLASSES,
    )
    return found.tolist()


def test_the_less_confident_duplicate_is_removed():
    assert removed((square(20, 20, 36), RED, 0.6), (square(22, 20, 36), RED, 0.9)) == [True, False]


def test_duplicates_of_two_classes_are_one_cell():
    assert removed((square(20, 20, 36), RED, 0.9), (square(21, 20, 36), WHITE, 0.6)) == [
        *(False, True)
    ]


def test_touching_and_overlapping_red_cells_stay():
    assert removed((square(20, 20, 36), RED, 0.9), (square(42, 20, 36), RED, 0.8)) == [False, False]


def test_a_removed_box_removes_no_other():
    cells = [
        (square(20, 20, 36), RED, 0.9),
        (square(28, 20, 36), RED, 0.8),
        (square(36, 20, 36), RED, 0.7),
    ]
    assert removed(*cells) == [False, True, False]


def test_lobes_inside_a_white_cell_are_removed():
    white = (square(50, 50, 70), WHITE, 0.7)
    assert removed(white, (square(45, 50, 34), RED, 0.9)) == [False, True]
    assert removed(white, (square(60, 50, 12), PLATELET, 0.9)) == [False, True]
    assert removed(white, (square(45, 45, 30), WHITE, 0.6)) == [False, True]


def test_a_platelet_in_the_corner_of_a_white_cells_box_stays():
    assert removed((square(50, 50, 70), WHITE, 0.9), (square(80, 80, 10), PLATELET, 0.5)) == [
        *(False, False)
    ]


def test_a_doubtful_white_cell_around_a_certain_red_cell_is_a_clump():
    assert removed((square(50, 50, 70), WHITE, 0.35), (square(45, 50, 36), RED, 0.9)) == [
        *(True, False)
    ]


def test_a_small_platelet_on_a_red_cell_stays_and_a_large_one_does_not():
    red = (square(20, 20, 36), RED, 0.9)
    assert removed(red, (square(24, 20, 12), PLATELET, 0.5)) == [False, False]
    assert removed(red, (square(24, 20, 24), PLATELET, 0.5)) == [False, True]


def test_no_boxes_are_no_error():
    none = np.zeros((0, 4), np.float32)
    assert len(suppressed(none, none[:, 0], np.zeros(0, np.intp), classes=CLASSES)) == 0


BOXES = st.lists(
    st.tuples(
        *(st.integers(0, 120),) * 2,
        *(st.integers(4, 60),) * 2,
        st.integers(0, 2),
        st.integers(1, 1000),
    ),
    min_size=1,
    max_size=40,
    unique=True,
)


def arrays(cells):
    values = np.array(cells, np.float32)
    boxes = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
    return boxes, values[:, 5] / 1001, values[:, 4].astype(np.intp)


@settings(max_examples=60, deadline=None)
@given(BOXES)
def test_pairs_are_those_of_a_comparison_of_all(cells):
    boxes = arrays(cells)[0]
    found = {
        frozenset((int(i), int(j))): float(area)
        for first, second, areas in overlapping(boxes)
        for i, j, area in zip(first, second, areas, strict=True)
    }
    expected = {}
    for i in range(len(boxes)):
        for j in range(i):
            sides = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
            if (sides > 0).all():
                expected[frozenset((i, j))] = float(sides.prod())
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(BOXES, st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_the_order(cells, random):
    boxes, scores, labels = arrays(cells)
    order = list(range(len(cells)))
    random.shuffle(order)
    whole = suppressed(boxes, scores, labels, classes=CLASSES)
    again = suppressed(boxes[order], scores[order], labels[order], classes=CLASSES)
    kept = {tuple(map(float, row)) for row in boxes[~whole]}
    assert {tuple(map(float, row)) for row in boxes[order][~again]} == kept


@settings(max_examples=60, deadline=None)
@given(BOXES)
def test_cells_of_one_class_that_stay_do_not_coincide(cells):
    boxes, scores, _ = arrays(cells)
    labels = np.zeros(len(boxes), np.intp)
    kept = boxes[~suppressed(boxes, scores, labels, classes=CLASSES)]
    areas = (kept[:, 2:] - kept[:, :2]).prod(axis=1)
    for first, second, shared in overlapping(kept):
        assert (shared / (areas[first] + areas[second] - shared) <= 0.5).all()


@pytest.mark.parametrize("n", [5000])
def test_many_boxes_take_bounded_batches(n):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 3000, (n, 2)).astype(np.float32)
    sizes = [len(first) for first, _, _ in overlapping(np.hstack([corner, corner + 36]))]
    assert sum(sizes) > n
    assert len(sizes) < 10
