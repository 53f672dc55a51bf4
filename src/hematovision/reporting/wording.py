"""Number formats and notices shared by reports, cards and the CLI."""

from __future__ import annotations

from collections.abc import Iterable

from hematovision.intervals import Interval

__all__ = [
    "NOT_A_DEVICE", "SYNTHETIC", "are_synthetic", "difference", "difference_interval", "interval",
    "number", "p_value", "percent", "points", "points_interval", "score", "score_interval",
    "split_name",
]  # fmt: skip

NOT_A_DEVICE = "For research and teaching. Not a medical device."
SYNTHETIC = "Synthetic images, not patients"

_MISSING = "–"  # noqa: RUF001  an en dash
_SYNTHETIC_LABS = ("synthetic", "phantom")  # "phantom" up to 0.2


def percent(value: float | None) -> str:
    """Format a fraction as a percentage, with enough decimals to never round to 0 or 100.

    0.9937 becomes 99.4%, 0.9996 becomes 99.96%, and only 1 becomes 100%. A relative difference may
    be negative or above 1; it has one decimal.
    """
    if value is None:
        return _MISSING
    if value in {0.0, 1.0}:
        return f"{100 * value:.0f}%"
    if not 0.0 < value < 1.0:
        return f"{100 * value:.1f}%"
    for digits in range(1, 10):
        text = f"{100 * value:.{digits}f}"
        if 0.0 < float(text) < 100.0:
            break
    return f"{text}%"


def interval(ends: Interval | None) -> str:
    """Format an interval of fractions, for instance ``98.8 to 99.9%``."""
    if ends is None:
        return _MISSING
    return f"{percent(ends[0]).removesuffix('%')} to {percent(ends[1])}"


def points(value: float | None, *, sign: bool = True) -> str:
    """Format a difference of fractions in percentage points, for instance ``+1.2``.

    Uses enough decimals to never round to 0: 0.0004 becomes +0.04.
    """
    if value is None:
        return _MISSING
    if value == 0.0:
        return "0.0"
    for digits in range(1, 10):
        text = f"{100 * value:{'+' if sign else ''}.{digits}f}"
        if float(text) != 0.0:
            break
    return text


def points_interval(ends: Interval | None) -> str:
    """Format an interval of a difference in percentage points, for instance ``-0.4 to 1.0``."""
    if ends is None:
        return _MISSING
    return f"{points(ends[0], sign=False)} to {points(ends[1], sign=False)}"


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with `digits` decimals."""
    return _MISSING if value is None else f"{value:.{digits}f}"


def score(value: float | None, *, fraction: bool) -> str:
    """Format the value of a metric: a fraction as a percentage, others with three decimals."""
    return percent(value) if fraction else number(value)


def score_interval(ends: Interval | None, *, fraction: bool) -> str:
    """Format the interval of a metric, for instance ``98.8 to 99.9%`` or ``0.812 to 0.897``."""
    if fraction or ends is None:
        return interval(ends)
    return f"{number(ends[0])} to {number(ends[1])}"


def difference(value: float | None, *, fraction: bool) -> str:
    """Format a difference of metrics: of fractions in points, for instance ``+1.2``."""
    if fraction or value is None:
        return points(value)
    return f"{value:+.3f}"


def difference_interval(ends: Interval | None, *, fraction: bool) -> str:
    """Format the interval of a difference of metrics."""
    return points_interval(ends) if fraction else score_interval(ends, fraction=False)


def p_value(p: float) -> str:
    """Format a p-value, for instance ``p = 0.064`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def split_name(split: str) -> str:
    """Return the name of the evaluated images: ``test split``, ``all images``, ..."""
    if split == "all":
        return "all images"
    return f"{split} split" if split in {"train", "valid", "test"} else split


def are_synthetic(labs: Iterable[str]) -> bool:
    """Return whether any lab is the lab of synthetic images."""
    return any(lab.casefold().startswith(_SYNTHETIC_LABS) for lab in labs)
