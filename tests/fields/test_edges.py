"""The edge rule: which cells count at the border, and that it is unbiased."""

import numpy as np
import pytest

from hematovision.fields.edges import Circle, apply_edge_rule, check_rule

FRAME = (0.0, 0.0, 100.0, 80.0)
BOXES = np.array(
    [
        (30, 30, 50, 50),  # inside
        (0, 30, 20, 50),  # left
        (30, 0, 50, 20),  # top
        (80, 30, 100, 50),  # right
        (30, 60, 50, 80),  # bottom
        (85, 0, 100, 15),  # top right
        (0, 70, 10, 80),  # bottom left
        (0, 0, 10, 10),  # top left
    ],
    np.float32,
)


@pytest.mark.parametrize(
    ("rule", "counted"),
    [("two", [0, 1, 2, 7]), ("inside", [0]), ("all", [0, 1, 2, 3, 4, 5, 6, 7])],
)
def test_each_rule_counts_its_cells(rule, counted):
    edges = apply_edge_rule(BOXES, FRAME, rule)
    assert np.flatnonzero(edges.counted).tolist() == counted
    assert np.flatnonzero(~edges.on_edge).tolist() == [0]


def test_a_box_within_the_tolerance_touches_the_border():
    box = np.array([(60.0, 30.0, 98.5, 50.0)], np.float32)
    assert apply_edge_rule(box, FRAME, "two").counted.tolist() == [True]
    assert apply_edge_rule(box, FRAME, "two", tolerance=2).counted.tolist() == [False]


def scattered(rng, n, side, radius):
    """Boxes of discs of which some pixel is inside a square frame, clipped to it."""
    middle = rng.uniform(-2 * radius, side + 2 * radius, (n, 2))
    nearest = middle.clip(0, side)
    middle = middle[np.hypot(*(middle - nearest).T) < radius]
    return np.hstack([middle - radius, middle + radius]).clip(0, side).astype(np.float32)


def test_two_edges_are_unbiased_and_the_other_rules_are_not():
    rng = np.random.default_rng(0)
    side, radius, n = 480.0, 54.0, 200_000
    boxes = scattered(rng, n, side, radius)
    expected = n * side**2 / (side + 4 * radius) ** 2
    found = {
        rule: apply_edge_rule(boxes, (0, 0, side, side), rule, tolerance=0).counted.sum() / expected
        for rule in ("two", "inside", "all")
    }
    assert found["two"] == pytest.approx(1, abs=0.005)
    assert found["inside"] < 0.65
    assert found["all"] > 1.4


def test_a_circle_cuts_cells_and_its_lower_right_half_does_not_count():
    circle = Circle(50, 50, 40)
    boxes = np.array(
        [(45, 45, 55, 55), (10, 45, 22, 55), (82, 45, 92, 55), (60, 78, 70, 86)], np.float32
    )
    edges = apply_edge_rule(boxes, (0, 0, 200, 200), "two", circle=circle)
    assert edges.on_edge.tolist() == [False, True, True, True]
    assert edges.counted.tolist() == [True, True, False, False]


def test_two_edges_are_unbiased_in_a_circle():
    rng = np.random.default_rng(1)
    circle, radius, n = Circle(300, 300, 250), 20.0, 100_000
    middle = rng.uniform(0, 600, (n, 2))
    middle = middle[np.hypot(*(middle - 300).T) < circle.radius + radius]
    boxes = np.hstack([middle - radius, middle + radius]).astype(np.float32)
    edges = apply_edge_rule(boxes, (0, 0, 600, 600), "two", tolerance=0, circle=circle)
    expected = n * np.pi * circle.radius**2 / 600**2
    assert edges.counted.sum() / expected == pytest.approx(1, abs=0.01)


def test_an_unknown_rule_is_an_error():
    with pytest.raises(ValueError, match=r"two, inside, all. Received: 'three'"):
        check_rule("three")


def test_no_cells_are_no_error():
    none = np.zeros((0, 4), np.float32)
    assert apply_edge_rule(none, FRAME, "two", circle=Circle(5, 5, 5)).counted.shape == (0,)
