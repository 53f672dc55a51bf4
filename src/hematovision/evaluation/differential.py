"""Evaluate a classifier's differential as regulators do, over simulated patients.

Devices for differentials are compared with a reference per kind and patient: CLSI H20-A2,
"Reference Leukocyte (WBC) Differential Count (Proportional) and Evaluation of Instrumental
Methods", by orthogonal regression. The bars are those of a cleared device, the CellaVision DC-1
(FDA 510(k) K200595): slope 0.8 to 1.2 and intercept within 0.2 for the differential, and Cohen's
kappa of at least 0.6 for its platelet estimate.

Our reading: values are percentages of white cells, so the intercept must be within 0.2 percentage
points. Slope and intercept are those of the orthogonal (Deming) line, as point estimates; intervals
and the line of Passing and Bablok are reported with them. We apply the bar of kappa to the
kinds of cells.

Each patient has random proportions (`patients`) and consists of cells sampled with replacement. The
cells of a patient come from as few units (slides, fields) as have enough of them, and its kinds
share units where they can, so that errors that come with a stain or a focus stay together. Three
comparisons are made with the true kinds of all cells of the patient:

- ``unclassified``: cells sent for review are left out of the differential;
- ``resolved``: a person gives them their true kind;
- ``recount``: no classifier, but a second count, without errors, of as many other cells of the
  patient. Its intervals show how far a single study is off by counting alone.

Each estimate is the median of `STUDIES` such studies. Intervals are percentiles of studies of
resampled units: units resampled with replacement, other patients, other cells. They are those of
one study of as many patients in a laboratory of as many slides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hematovision.evaluation.agreement import (
    bland_altman,
    counting_limit,
    deming,
    kappa,
    passing_bablok,
    pearson,
    spearman,
)
from hematovision.evaluation.patients import (
    count_cells,
    is_white,
    reference_limits,
    sample_proportions,
)
from hematovision.evaluation.scores import confusion_matrix
from hematovision.intervals import Interval, percentile_interval

__all__ = [
    "INTERCEPT_BAR", "KAPPA_BAR", "SLOPE_BAR", "ClassifiedCells", "Comparison",
    "DifferentialAgreement", "DifferentialStudy", "Estimate", "KindAgreement",
    "evaluate_differential",
]  # fmt: skip

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

Comparison: TypeAlias = Literal["unclassified", "resolved", "recount"]
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)

SLOPE_BAR = (0.8, 1.2)
INTERCEPT_BAR = 0.2
"""Percentage points, to either side of 0."""
KAPPA_BAR = 0.6

FEWEST_CELLS = 20
"""A kind with fewer cells is not given to patients: they would consist of copies of a few cells."""

PATIENTS = 200
DRAWS = 1000

STUDIES = 25
"""Simulated studies whose median is the estimate: one study of rare kinds depends on chance."""

_STATISTICS = (
    "pearson", "spearman", "passing_bablok_slope", "passing_bablok_intercept", "deming_slope",
    "deming_intercept", "bias", "lower_limit", "upper_limit", "kappa", "flag_kappa",
)  # fmt: skip


@dataclass(frozen=True)
class ClassifiedCells:
    """True and predicted kinds of N cells, by one model or by M models of the same recipe.

    Parameters
    ----------
    kinds : tuple of str
        The K classes of the model, all of them keys of `patients.REFERENCE_PERCENT`.
    labels : ndarray of int, shape (N,)
        True kinds.
    predicted : ndarray of int, shape (N,) or (M, N)
        Predicted kinds. With several models, patients are shared out among them.
    accepted : ndarray of bool, shape as `predicted`
        Predictions that were accepted rather than sent for review.
    units : ndarray, shape (N,)
        Name or number of each cell's slide or field.

    Raises
    ------
    ValueError
        If there are no cells, shapes don't fit, or a kind is not in 0 .. K - 1.
    """

    kinds: tuple[str, ...]
    labels: ArrayLike
    predicted: ArrayLike
    accepted: ArrayLike
    units: ArrayLike

    def __post_init__(self) -> None:
        labels, predicted = np.asarray(self.labels), np.atleast_2d(self.predicted)
        accepted, units = np.atleast_2d(self.accepted), np.asarray(self.units)
        n = len(labels)
        shapes = [labels.shape, predicted.shape, accepted.shape, units.shape]
        if not n or shapes != [(n,), (len(predicted), n), (len(predicted), n), (n,)]:
            raise ValueError(
                "`labels` (N,), `predicted` and `accepted` (N,) or (M, N), and `units` (N,) must "
                f"have the same N, above 0. Received: {', '.join(map(str, shapes))}"
            )
        for name, values in (("labels", labels), ("predicted", predicted)):
            if values.min() < 0 or values.max() >= len(self.kinds):
                raise ValueError(
                    f"`{name}` must be in 0 .. {len(self.kinds) - 1}. "
                    f"Received: {values.min()} to {values.max()}"
                )


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval; None if undefined."""

    value: float | None
    interval: Interval | None


