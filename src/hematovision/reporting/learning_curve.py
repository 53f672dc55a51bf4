"""Learning curves: balanced accuracy against the number of training images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from hematovision.intervals import Interval
from hematovision.reporting.wording import points, points_interval

__all__ = ["CurveRow", "MeasuredPoint", "curve_rows", "curve_sentence", "seeds_interval"]

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5th percentiles of Student's t with 1, 2, ... 9 degrees of freedom."""


class MeasuredPoint(Protocol):
    """The results of training on a number of images, once for each seed."""

    @property
    def images(self) -> int:
        """Training images."""

    @property
    def balanced_accuracy(self) -> tuple[float, ...]:
        """One value per seed, in the same order at every point."""

    @property
    def per_class(self) -> tuple[int, ...]:
        """Training images per class; may be empty."""


@dataclass(frozen=True)
class CurveRow:
    """A row of the learning curve's table."""

    images: int  # training images
    per_class: tuple[int, ...]
    mean: float  # mean balanced accuracy over seeds
    # 95% interval of the mean (`seeds_interval`). It covers the choice of images and initial
    # weights, not the uncertainty from the evaluated images.
    interval: Interval | None
    gain: float | None = None  # difference from the previous row
    # 95% interval of the gain, from the differences seed by seed
    gain_interval: Interval | None = None


def seeds_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's 95% interval of a mean over seeds.

    None for fewer than two values, or if all are equal. For more than ten values, the normal
    distribution's 1.96 replaces Student's t.
    """
    n = len(values)
    if n < 2 or min(values) == max(values):
        return None
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = (T_975[n - 2] if n - 2 < len(T_975) else 1.96) * deviation / math.sqrt(n)
    return mean - half, mean + half


def curve_rows(curve: Sequence[MeasuredPoint]) -> tuple[CurveRow, ...]:
    """Return the rows of the table: scores per number of images, and gains over the row before."""
    rows = []
    for before, point in zip((None, *curve), curve, strict=False):
        scores = point.balanced_accuracy
        mean, ends = sum(scores) / len(scores), seeds_interval(scores)
        within = ends and (max(0.0, ends[0]), min(1.0, ends[1]))
        gain, gain_interval = None, None
        if before is not None and len(before.balanced_accuracy) == len(scores):
            gains = [b - a for a, b in zip(before.balanced_accuracy, scores, strict=True)]
            gain, gain_interval = sum(gains) / len(gains), seeds_interval(gains)
        row = CurveRow(point.images, point.per_class, mean, within, gain, gain_interval)
        rows.append(row)
    return tuple(rows)


def curve_sentence(curve: Sequence[MeasuredPoint]) -> str:
    """Summarise the last step of the curve, and whether more labelled images are likely to help.

    For instance: "Doubling from 200 to 400 images gained 0.8 points of balanced accuracy (95%
    interval 0.1 to 1.5)."
    """
    steps = [(a, b) for a, b in pairwise(curve_rows(curve)) if b.gain is not None]
    if not steps:
        return "A learning curve needs at least two numbers of training images."
    before, last = steps[-1]
    gain, ends = last.gain or 0.0, last.gain_interval
    doubled = 1.9 <= last.images / before.images <= 2.1
    step = f"{'Doubling' if doubled else 'Going'} from {before.images:,} to {last.images:,} images"
    change = f"{'gained' if gain >= 0 else 'lost'} {points(abs(gain), sign=False)} points"
    shown = ends if gain >= 0 or ends is None else (-ends[1], -ends[0])
    doubt = "" if shown is None else f" (95% interval {points_interval(shown)})"
    summary = f"{step} {change} of balanced accuracy{doubt}."
    if ends is not None and ends[0] > 0:
        return (
            f"{summary} The curve is still rising: more labelled images are likely to help, though "
            "each doubling usually gains less than the one before."
        )
    return (
        f"{summary} This step shows no significant gain: more images of the same kind may bring "
        "little. Images from other labs, or of the classes with most errors, often help more."
    )
