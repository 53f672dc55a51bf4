"""What a learning curve says to somebody who asks how many images it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from hematovision.evaluation.intervals import Interval
from hematovision.reporting.wording import points, points_interval

__all__ = ["CurveRow", "MeasuredPoint", "curve_rows", "curve_sentence", "seeds_interval"]

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5th percentiles of Student's t with 1, 2, ... 9 degrees of freedom."""


class MeasuredPoint(Protocol):
    """What a number of training images led to, once for each seed."""

    @property
    def images(self) -> int:
        """Training images."""

    @property
    def balanced_accuracy(self) -> tuple[float, ...]:
        """One for each seed, in the same order at every point."""

    @property
    def per_class(self) -> tuple[int, ...]:
        """Training images of each class; may be empty."""


@dataclass(frozen=True)
class CurveRow:
    """One number of training images.

    Parameters
    ----------
    images : int
    per_class : tuple of int
    mean : float
        Balanced accuracy, the mean over the seeds.
    interval : Interval or None
        Of that mean, 95 %; see `seeds_interval`. It tells how much the choice of images and the
        first weights matter; what the number of judged images adds is in the model's own interval.
    gain : float or None
        How much it is above the row before.
    gain_interval : Interval or None
        Of the gain, from the differences seed by seed.
    """

    images: int
    per_class: tuple[int, ...]
    mean: float
    interval: Interval | None
    gain: float | None = None
    gain_interval: Interval | None = None


def seeds_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's 95 % interval of a mean over seeds; None with fewer than two.

    None, too, where all seeds agree to the last digit: that is no proof that others would.

    Parameters
    ----------
    values : sequence of float
        At most ten count as few; beyond, the normal distribution's 1.96 serves.
    """
    n = len(values)
    if n < 2 or min(values) == max(values):
        return None
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    reach = (T_975[n - 2] if n - 2 < len(T_975) else 1.96) * deviation / math.sqrt(n)
    return mean - reach, mean + reach


def curve_rows(curve: Sequence[MeasuredPoint]) -> tuple[CurveRow, ...]:
    """Return the rows of the table: each number of images, and what it gained."""
    rows = []
    for before, point in zip((None, *curve), curve, strict=False):
        scores = point.balanced_accuracy
        mean, ends = sum(scores) / len(scores), seeds_interval(scores)
        within = ends and (max(0.0, ends[0]), min(1.0, ends[1]))
        if before is None or len(before.balanced_accuracy) != len(scores):
            rows.append(CurveRow(point.images, point.per_class, mean, within))
            continue
        gains = [b - a for a, b in zip(before.balanced_accuracy, scores, strict=True)]
        gain = sum(gains) / len(gains)
        row = CurveRow(point.images, point.per_class, mean, within, gain, seeds_interval(gains))
        rows.append(row)
    return tuple(rows)


def curve_sentence(curve: Sequence[MeasuredPoint]) -> str:
    """Say what the last step of the curve gained, and whether more images are worth labelling.

    For instance: "Doubling from 200 to 400 images gained 0.8 points of balanced accuracy (95 %
    interval 0.1 to 1.5)."
    """
    rows = curve_rows(curve)
    steps = [(a, b) for a, b in pairwise(rows) if b.gain is not None]
    if not steps:
        return "There is a single number of images to tell of: too few for a curve."
    before, last = steps[-1]
    gain, ends = last.gain or 0.0, last.gain_interval
    doubled = 1.9 <= last.images / before.images <= 2.1
    step = f"{'Doubling' if doubled else 'Going'} from {before.images:,} to {last.images:,} images"
    change = f"{'gained' if gain >= 0 else 'lost'} {points(abs(gain), sign=False)} points"
    shown = ends if gain >= 0 or ends is None else (-ends[1], -ends[0])
    doubt = "" if shown is None else f" (95 % interval {points_interval(shown)})"
    said = f"{step} {change} of balanced accuracy{doubt}."
    if ends is not None and ends[0] > 0:
        return (
            f"{said} The curve still rises: more labelled images are likely to help, though a "
            "doubling mostly gains less than the one before it."
        )
    return (
        f"{said} No gain can be shown in that step: more images of the same kind may bring little. "
        "Images of other labs, or of the classes with most errors, often bring more."
    )