_UNDEFINED = Estimate(None, None)


@dataclass(frozen=True)
class KindAgreement:
    """The agreement for one kind, over patients. Percentages are per 100 white cells."""

    cells: int  # cells of the kind that patients were made of
    pearson: Estimate
    spearman: Estimate
    passing_bablok_slope: Estimate
    passing_bablok_intercept: Estimate  # percentage points, as the next five
    deming_slope: Estimate
    deming_intercept: Estimate
    bias: Estimate  # mean difference from the true percentage
    lower_limit: Estimate  # limits of agreement
    upper_limit: Estimate
    counting_limit: float  # half-width of the limits of two counts without errors
    kappa: Estimate  # over the cells: this kind or another; None for a recount
    flag_kappa: Estimate  # over the patients: outside the reference interval or not

    def missed(self) -> tuple[str, ...]:
        """Return the bars that are missed, of "slope", "intercept" and "kappa".

        A line that is undefined, as when a kind is never predicted, misses its bars.
        """
        slope, intercept = self.deming_slope.value, self.deming_intercept.value
        met = {
            "slope": slope is not None and SLOPE_BAR[0] <= slope <= SLOPE_BAR[1],
            "intercept": intercept is not None and abs(intercept) <= INTERCEPT_BAR,
            "kappa": self.kappa.value is None or self.kappa.value >= KAPPA_BAR,
        }
        return tuple(name for name, passed in met.items() if not passed)


@dataclass(frozen=True)
class DifferentialAgreement:
    """One comparison of a study."""

    kinds: Mapping[str, KindAgreement]  # the kinds that patients have
    false_kinds: Mapping[str, Estimate]  # mean percentage of the kinds that they don't have
    kappa: Estimate  # over the cells, all kinds; None for a recount
    flag_kappa: Estimate  # over the patients: any kind outside its reference interval or none


@dataclass(frozen=True)
class DifferentialStudy:
    """The result of `evaluate_differential`."""

    cells_per_patient: int  # white cells
    patients: int
    units: int
    models: int
    draws: int
    seed: int
    too_few: Mapping[str, int]  # kinds with fewer than `FEWEST_CELLS` cells, and how many
    review_rate: float  # of the patients' cells
    comparisons: Mapping[Comparison, DifferentialAgreement]


def evaluate_differential(
    cells: ClassifiedCells,
    *,
    cells_per_patient: int = 100,
    patients: int = PATIENTS,
    draws: int = DRAWS,
    seed: int = 0,
) -> DifferentialStudy:
    """Simulate patients from classified cells and compare their differentials with the truth.

    Parameters
    ----------
    cells : ClassifiedCells
        Cells of a laboratory that the model was not trained on.
    cells_per_patient : int
        White cells in each differential; nucleated red cells come in addition.
    patients : int
        The number of simulated patients, half of them abnormal.
    draws : int
        Studies repeated for the intervals; 0 for none.
    seed : int
        Seed of the simulation.

    Raises
    ------
    ValueError
        If a kind has no reference interval, if fewer than two kinds of white cells have at least
        `FEWEST_CELLS` cells, or if a number is too small.
    """
    if cells_per_patient < 1 or patients < 2 or draws < 0:
        raise ValueError(
            "`cells_per_patient` must be at least 1, `patients` 2 and `draws` 0. Received: "
            f"{cells_per_patient}, {patients}, {draws}"
        )
    pool = _Pool.of(cells)
    plan = _Plan(cells.kinds, cells_per_patient, patients)
    rng = np.random.default_rng(seed)
    studies = [_simulate(pool, plan, rng) for _ in range(STUDIES)]
    values = np.array([study.values for study in studies])
    repeated = [_repeated(pool, plan, rng) for _ in range(draws)]
    samples = np.array(repeated).reshape(draws, *values.shape[1:])
    proportions = np.concatenate([study.proportions for study in studies])
    counted = np.bincount(np.asarray(cells.labels, np.int64), minlength=len(cells.kinds)).tolist()
    few = {k: n for k, n in zip(cells.kinds, counted, strict=True) if 0 < n < FEWEST_CELLS}
    return DifferentialStudy(
        cells_per_patient=cells_per_patient,
        patients=patients,
        units=len(pool.sizes),
        models=len(pool.predicted),
        draws=draws,
        seed=seed,
        too_few=few,
        review_rate=float(np.mean([study.review_rate for study in studies])),
        comparisons={
            name: _agreement(plan, pool, proportions, _estimates(values[:, i], samples[:, i]))
            for i, name in enumerate(COMPARISONS)
        },
    )


