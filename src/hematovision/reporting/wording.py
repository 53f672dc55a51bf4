"""How figures are written where people read them: the report and the model card."""

from __future__ import annotations

from collections.abc import Iterable

from hematovision.evaluation.intervals import Interval

__all__ = [
    "DRAWN",
    "NOT_A_DEVICE",
    "are_synthetic",
    "interval",
    "number",
    "p_value",
    "percent",
    "points",
    "points_interval",
]

NOT_A_DEVICE = "For research and teaching. Not a medical device."
DRAWN = "Drawn images (phantoms), not patients"

NOTHING = "–"  # noqa: RUF001  an en dash, as tables have it
THIN = "\u202f"  # narrow no-break space: the sign stays with its number


def percent(value: float | None) -> str:
    """Write a fraction in percent, with as many decimals as keep it from a false 0 or 100.

    0.9937 is 99.4 %, 0.9996 is 99.96 %, and only 1 is 100 %.
    """
    if value is None:
        return NOTHING
    if value in {0.0, 1.0}:
        return f"{100 * value:.0f}{THIN}%"
    for digits in range(1, 10):
        text = f"{100 * value:.{digits}f}"
        if 0.0 < float(text) < 100.0:
            break
    return f"{text}{THIN}%"


def interval(ends: Interval | None) -> str:
    """Write an interval of fractions in percent, for instance ``98.8 to 99.9 %``."""
    if ends is None:
        return NOTHING
    low, high = (percent(end).removesuffix(f"{THIN}%") for end in ends)
    return f"{low} to {high}{THIN}%"


def points(value: float | None, *, sign: bool = True) -> str:
    """Write a difference of fractions in points of percent, for instance ``+1.2``.

    As many decimals as keep a difference from looking like none: 0.0004 is +0.04.
    """
    if value is None:
        return NOTHING
    if value == 0.0:
        return "0.0"
    for digits in range(1, 10):
        text = f"{100 * value:{'+' if sign else ''}.{digits}f}"
        if float(text) != 0.0:
            break
    return text


def points_interval(ends: Interval | None) -> str:
    """Write an interval of a difference in points of percent, for instance ``-0.4 to 1.0``."""
    if ends is None:
        return NOTHING
    low, high = (points(end, sign=False) for end in ends)
    return f"{low} to {high}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many decimals."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def p_value(p: float) -> str:
    """Write the p of a test, for instance ``p = 0.064`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def are_synthetic(labs: Iterable[str]) -> bool:
    """Whether any lab is synthetic: its name begins with ``synthetic`` (``phantom`` before 0.3)."""
    return any(lab.casefold().startswith(("synthetic", "phantom")) for lab in labs)
