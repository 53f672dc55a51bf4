"""The differentials of simulated patients: normal ones and pathological extremes.

All percentages are per 100 white cells. Nucleated red cells are not white cells; theirs are in
addition to the 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hematovision.taxonomy import RBC_WBC_PLATELETS

__all__ = [
    "ABNORMAL_PERCENT", "REFERENCE_PERCENT", "count_cells", "is_white", "reference_limits",
    "sample_proportions",
]  # fmt: skip

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

REFERENCE_PERCENT: Mapping[str, tuple[float, float]] = {
    "basophil": (0.0, 1.0),
    "eosinophil": (0.0, 5.5),
    "erythroblast": (0.0, 0.0),
    "ig": (0.0, 0.9),
    "lymphocyte": (12.0, 44.0),
    "monocyte": (4.0, 9.0),
    "neutrophil": (40.0, 75.0),
}
"""Reference intervals of adults, in percent of white cells.

"Davis's Lab & Diagnostic Tests" (F. A. Davis), "Complete Blood Count, WBC Count and Differential":
11 years to older adult; immature granulocytes from 10 years on. That the blood of adults has no
nucleated red cells is not from there.
"""

ABNORMAL_PERCENT: Mapping[str, tuple[float, float]] = {
    "basophil": (1.0, 15.0),  # chronic myeloid leukaemia
    "eosinophil": (5.5, 50.0),  # parasites, allergy, hypereosinophilic syndrome
    "erythroblast": (1.0, 50.0),  # haemolysis, marrow infiltration
    "ig": (0.9, 30.0),  # left shift, chronic myeloid leukaemia
    "lymphocyte": (44.0, 90.0),  # viral infection, chronic lymphocytic leukaemia
    "monocyte": (9.0, 40.0),  # chronic infection, chronic myelomonocytic leukaemia
    "neutrophil": (75.0, 95.0),  # bacterial infection
}
"""A raised kind of an abnormal patient, from the reference limit up, in percent of white cells.

The upper ends are a choice: values that the named conditions reach, without the rarest extremes.
"""


def is_white(kinds: Sequence[str]) -> Bools:
    """Return which kinds are white cells, bool (K,); nucleated red cells are not."""
    return np.array([RBC_WBC_PLATELETS.find(kind) == "WBC" for kind in kinds], np.bool_)


def reference_limits(kinds: Sequence[str]) -> Floats:
    """Return the lower and the upper reference limits in percent, float64 (2, K)."""
    return _ranges(REFERENCE_PERCENT, kinds)


def sample_proportions(
    kinds: Sequence[str], n_patients: int, rng: np.random.Generator, present: Bools | None = None
) -> Floats:
    """Sample the true proportions of patients.

    The first half of the patients (rounded up) is normal, the other half abnormal. The percentage
    of each kind is uniform within its reference interval. One kind of each abnormal patient, any
    with the same chance, is raised: its percentage is uniform within `ABNORMAL_PERCENT`. Then the
    white cells that aren't raised are scaled so that all white cells add up to 1. So few
    neutrophils or few lymphocytes come about, too. The uniform distribution has more patients near
    the limits than a population; comparisons of methods want the whole range.

    Parameters
    ----------
    kinds : sequence of str
        Keys of `REFERENCE_PERCENT`.
    n_patients : int
        The number of patients.
    rng : numpy.random.Generator
        The source of random numbers.
    present : ndarray of bool, shape (K,), optional
        The kinds that patients can have; by default all. The others are 0.

    Returns
    -------
    ndarray of float64, shape (P, K)
        Cells per white cell: the white kinds of a patient add up to 1.

    Raises
    ------
    ValueError
        If a kind has no reference interval, or fewer than two white kinds are present.
    """
    low, high = reference_limits(kinds)
    abnormal_low, abnormal_high = _ranges(ABNORMAL_PERCENT, kinds)
    white = is_white(kinds)
    present = np.ones(len(kinds), np.bool_) if present is None else present
    if (white & present).sum() < 2:
        names = [kind for kind, there in zip(kinds, present, strict=True) if there]
        raise ValueError(
            f"A differential needs at least two kinds of white cells. Received: {names}"
        )
    shape = (n_patients, len(kinds))
    values = rng.uniform(low, high, shape) * present
    raised = np.zeros(shape, np.bool_)
    patients = np.arange((n_patients + 1) // 2, n_patients)
    raised[patients, rng.choice(np.flatnonzero(present), len(patients))] = True
    values = np.where(raised, rng.uniform(abnormal_low, abnormal_high, shape), values) / 100
    scaled = white & ~raised
    taken = np.where(white & raised, values, 0.0).sum(axis=1, keepdims=True)
    rest = np.where(scaled, values, 0.0).sum(axis=1, keepdims=True)
    return np.asarray(np.where(scaled, values * (1 - taken) / rest, values), np.float64)


def count_cells(
    proportions: Floats, kinds: Sequence[str], n: int, rng: np.random.Generator
) -> Ints:
    """Count `n` white cells of each patient, and the nucleated red cells met meanwhile.

    White cells are multinomial, nucleated red cells Poisson.

    Parameters
    ----------
    proportions : ndarray of float64, shape (P, K)
        From `sample_proportions`.
    kinds : sequence of str
        The kinds, as there.
    n : int
        White cells of each patient.
    rng : numpy.random.Generator
        The source of random numbers.

    Returns
    -------
    ndarray of int64, shape (P, K)
        Cells of each kind; the white ones of a patient add up to `n`.
    """
    white = is_white(kinds)
    counts = rng.poisson(n * proportions)
    shares = proportions[:, white]
    counts[:, white] = rng.multinomial(n, shares / shares.sum(axis=1, keepdims=True))
    return counts


def _ranges(of: Mapping[str, tuple[float, float]], kinds: Sequence[str]) -> Floats:
    unknown = sorted(set(kinds) - set(of))
    if unknown:
        raise ValueError(f"`kinds` must be among {', '.join(of)}. Received: {', '.join(unknown)}")
    return np.array([of[kind] for kind in kinds], np.float64).T
