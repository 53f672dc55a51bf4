"""Which of two models is better, in a sentence that claims no more than the images show."""

from __future__ import annotations

from hematovision.evaluation.comparison import Comparison
from hematovision.evaluation.intervals import Interval
from hematovision.reporting.wording import p_value, points, points_interval

__all__ = ["is_shown", "verdict"]

ALPHA = 0.05

_ORDER = ("first", "second")


def is_shown(comparison: Comparison) -> bool:
    """Tell whether one model can be called better.

    The interval of the difference in accuracy must leave out 0, and McNemar's test must refuse
    that both are right equally often: where one model alone tells four images rightly and the
    other none, the interval leaves out 0, and the exact test does not refuse (p = 0.125).
    """
    ends = comparison.differences["accuracy"].interval
    return _leaves_out_zero(ends) and comparison.mcnemar.p < ALPHA


def verdict(comparison: Comparison) -> str:
    """Say in plain words which model is better, by how much, and on how many images.

    For instance: "The second model (b) is better by 1.2 points of accuracy (95 % interval 0.3 to
    2.0): 14 images only it gets right, 5 only the first."
    """
    if not comparison.differing:
        return f"The two models give the same answer for each of the {comparison.n:,} images."
    gap = comparison.differences["accuracy"]
    value = gap.value or 0.0
    if value == 0.0:
        return (
            "No difference can be shown: both are right equally often (95 % interval of the "
            f"difference {points_interval(gap.interval)} points); {_alone(comparison, 1)}."
        )
    ahead = int(value > 0)
    model = f"he {_ORDER[ahead]} model ({comparison.models[ahead]}) is"
    size = f"{points(abs(value), sign=False)} points of accuracy"
    ends = _seen_from(ahead, gap.interval)
    if is_shown(comparison):
        claim = f"T{model} better by {size} (95 % interval {ends})"
        return f"{claim}: {_alone(comparison, ahead)}.{_reservation(comparison, ahead)}"
    doubt = f"but the 95 % interval is {ends}"
    if _leaves_out_zero(gap.interval):
        doubt = f"but so few images tell little (McNemar's {p_value(comparison.mcnemar.p)})"
    return (
        f"No difference can be shown: t{model} {size} ahead, {doubt}; {_alone(comparison, ahead)}."
    )


def _alone(comparison: Comparison, ahead: int) -> str:
    """Count the images that one model alone tells rightly, those of the model ahead first."""
    counts = (comparison.agreement.only_first, comparison.agreement.only_second)
    images = "image" if counts[ahead] == 1 else "images"
    return (
        f"{counts[ahead]:,} {images} only the {_ORDER[ahead]} gets right, {counts[1 - ahead]:,} "
        f"only the {_ORDER[1 - ahead]}"
    )


def _reservation(comparison: Comparison, ahead: int) -> str:
    """Say so where the classes, counted alike, speak for the other model."""
    gap = comparison.differences["balanced_accuracy"]
    other = (gap.value or 0.0) * (1 if ahead else -1)
    if other >= 0:
        return ""
    shown = "" if _leaves_out_zero(gap.interval) else "; that is not certain"
    return (
        f" But where every class counts alike the {_ORDER[1 - ahead]} is ahead by "
        f"{points(-other, sign=False)} points of balanced accuracy (95 % interval "
        f"{_seen_from(1 - ahead, gap.interval)}){shown}."
    )


def _seen_from(ahead: int, ends: Interval | None) -> str:
    """Write the interval of how far one model is ahead of the other."""
    if ends is None or ahead:
        return points_interval(ends)
    return points_interval((-ends[1], -ends[0]))


def _leaves_out_zero(ends: Interval | None) -> bool:
    return ends is not None and not ends[0] <= 0.0 <= ends[1]