@dataclass(frozen=True)
class _Plan:
    """What each repetition of a study has in common."""

    kinds: tuple[str, ...]
    n: int  # white cells of a patient
    patients: int


@dataclass(frozen=True)
class _Study:
    """One simulated study: `values` (3 comparisons, K + 1, statistics), the last row all kinds."""

    values: Floats
    proportions: Floats  # (P, K)
    review_rate: float


@dataclass(frozen=True)
class _Pool:
    """The cells of a laboratory by unit and kind; G units.

    ``members[starts[u, k] : starts[u, k] + sizes[u, k]]`` are the cells of kind k in unit u.
    """

    labels: Ints  # (N,)
    predicted: Ints  # (M, N)
    accepted: Bools  # (M, N)
    members: Ints
    starts: Ints  # (G, K)
    sizes: Ints  # (G, K)

    @classmethod
    def of(cls, cells: ClassifiedCells) -> _Pool:
        """Arrange the cells; kinds with too few are left out."""
        labels, n_kinds = np.asarray(cells.labels, np.int64), len(cells.kinds)
        names, unit = np.unique(np.asarray(cells.units), return_inverse=True)
        spots = unit * n_kinds + labels
        sizes = np.bincount(spots, minlength=len(names) * n_kinds)
        starts = (np.cumsum(sizes) - sizes).reshape(-1, n_kinds)
        sizes = sizes.reshape(-1, n_kinds)
        return cls(
            labels,
            np.atleast_2d(np.asarray(cells.predicted, np.int64)),
            np.atleast_2d(np.asarray(cells.accepted, np.bool_)),
            np.argsort(spots, kind="stable"),
            starts,
            np.where(sizes.sum(axis=0) < FEWEST_CELLS, 0, sizes),
        )

    @property
    def present(self) -> Bools:
        """The kinds that patients can have, bool (K,)."""
        return np.asarray(self.sizes.sum(axis=0) > 0, np.bool_)

    def resampled(self, rng: np.random.Generator) -> _Pool:
        """Return the pool with its units resampled."""
        units = rng.integers(len(self.sizes), size=len(self.sizes))
        return replace(self, starts=self.starts[units], sizes=self.sizes[units])

    def sample(self, kind: int, need: int, order: Ints, rng: np.random.Generator) -> Ints:
        """Sample `need` cells of a kind from the first units in `order` with that many."""
        sizes = self.sizes[order, kind]
        ends = np.cumsum(sizes)
        last = int(np.searchsorted(ends, min(need, int(ends[-1]))))
        spots = rng.integers(ends[last], size=need)
        units = np.searchsorted(ends, spots, side="right")
        offsets = spots - (ends - sizes)[units]
        return np.asarray(self.members[self.starts[order[units], kind] + offsets], np.int64)


def _repeated(pool: _Pool, plan: _Plan, rng: np.random.Generator) -> Floats:
    """Return the values of a study of other units; NaN if they have too few kinds."""
    other = pool.resampled(rng)
    if (other.present & is_white(plan.kinds)).sum() < 2:
        return np.full((len(COMPARISONS), len(plan.kinds) + 1, len(_STATISTICS)), np.nan)
    return _simulate(other, plan, rng).values


def _simulate(pool: _Pool, plan: _Plan, rng: np.random.Generator) -> _Study:
    present = pool.present
    proportions = sample_proportions(plan.kinds, plan.patients, rng, present)
    counts = count_cells(proportions, plan.kinds, plan.n, rng)
    tallies = _tallies(pool, counts, rng)
    confusion = tallies.sum(axis=0)
    reviewed, accepted = tallies[:, 0], tallies[:, 1]
    resolved = np.diag(reviewed.sum(axis=(0, 2)))  # a person's kinds are the true ones
    classified = accepted.sum(axis=1)
    compare = partial(_statistics, plan.kinds, present, counts)
    values = [
        compare(classified, confusion[1]),
        compare(classified + reviewed.sum(axis=2), confusion[1] + resolved),
        compare(count_cells(proportions, plan.kinds, plan.n, rng), None),
    ]
    return _Study(np.array(values), proportions, float(confusion[0].sum() / confusion.sum()))


def _tallies(pool: _Pool, counts: Ints, rng: np.random.Generator) -> Ints:
    """Sample the patients' cells and count them: (P, 2, K, K).

    The axes are patient, sent for review or accepted, true and predicted kind.
    """
    n_patients, n_kinds = counts.shape
    sampled: list[Ints] = []
    for needed in counts:
        order = rng.permutation(len(pool.sizes))
        sampled += [pool.sample(int(k), int(needed[k]), order, rng) for k in np.flatnonzero(needed)]
    cells = np.concatenate(sampled)
    patient = np.repeat(np.arange(n_patients), counts.sum(axis=1))
    model = patient % len(pool.predicted)
    spots = (patient * 2 + pool.accepted[model, cells]) * n_kinds + pool.labels[cells]
    spots = spots * n_kinds + pool.predicted[model, cells]
    shape = (n_patients, 2, n_kinds, n_kinds)
    return np.bincount(spots, minlength=int(np.prod(shape))).reshape(shape)


