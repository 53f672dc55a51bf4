"""One-to-one matching of found to annotated cells."""

import numpy as np
import pytest

from detected_fields import box
from hematovision.evaluation.detection.matching import match_centres, match_overlaps, overlaps


def centres(found, confidence, annotated):
    return match_centres(
        np.array(found, float).reshape(-1, 4),
        np.array(confidence, float),
        np.array(annotated, float).reshape(-1, 4),
    ).tolist()


def test_a_centre_within_half_the_mean_side_matches():
    assert centres([box(104.99, 100)], [1], [box(100, 100)]) == [0]
    assert centres([box(105.01, 100)], [1], [box(100, 100)]) == [-1]
    # 20 x 10: the mean side is 15, whatever the direction
    assert centres([box(100, 107.4)], [1], [[90, 95, 110, 105]]) == [0]
    assert centres([box(107.6, 100)], [1], [[90, 95, 110, 105]]) == [-1]


def test_the_reach_is_that_of_the_annotated_cell():
    assert centres([box(108, 100, side=60)], [1], [box(100, 100)]) == [-1]
    assert centres([box(108, 100, side=2)], [1], [box(100, 100, side=60)]) == [0]


def test_the_most_confident_cell_is_matched_first_and_each_cell_once():
    found = [box(100, 100), box(102, 100)]
    assert centres(found, [0.4, 0.9], [box(100, 100)]) == [-1, 0]
    assert centres(found, [0.9, 0.4], [box(100, 100)]) == [0, -1]
    assert centres(found, [0.5, 0.5], [box(100, 100)]) == [0, -1]


def test_a_cell_takes_the_nearest_that_is_left():
    annotated = [box(100, 100), box(104, 100)]
    assert centres([box(103, 100)], [1], annotated) == [1]
    # The second is nearer to the cell that is taken; it gets the other one, which is in reach.
    assert centres([box(103, 100), box(104, 100)], [0.9, 0.8], annotated) == [1, 0]


def test_nothing_found_or_nothing_annotated():
    assert centres([], [], [box(1, 1)]) == []
    assert centres([box(1, 1)], [1], []) == [-1]
    assert (
        match_overlaps(np.zeros((1, 4)), np.ones(1), np.zeros((0, 4)), np.array([0.5])).sum() == 0
    )


def test_overlaps_are_intersections_over_unions():
    first = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    second = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]], float)
    assert overlaps(first, second) == pytest.approx(np.array([[1 / 3, 0, 0], [0, 0, 0]]))


def test_an_overlap_match_needs_the_threshold():
    found, annotated = np.array([box(102, 100)]), np.array([box(100, 100)])  # 80 / 120
    matched = match_overlaps(found, np.ones(1), annotated, np.array([0.5, 2 / 3, 0.7]))
    assert matched.tolist() == [[True], [True], [False]]
