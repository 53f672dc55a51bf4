"""Counts of the cells in fields: differential, platelets per 1,000 red cells, cells per field.

`Tally` collects cells field by field, in constant memory; tallies of parts of a sample can be
merged. Limits are 95% limits of the counts as a random sample of the smear. They do not cover
cells that the model misses or confuses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hematovision.fields.rows import CELL_CLASSES, CellRow, FieldRow
from hematovision.fields.sample import CellSample
from hematovision.fields.sizes import SizeDistribution, SizeTally
from hematovision.intervals import Interval, clopper_pearson, garwood
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS

__all__ = [
    "CORRECTED_FROM", "FEWEST_RED", "FEWEST_WHITE", "UNCLASSIFIED", "UNREADABLE_SHOWN",
    "ClassCount", "Counts", "Differential", "FieldCounts", "LabelCount", "NucleatedRedCells",
    "PlateletCount", "Tally", "count_differential", "count_platelets", "white_kinds",
]  # fmt: skip

UNCLASSIFIED = "unclassified"
"""The class of white cells in review, until a person decides, and of those without a subtype."""

FEWEST_WHITE = 50
"""White cells below which a differential has only counts."""

FEWEST_RED = 1000
"""Red cells below which platelets per 1,000 are uncertain (Nosanchuk et al. 1978 count as many)."""

CORRECTED_FROM = 5.0
"""Nucleated red cells per 100 white cells from which a white-cell count is corrected."""

UNREADABLE_SHOWN = 20
"""How many unreadable images are listed by name."""

_ERYTHROBLAST = "erythroblast"


@dataclass(frozen=True)
class ClassCount:
    """The white cells of one class; fractions are None below `FEWEST_WHITE` white cells."""

    n: int
    fraction: float | None  # of all white cells
    interval: Interval | None
    absolute: float | None  # cells in 10^9/L; None without the analyser's count
    absolute_interval: Interval | None


@dataclass(frozen=True)
class NucleatedRedCells:
    """The nucleated red cells, per 100 white cells; None below `FEWEST_WHITE` white cells."""

    n: int
    per_100_wbc: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Differential:
    """The differential; `classes` are in order, `UNCLASSIFIED` last.

    Examples
    --------
    >>> import hematovision
    >>> analysis = hematovision.FieldAnalyzer.load().predict("field.png")[0]
    >>> found = analysis.differential
    >>> found.n, sum(one.n for one in found.classes.values())
    (1, 1)
    >>> found.classes["neutrophil"].fraction is None  # below 50 white cells
    True
    """

    n: int  # white cells, without nucleated red cells
    classes: Mapping[str, ClassCount]
    nucleated_red_cells: NucleatedRedCells
    wbc_count: float | None  # of the analyser, in 10^9/L
    wbc_corrected: float | None  # the same without nucleated red cells; None if not corrected


@dataclass(frozen=True)
class PlateletCount:
    """Platelets per 1,000 red cells."""

    platelets: int
    red_cells: int
    per_1000_rbc: float | None  # None without red cells
    interval: Interval | None
    rbc_count: float | None  # of the analyser, in 10^12/L
    estimate: float | None  # platelets in 10^9/L; None without `rbc_count`
    estimate_interval: Interval | None


@dataclass(frozen=True)
class LabelCount:
    """The counted cells with one label, accepted or in review."""

    n: int
    review: int
    # cells per field; None without a readable field
    mean: float | None
    interval: Interval | None
    sd: float | None  # None with fewer than two fields
    fewest: int | None
    most: int | None


@dataclass(frozen=True)
class FieldCounts:
    """The fields of a sample; a region of a slide is a field too."""

    n: int
    unreadable: int
    flagged: int  # readable fields with a flag; their cells count
    flags: Mapping[str, int]  # fields per flag, the most frequent first
    scale_sources: Mapping[str, int]
    # the names of some of the unreadable images, and the reasons
    unreadable_images: tuple[tuple[str, str], ...]

    @property
    def read(self) -> int:
        """The number of readable fields."""
        return self.n - self.unreadable


@dataclass(frozen=True)
class Counts:
    """All counts of a sample.

    Examples
    --------
    >>> import hematovision
    >>> counts = hematovision.FieldAnalyzer.load().predict("fields").statistics
    >>> counts.fields.read, counts.cells["RBC"].n, counts.cells["RBC"].mean
    (2, 64, 32.0)
    >>> round(counts.platelets.per_1000_rbc, 1)
    93.8
    """

    fields: FieldCounts
    cells: Mapping[str, LabelCount]  # by label
    not_counted: Mapping[str, int]  # cells left out by the edge rule, by label
    differential: Differential
    platelets: PlateletCount
    red_cell_sizes: SizeDistribution


def white_kinds(subtypes: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of white cells among a classifier's classes, in order.

    Spellings of red cells and platelets in `RBC_WBC_PLATELETS` are left out, erythroblasts too.

    >>> white_kinds(("neutrophil", "erythroblast", "platelet", "blast"))
    ('neutrophil', 'blast')
    """
    return tuple(name for name in subtypes if RBC_WBC_PLATELETS.find(name) in {None, "WBC"})


