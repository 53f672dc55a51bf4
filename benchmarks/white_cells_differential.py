"""The differential of laboratories left out of training, over simulated patients.

    python -m benchmarks.white_cells_differential --work runs/recipes [--lab LAB ...]
                                                  [--seeds 0 1 2] [--cells 100 200] [--quick]

Reads the predictions of `benchmarks/white_cells_across_labs.py`, WORK/white-cells/across-labs/
LAB-SEED.npz (with `--quick` those in across-labs-quick), and prints tables for each laboratory:
slope and intercept of the Deming line, bias and limits of agreement, and kappa, for each kind.
`hematovision.evaluation.differential` has the method, the bars and their source. The seeds of a
laboratory are models of the same cells; patients are shared out among them.

Three rows per kind: cells sent for review left out of the differential; the same cells classified
by a person; and, for comparison, a second count without errors of other cells of the patients: its
intervals show how far a single study is off by counting alone. The first two compare with the true
kinds of the same cells, so their scatter is that of the errors only. "Limit by counting" is the
limit of agreement of two counts without errors.

Estimates are medians of 25 studies, and the bars are applied to them; an interval that reaches
beyond a bar means that one study may miss it.

All results, also correlations and the lines of Passing and Bablok, are written to
WORK/white-cells/differential.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import markdown_table, write_json
from hematovision.evaluation.differential import (
    INTERCEPT_BAR,
    KAPPA_BAR,
    SLOPE_BAR,
    ClassifiedCells,
    Comparison,
    DifferentialStudy,
    Estimate,
    KindAgreement,
    evaluate_differential,
)

KINDS = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil")
"""The classes of the models, in order."""

LABS = ("bccd", "krd", "raabin", "pbc")

ROWS: Mapping[Comparison, str] = {
    "unclassified": "reviewed cells left out",
    "resolved": "reviewed by a person",
    "recount": "second count, no errors",
}
COLUMNS = [
    "kind", "cells", "differential", "slope (95%)", "intercept (95%)", "Passing-Bablok", "r",
    "bias [limits of agreement]", "limit by counting", "kappa (95%)", "kappa of flags", "bars",
]  # fmt: skip


def main() -> None:
    """Evaluate the differentials and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="with white-cells/across-labs")
    parser.add_argument("--lab", nargs="+", default=list(LABS), help="laboratories left out")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--cells", nargs="+", type=int, default=[100, 200], help="per patient")
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--draws", type=int, default=500, help="studies for the intervals")
    parser.add_argument("--quick", action="store_true", help="predictions made with --quick")
    args = parser.parse_args()

    folder = args.work / "white-cells"
    predictions = folder / ("across-labs-quick" if args.quick else "across-labs")
    results: dict[str, dict[str, object]] = {}
    for lab in args.lab:
        cells = read_predictions([predictions / f"{lab}-{s}.npz" for s in args.seeds])
        for n in args.cells:
            study = evaluate_differential(
                cells, cells_per_patient=n, patients=args.patients, draws=args.draws
            )
            results.setdefault(lab, {})[str(n)] = asdict(study)
            print(f"{report(lab, study)}\n", flush=True)
    bars = {"slope": SLOPE_BAR, "intercept": INTERCEPT_BAR, "kappa": KAPPA_BAR}
    write_json(folder / "differential.json", {"bars": bars, "labs": results})


def read_predictions(paths: Sequence[Path]) -> ClassifiedCells:
    """Read the predictions of one or more models for the same cells.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Files with ``labels`` int (N,), ``probabilities`` float (N, 7), ``accepted`` bool (N,) and
        ``groups`` str (N,), the slide or field. Other arrays are ignored.

    Raises
    ------
    SystemExit
        If a file is missing, has other classes, or its cells are not those of the first file.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise SystemExit(
            f"There is no {missing[0]}. Write it with benchmarks/white_cells_across_labs.py, or "
            "choose others with --lab and --seeds."
        )
    files = [_arrays(path) for path in paths]
    for path, file in zip(paths, files, strict=True):
        if file["probabilities"].shape[1:] != (len(KINDS),):
            raise SystemExit(
                f"{path}: `probabilities` must be (N, {len(KINDS)}). "
                f"Found: {file['probabilities'].shape}"
            )
        if any(not np.array_equal(file[name], files[0][name]) for name in ("labels", "groups")):
            raise SystemExit(f"{path} must have the same cells, in the same order, as {paths[0]}.")
    return ClassifiedCells(
        KINDS,
        files[0]["labels"],
        np.stack([file["probabilities"].argmax(axis=1) for file in files]),
        np.stack([file["accepted"] for file in files]),
        files[0]["groups"],
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("labels", "probabilities", "accepted", "groups")}


def report(lab: str, study: DifferentialStudy) -> str:
    """Return the result of one laboratory and number of cells as Markdown."""
    kinds = study.comparisons["unclassified"].kinds
    rows = [
        _row(kind, study.comparisons[comparison].kinds[kind], text)
        for kind in kinds
        for comparison, text in ROWS.items()
    ]
    title = (
        f"**{lab}**, {study.cells_per_patient} white cells per patient: {study.patients} patients "
        f"from {study.units} slides, fields or images; models: {study.models}; "
        f"{100 * study.review_rate:.1f}% of the cells sent for review."
    )
    lines = [
        title,
        "",
        markdown_table(COLUMNS, rows),
        "",
        *(_summary(study, comparison) for comparison in ROWS),
    ]
    if study.too_few:
        few = ", ".join(f"{kind} ({n})" for kind, n in study.too_few.items())
        lines.append(f"- too few cells: {few}")
    return "\n".join(lines)


def _row(kind: str, found: KindAgreement, text: str) -> list[str]:
    missed = found.missed()
    robust = [found.passing_bablok_slope.value, found.passing_bablok_intercept.value]
    limits = f"{_number(found.lower_limit.value, 1)} to {_number(found.upper_limit.value, 1)}"
    return [
        kind,
        f"{found.cells:,}",
        text,
        _with_interval(found.deming_slope),
        _with_interval(found.deming_intercept),
        " / ".join(map(_number, robust)),
        _number(found.pearson.value, 3),
        f"{_number(found.bias.value)} [{limits}]",
        f"± {found.counting_limit:.1f}",
        _with_interval(found.kappa),
        _number(found.flag_kappa.value),
        f"fail: {', '.join(missed)}" if missed else "pass",
    ]


def _summary(study: DifferentialStudy, comparison: Comparison) -> str:
    found = study.comparisons[comparison]
    passed = sum(not kind.missed() for kind in found.kinds.values())
    parts = [
        f"kappa of all kinds {_with_interval(found.kappa)}",
        f"of patients with an abnormal differential {_with_interval(found.flag_kappa)}",
        f"{passed} of {len(found.kinds)} kinds pass",
    ]
    wrong = {kind: e.value for kind, e in found.false_kinds.items() if e.value}
    if wrong:
        false = ", ".join(f"{kind} {value:.2f}" for kind, value in wrong.items())
        parts.append(f"per 100 white cells, wrongly: {false}")
    return f"- {ROWS[comparison]}: {'; '.join(parts)}"


def _with_interval(estimate: Estimate) -> str:
    if estimate.interval is None:
        return _number(estimate.value)
    low, high = estimate.interval
    return f"{_number(estimate.value)} ({low:.2f} to {high:.2f})"


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