def _statistics(
    kinds: tuple[str, ...], present: Bools, true: Ints, compared: Ints, confusion: Ints | None
) -> Floats:
    """Return the statistics of one comparison: (K + 1, S), NaN if undefined.

    `true` and `compared` are counts (P, K). Patients without a classified white cell have no
    percentages; they are left out.
    """
    white = is_white(kinds)
    defined = compared[:, white].sum(axis=1) > 0
    x, y = _percent(true[defined], white), _percent(compared[defined], white)
    flags = _outside(x, kinds, present), _outside(y, kinds, present)
    rows = []
    for k in range(len(kinds)):
        values = _of_kind(x[:, k], y[:, k]) if len(x) else {}
        if present[k]:
            values["kappa"] = None if confusion is None else kappa(_one_against_rest(confusion, k))
            values["flag_kappa"] = _flag_kappa(flags[0][:, k], flags[1][:, k])
        rows.append(values)
    total = None if confusion is None else kappa(confusion)
    abnormal = _flag_kappa(*(np.asarray(flag.any(axis=1), np.bool_) for flag in flags))
    rows.append({"kappa": total, "flag_kappa": abnormal})
    return np.array([[row.get(name) for name in _STATISTICS] for row in rows], np.float64)


def _of_kind(x: Floats, y: Floats) -> dict[str, float | None]:
    values = {"pearson": pearson(x, y), "spearman": spearman(x, y)}
    robust, line, limits = passing_bablok(x, y), deming(x, y), bland_altman(x, y)
    if robust is not None:
        values["passing_bablok_slope"] = robust.slope
        values["passing_bablok_intercept"] = robust.intercept
    if line is not None:
        values |= {"deming_slope": line.slope, "deming_intercept": line.intercept}
    if limits is not None:
        values["bias"] = limits.bias
        values |= {"lower_limit": limits.lower, "upper_limit": limits.upper}
    return values


def _percent(counts: Ints, white: Bools) -> Floats:
    total = counts[:, white].sum(axis=1, keepdims=True)
    return np.asarray(100 * counts / total, np.float64)


def _outside(percent: Floats, kinds: tuple[str, ...], present: Bools) -> Bools:
    """Return which percentages are outside the reference interval; no lower limit if absent."""
    low, high = reference_limits(kinds)
    return np.asarray((percent > high) | ((percent < low) & present), np.bool_)


def _flag_kappa(true: Bools, compared: Bools) -> float | None:
    return kappa(confusion_matrix(true, compared, 2))


def _one_against_rest(confusion: Ints, kind: int) -> Ints:
    hit, of, as_kind = confusion[kind, kind], confusion[kind].sum(), confusion[:, kind].sum()
    rest = confusion.sum() - of - as_kind + hit
    return np.array([[hit, of - hit], [as_kind - hit, rest]])


def _estimates(values: Floats, samples: Floats) -> list[dict[str, Estimate]]:
    """Return the estimates by name for each of K + 1 rows.

    `values` (studies, K + 1, S) have the same units, `samples` (draws, K + 1, S) others.
    """
    return [
        {
            name: _estimate(values[:, row, column], samples[:, row, column])
            for column, name in enumerate(_STATISTICS)
        }
        for row in range(values.shape[1])
    ]


def _estimate(values: Floats, samples: Floats) -> Estimate:
    """Return the median of the studies; undefined if it is undefined in half of them."""
    defined = values[np.isfinite(values)]
    if 2 * len(defined) <= len(values):
        return _UNDEFINED
    return Estimate(float(np.median(defined)), percentile_interval(samples))


def _agreement(
    plan: _Plan, pool: _Pool, proportions: Floats, estimates: list[dict[str, Estimate]]
) -> DifferentialAgreement:
    white, cells = is_white(plan.kinds), pool.sizes.sum(axis=0)
    found, false = {}, {}
    for k, kind in enumerate(plan.kinds):
        if cells[k]:
            limit = counting_limit(proportions[:, k], plan.n, additional=not white[k])
            found[kind] = KindAgreement(
                cells=int(cells[k]), counting_limit=100 * limit, **estimates[k]
            )
        else:
            false[kind] = estimates[k]["bias"]
    total = estimates[-1]
    return DifferentialAgreement(found, false, total["kappa"], total["flag_kappa"])