def count_differential(
    kinds: Mapping[str, int], nucleated: int, wbc_count: float | None = None
) -> Differential:
    """Count the differential.

    Fractions are of all white cells, unclassified ones too, with exact limits (Clopper & Pearson
    1934; the table of Rümke 1979). Nucleated red cells are not white cells; their number per 100
    white cells has Poisson limits (Garwood 1936). An analyser that counts nuclei counts them as
    white cells; from `CORRECTED_FROM` per 100 white cells, its count is corrected:
    ``WBC x 100 / (100 + nRBC)`` (Bain, Bates & Laffan 2017, "Dacie and Lewis Practical
    Haematology", 12th ed.). Absolute numbers are fractions of that count, which is taken as exact.

    Parameters
    ----------
    kinds : mapping of str to int
        White cells by kind, in order; `UNCLASSIFIED` may be among them and comes last.
    nucleated : int
        Nucleated red cells.
    wbc_count : float, optional
        White cells by an analyser, in 10^9/L.

    Examples
    --------
    >>> found = count_differential({"neutrophil": 60, "lymphocyte": 40}, nucleated=10, wbc_count=11)
    >>> found.classes["lymphocyte"].fraction, found.wbc_corrected
    (0.4, 10.0)
    """
    n = sum(kinds.values())
    shown = n >= FEWEST_WHITE
    per_100 = 100 * nucleated / n if shown else None
    corrected = None
    if wbc_count is not None and per_100 is not None and per_100 >= CORRECTED_FROM:
        corrected = wbc_count * 100 / (100 + per_100)
    true = corrected if corrected is not None else wbc_count
    ordered = [*(name for name in kinds if name != UNCLASSIFIED), UNCLASSIFIED]
    classes = {name: _class_count(kinds.get(name, 0), n, true) for name in ordered}
    ends = _scaled(garwood(nucleated), 100 / n) if shown else None
    return Differential(
        n, classes, NucleatedRedCells(nucleated, per_100, ends), wbc_count, corrected
    )


def _class_count(count: int, n: int, wbc: float | None) -> ClassCount:
    if n < FEWEST_WHITE:
        return ClassCount(count, None, None, None, None)
    fraction, ends = count / n, clopper_pearson(count, n)
    if wbc is None:
        return ClassCount(count, fraction, ends, None, None)
    return ClassCount(count, fraction, ends, fraction * wbc, _scaled(ends, wbc))


def count_platelets(
    platelets: int, red_cells: int, rbc_count: float | None = None
) -> PlateletCount:
    """Count platelets per 1,000 red cells, with exact Poisson limits (Garwood 1936).

    Times the red cells of an analyser in 10^12/L, that is the estimate of platelets in 10^9/L: the
    ratio method (Nosanchuk, Chang & Bennett 1978, "The analytic basis for the use of platelet
    estimates from peripheral blood smears", American Journal of Clinical Pathology 69:383-387;
    as a reference method with flow cytometry: ICSH & ISLH 2001, the same 115:460-464). Red cells
    are taken as exact: they are many times more.

    Examples
    --------
    >>> count_platelets(120, 2000, rbc_count=4.5).estimate
    270.0
    """
    if not red_cells:
        return PlateletCount(platelets, 0, None, None, rbc_count, None, None)
    factor = 1000 / red_cells
    ratio, ends = platelets * factor, _scaled(garwood(platelets), factor)
    if rbc_count is None:
        return PlateletCount(platelets, red_cells, ratio, ends, None, None, None)
    estimate, limits = ratio * rbc_count, _scaled(ends, rbc_count)
    return PlateletCount(platelets, red_cells, ratio, ends, rbc_count, estimate, limits)


def _scaled(ends: Interval | None, factor: float) -> Interval | None:
    return ends and (ends[0] * factor, ends[1] * factor)


@dataclass
class _PerField:
    """Numbers of cells per field, taken one field at a time (Welford 1962, Technometrics 4)."""

    fields: int = 0
    total: int = 0
    squares: float = 0.0  # of the deviations from the mean
    fewest: int | None = None
    most: int | None = None

    def add(self, count: int) -> None:
        self.merge(_PerField(1, count, 0.0, count, count))

    def merge(self, other: _PerField) -> None:
        if not other.fields:
            return
        if self.fields:
            gap = other.total / other.fields - self.total / self.fields
            weight = self.fields * other.fields / (self.fields + other.fields)
            self.squares += gap * gap * weight
        self.squares += other.squares
        self.fields += other.fields
        self.total += other.total
        self.fewest = min(x for x in (self.fewest, other.fewest) if x is not None)
        self.most = max(x for x in (self.most, other.most) if x is not None)

    def count(self, review: int) -> LabelCount:
        if not self.fields:
            return LabelCount(0, 0, None, None, None, None, None)
        sd = math.sqrt(self.squares / (self.fields - 1)) if self.fields > 1 else None
        ends = _scaled(garwood(self.total), 1 / self.fields)
        mean = self.total / self.fields
        return LabelCount(self.total, review, mean, ends, sd, self.fewest, self.most)


