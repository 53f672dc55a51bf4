"""The sizes of red cells: a histogram of diameters, and anisocytosis as their variation.

The histogram is the curve of Price-Jones 1910, "The variation in the sizes of red blood cells",
British Medical Journal 2:1418-1419.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from hematovision.intervals import Interval, variation_interval

__all__ = ["FEWEST_CELLS", "Histogram", "SizeDistribution", "SizeTally", "Unit"]

Unit: TypeAlias = Literal["um", "red cells"]
"""Micrometres, or diameters of the median red cell of the field."""

FEWEST_CELLS = 30
"""Red cells below which there is no mean and no variation."""

_WIDTHS: dict[Unit, float] = {"um": 0.25, "red cells": 0.05}  # 0.25 um are Price-Jones' classes
_LARGEST: dict[Unit, float] = {"um": 20.0, "red cells": 3.0}


@dataclass(frozen=True)
class Histogram:
    """Numbers of cells by diameter, from the first to the last bin that has any."""

    start: float  # the lower edge of the first bin
    width: float  # of each bin
    counts: tuple[int, ...]  # the topmost possible bin, 20 um or 3 red cells, has larger ones too


@dataclass(frozen=True)
class SizeDistribution:
    """Diameters of red cells; moments are None with fewer than `FEWEST_CELLS` of them.

    In units of the median red cell of each field, differences between fields do not count, and the
    variation comes out too low if fields have few red cells: with five each, by a twentieth.
    """

    unit: Unit
    n: int  # red cells measured
    mean: float | None
    sd: float | None  # standard deviation
    cv: float | None  # coefficient of variation, sd / mean: anisocytosis
    cv_interval: Interval | None
    histogram: Histogram
    on_edge: int  # red cells not measured: cut by the border of their field
    review: int  # ... in review
    no_scale: int  # ... in a field without a scale


@dataclass
class _Moments:
    """Mean and sums of powers of the deviations from it, of values taken one at a time.

    Sums are merged by the formulas of Pébay 2008, "Formulas for robust, one-pass parallel
    computation of covariances and arbitrary-order statistical moments", Sandia report
    SAND2008-6212, equations 1.5, 1.6 and 2.2 for powers up to 4.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0

    def add(self, value: float) -> None:
        self.merge(_Moments(1, value))

    def merge(self, b: _Moments) -> None:
        if not b.n:
            return
        na, nb, n = self.n, b.n, self.n + b.n
        d = b.mean - self.mean
        m2, m3 = self.m2, self.m3
        self.m4 += b.m4 + d**4 * na * nb * (na * na - na * nb + nb * nb) / n**3
        self.m4 += 6 * d * d * (na * na * b.m2 + nb * nb * m2) / n**2
        self.m4 += 4 * d * (na * b.m3 - nb * m3) / n
        self.m3 += b.m3 + d**3 * na * nb * (na - nb) / n**2 + 3 * d * (na * b.m2 - nb * m2) / n
        self.m2 += b.m2 + d * d * na * nb / n
        self.mean += d * nb / n
        self.n = n

    @property
    def sd(self) -> float:
        return math.sqrt(self.m2 / (self.n - 1))

    @property
    def skewness(self) -> float:
        return math.sqrt(self.n) * self.m3 / math.pow(self.m2, 1.5)

    @property
    def kurtosis(self) -> float:
        return self.n * self.m4 / self.m2**2


@dataclass
class _Sizes:
    """Moments and histogram of the diameters in one unit."""

    unit: Unit
    moments: _Moments = field(default_factory=_Moments)
    bins: Counter[int] = field(default_factory=Counter)

    def add(self, diameter: float) -> None:
        self.moments.add(diameter)
        topmost = round(_LARGEST[self.unit] / _WIDTHS[self.unit]) - 1
        self.bins[min(int(diameter / _WIDTHS[self.unit]), topmost)] += 1

    def merge(self, other: _Sizes) -> None:
        self.moments.merge(other.moments)
        self.bins.update(other.bins)

    def histogram(self) -> Histogram:
        width = _WIDTHS[self.unit]
        if not self.bins:
            return Histogram(0.0, width, ())
        first, last = min(self.bins), max(self.bins)
        counts = tuple(self.bins[i] for i in range(first, last + 1))
        return Histogram(round(first * width, 6), width, counts)

    def distribution(self) -> SizeDistribution:
        moments, n = self.moments, self.moments.n
        found = SizeDistribution(
            self.unit, n, None, None, None, None, self.histogram(), on_edge=0, review=0, no_scale=0
        )
        if n < FEWEST_CELLS:
            return found
        sd = moments.sd
        cv = sd / moments.mean
        ends = variation_interval(n, cv, moments.skewness, moments.kurtosis) if sd else None
        return replace(found, mean=moments.mean, sd=sd, cv=cv, cv_interval=ends)


@dataclass
class SizeTally:
    """Collects the diameters of red cells one at a time, in constant memory."""

    on_edge: int = 0  # red cells to leave out; see `SizeDistribution`
    review: int = 0
    no_scale: int = 0
    _um: _Sizes = field(default_factory=lambda: _Sizes("um"))
    _relative: _Sizes = field(default_factory=lambda: _Sizes("red cells"))

    def add(self, diameter: float, median: float | None, um_per_px: float | None) -> None:
        """Add a red cell.

        Parameters
        ----------
        diameter : float
            In pixels, above 0.
        median : float or None
            Diameter of the median red cell of the same field, in pixels.
        um_per_px : float or None
            Micrometres per pixel.
        """
        if median is None and um_per_px is None:
            self.no_scale += 1
        if median is not None:
            self._relative.add(diameter / median)
        if um_per_px is not None:
            self._um.add(diameter * um_per_px)

    def merge(self, other: SizeTally) -> None:
        """Add the red cells of another."""
        self.on_edge += other.on_edge
        self.review += other.review
        self.no_scale += other.no_scale
        self._um.merge(other._um)
        self._relative.merge(other._relative)

    def distribution(self) -> SizeDistribution:
        """Return the distribution, in um if all red cells have that scale."""
        um, relative = self._um, self._relative
        chosen = um if um.moments.n and um.moments.n >= relative.moments.n else relative
        return replace(
            chosen.distribution(),
            on_edge=self.on_edge,
            review=self.review,
            no_scale=self.no_scale,
        )
