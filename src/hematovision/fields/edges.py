"""The edge rule: which of the cells at the border of a field count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["EDGE_RULES", "Circle", "EdgeRule", "Edges", "Frame", "apply_edge_rule", "check_rule"]

EdgeRule: TypeAlias = Literal["two", "inside", "all"]
EDGE_RULES: tuple[EdgeRule, ...] = get_args(EdgeRule)

Frame: TypeAlias = tuple[float, float, float, float]
"""``(x_min, y_min, x_max, y_max)`` of a field in pixels."""


@dataclass(frozen=True)
class Circle:
    """The part of a field that a round eyepiece shows, in pixels."""

    x: float
    y: float
    radius: float

    def distance(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how far from the centre each box reaches, as if its cell were an ellipse."""
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([self.x, self.y], np.float32)
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        away = np.maximum(np.hypot(*middle.T), 1e-6)
        # the half-width of an axis-parallel ellipse along a direction
        reach = np.hypot(*(half * middle / away[:, None]).T)
        return np.asarray(away + reach, np.float32)


class Edges(NamedTuple):
    """Two flags for each of N cells."""

    on_edge: NDArray[np.bool_]  # whether the border cuts the cell
    counted: NDArray[np.bool_]  # whether the cell counts


def check_rule(rule: str) -> EdgeRule:
    """Return `rule`; raise `ValueError` if there is no such edge rule."""
    for known in EDGE_RULES:
        if rule == known:
            return known
    raise ValueError(f"`edges` must be one of {', '.join(EDGE_RULES)}. Received: {rule!r}")


def apply_edge_rule(
    boxes: NDArray[np.float32],
    frame: Frame,
    rule: EdgeRule,
    *,
    tolerance: float = 1.0,
    circle: Circle | None = None,
) -> Edges:
    """Return which cells the border cuts, and which count.

    A field cuts the cells at its border: counting all of them counts too many cells for its area,
    and counting none of them too few. With the rule ``two``, a cell that touches the right or the
    lower border does not count, and one that touches only the left or the upper border does. Each
    cell then counts in exactly one of the fields that tile a smear, so the count per area is
    unbiased (Gundersen 1977, "Notes on the estimation of the numerical density of arbitrary
    profiles: the edge effect", J. Microscopy 111:219-223). ``inside`` counts the cells that touch
    no border, ``all`` every cell.

    In a circle, the border is that of the circle too. Its lower right half, seen from the centre
    in the direction (1, 1), takes the role of the right and lower border.

    Parameters
    ----------
    boxes : ndarray of float32, shape (N, 4)
        ``x_min, y_min, x_max, y_max`` in pixels.
    frame : tuple of float
        The border.
    rule : {"two", "inside", "all"}
    tolerance : float
        A box this close to the border, in pixels, touches it.
    circle : Circle, optional
        The visible part of the field.
    """
    x0, y0, x1, y1 = frame
    low = (boxes[:, 0] <= x0 + tolerance) | (boxes[:, 1] <= y0 + tolerance)
    high = (boxes[:, 2] >= x1 - tolerance) | (boxes[:, 3] >= y1 - tolerance)
    if circle is not None:
        cut = circle.distance(boxes) >= circle.radius - tolerance
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([circle.x, circle.y], np.float32)
        lower_right = middle.sum(axis=1) > 0
        low, high = low | (cut & ~lower_right), high | (cut & lower_right)
    on_edge = low | high
    counted = {"two": ~high, "inside": ~on_edge, "all": np.ones(len(boxes), np.bool_)}[rule]
    return Edges(on_edge, counted)