class Tally:
    """Counts cells field by field, in constant memory.

    Parameters
    ----------
    subtypes : sequence of str
        The classes of the classifier; empty without one. Kinds of white cells that no cell has are
        listed with 0.

    Examples
    --------
    >>> tally = Tally(("neutrophil", "lymphocyte"))
    >>> tally.add(FieldRow("a.png", "", 640, 480), [])
    >>> tally.counts().fields.read
    1
    """

    def __init__(self, subtypes: Sequence[str] = ()) -> None:
        self.sample = CellSample()  # some white cells of each class, for a gallery
        self._kinds = Counter[str](dict.fromkeys(white_kinds(subtypes), 0))
        self._nucleated = 0
        self._per_field = {label: _PerField() for label in CELL_CLASSES}
        self._review = Counter[str]()
        self._not_counted = Counter[str]()
        self._sizes = SizeTally()
        self._fields, self._unreadable, self._flagged = 0, 0, 0
        self._flags, self._sources = Counter[str](), Counter[str]()
        self._unreadable_images: list[tuple[str, str]] = []

    def add(self, field: FieldRow, cells: Iterable[CellRow]) -> None:
        """Add a field, or a region of a slide, and its cells; each one once."""
        self._fields += 1
        if field.error:
            self._unreadable += 1
            if len(self._unreadable_images) < UNREADABLE_SHOWN:
                self._unreadable_images.append((field.image, field.error))
            return
        flags = [flag for flag in field.flags.split("; ") if flag]
        self._flagged += bool(flags)
        self._flags.update(flags)
        self._sources[field.scale_source] += 1
        counts = Counter[str]()
        for cell in cells:
            if cell.counted:
                counts[cell.label] += 1
                self._count(cell)
            else:
                self._not_counted[cell.label] += 1
            if cell.label == "RBC":
                self._measure(cell, field)
        for label, seen in self._per_field.items():
            seen.add(counts[label])

    def _count(self, cell: CellRow) -> None:
        self._review[cell.label] += cell.decision == "review"
        kind = _kind(cell)
        if kind == _ERYTHROBLAST:
            self._nucleated += 1
        elif kind:
            self._kinds[kind] += 1
        if kind:
            self.sample.add(kind, cell)

    def _measure(self, cell: CellRow, field: FieldRow) -> None:
        """Add a red cell's diameter, the mean of the width and height of its box.

        Nucleated red cells, which are larger, are left out.
        """
        if cell.on_edge:
            self._sizes.on_edge += 1
        elif cell.decision == "review":
            self._sizes.review += 1
        elif not _kind(cell):
            diameter = (cell.x_max - cell.x_min + cell.y_max - cell.y_min) / 2
            self._sizes.add(diameter, field.rbc_diameter_px, field.um_per_px)

    def merge(self, other: Tally) -> None:
        """Add the fields of another tally, of the same classifier."""
        self.sample.merge(other.sample)
        self._kinds.update(other._kinds)
        self._nucleated += other._nucleated
        for label, seen in self._per_field.items():
            seen.merge(other._per_field[label])
        self._review.update(other._review)
        self._not_counted.update(other._not_counted)
        self._sizes.merge(other._sizes)
        self._fields += other._fields
        self._unreadable += other._unreadable
        self._flagged += other._flagged
        self._flags.update(other._flags)
        self._sources.update(other._sources)
        self._unreadable_images += other._unreadable_images
        del self._unreadable_images[UNREADABLE_SHOWN:]

    def counts(self, *, rbc_count: float | None = None, wbc_count: float | None = None) -> Counts:
        """Return the counts so far.

        Parameters
        ----------
        rbc_count : float, optional
            Red cells by an analyser, in 10^12/L, for an estimate of platelets.
        wbc_count : float, optional
            White cells by an analyser, in 10^9/L, for absolute numbers.
        """
        totals = {label: seen.total for label, seen in self._per_field.items()}
        return Counts(
            fields=FieldCounts(
                self._fields,
                self._unreadable,
                self._flagged,
                dict(self._flags.most_common()),
                dict(self._sources.most_common()),
                tuple(self._unreadable_images),
            ),
            cells={
                label: seen.count(self._review[label]) for label, seen in self._per_field.items()
            },
            not_counted={label: self._not_counted[label] for label in CELL_CLASSES},
            differential=count_differential(self._kinds, self._nucleated, wbc_count),
            platelets=count_platelets(totals["Platelets"], totals["RBC"], rbc_count),
            red_cell_sizes=self._sizes.distribution(),
        )


def _kind(cell: CellRow) -> str:
    """Return a cell's class in the differential; empty if it is not counted there.

    An accepted erythroblast is a nucleated red cell, whatever the detector takes it for. A subtype
    that contradicts the label WBC is not believed.
    """
    accepted = cell.decision == "accepted"
    if accepted and PBC8.find(cell.subtype) == _ERYTHROBLAST:
        return _ERYTHROBLAST
    if cell.label != "WBC":
        return ""
    known = accepted and cell.subtype and white_kinds((cell.subtype,))
    return cell.subtype if known else UNCLASSIFIED
