"""Leave one laboratory out: the kinds of white cells in a laboratory the model was not trained on.

    python -m benchmarks.white_cells_across_labs --data DATA --work runs/recipes
                                                 [--leave LAB ...] [--seeds 0 1 2] [--quick]

For each laboratory and seed the recipe of `white-cells` is run without it, from ImageNet weights
on. Temperature and thresholds are those that hold in the other laboratories when each of them is
left out as well: six further models, each without two laboratories. With `--quick` they are fitted
to models without one laboratory each, which have seen the one that is left out here. Then every
labelled white cell of the laboratory is classified. The detector that measures the red cells has
seen the laboratory.

- Balanced accuracy is the mean recall of the kinds with at least 20 cells; intervals are from a
  bootstrap over slides (raabin), fields (bccd, krd) or images (pbc). Of PBC, the five kinds that
  other laboratories have are scored; immature granulocytes and erythroblasts are only in PBC.
- Of bccd also the cells on which the published label and a second reader agree are scored
  (`recipes/white_cells/bccd_kinds.csv`).
- The results within the laboratories, on test splits, are in the card of `white-cells`
  (`recipes/white_cells/bundle.py`).

Results are kept below WORK/white-cells: re-run the command to resume.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hematovision.evaluation import Metrics, evaluate
from hematovision.model.thresholds import accepts
from hematovision.taxonomy import WHITE_CELLS
from recipes.white_cells.cells import LABS, prepare
from recipes.white_cells.trust import KINDS, Model, Predicted, Trust, of_kinds, trust_without

_FEW = 20
_RESAMPLES = 2000


class Predictions(NamedTuple):
    """Predictions for N cells, as arrays for an .npz file."""

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    novelty: NDArray[np.float32]
    groups: NDArray[np.str_]

    def of(self, chosen: NDArray[np.bool_]) -> Predictions:
        """Return the predictions for some of the cells."""
        return Predictions(*(values[chosen] for values in self))


def main() -> None:
    """Run the protocol and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for cells, models and results")
    parser.add_argument("--leave", nargs="+", choices=LABS, default=list(LABS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="no models without two labs")
    args = parser.parse_args()
    cells = prepare(args.data, args.work)
    kept = args.work / "white-cells" / ("across-labs" + ("-quick" if args.quick else ""))
    kept.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for lab in args.leave:
            path = kept / f"{lab}-{seed}.npz"
            if not path.exists():
                trust = trust_without(cells, args.work, lab, quick=args.quick)
                _save(path, left_out(Model(cells, args.work, (lab,), seed), lab, trust))
                print(f"classified {lab}, seed {seed}", flush=True)
    rows = {lab: pooled([kept / f"{lab}-{s}.npz" for s in args.seeds]) for lab in args.leave}
    if "bccd" in rows:
        agreed = np.tile(of_kinds(cells["bccd"], KINDS).agreed, len(args.seeds))
        rows["bccd, where label and reader agree"] = rows["bccd"].of(agreed)
    values = {
        lab: {**scored(r).to_json(), "balanced": balanced(r, len(args.seeds))._asdict()}
        for lab, r in rows.items()
    }
    (kept / "metrics.json").write_text(json.dumps(values, indent=1) + "\n")
    print(table(rows, len(args.seeds)))


def left_out(model: Model, lab: str, trust: Trust) -> Predictions:
    """Classify the cells of a lab with a model, and thresholds, that have not seen it."""
    return predictions(model.predicted(lab), trust, of_kinds(model.cells[lab], KINDS).groups)


def predictions(found: Predicted, trust: Trust, groups: NDArray[np.str_]) -> Predictions:
    """Apply calibration and thresholds."""
    p = trust.probabilities(found.logits)
    accepted = accepts(p, found.novelty, trust.thresholds)
    return Predictions(found.labels, p, accepted, found.novelty, groups)


def _save(path: Path, found: Predictions) -> None:
    partial = path.with_suffix(".new.npz")
    np.savez(partial, **found._asdict())  # type: ignore[arg-type]
    partial.replace(path)


def pooled(paths: Sequence[Path]) -> Predictions:
    """Read the predictions of several seeds as one."""
    parts = []
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            parts.append(Predictions(**{name: arrays[name] for name in Predictions._fields}))
    return Predictions(*(np.concatenate(values) for values in zip(*parts, strict=True)))


class Balanced(NamedTuple):
    """Balanced accuracy over the kinds with at least 20 cells, and its 95% interval."""

    value: float
    low: float
    high: float


def balanced(found: Predictions, n_seeds: int) -> Balanced:
    """Return the balanced accuracy, with an interval from a bootstrap over groups."""
    hit = found.probabilities.argmax(axis=1) == found.labels
    groups, group = np.unique(found.groups, return_inverse=True)
    shape = (len(groups), len(WHITE_CELLS.classes))
    hits, totals = np.zeros(shape), np.zeros(shape)
    np.add.at(hits, (group, found.labels), hit)
    np.add.at(totals, (group, found.labels), 1)
    kinds = totals.sum(axis=0) >= _FEW * n_seeds
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=_RESAMPLES)
    with np.errstate(invalid="ignore"):
        recalls = (times @ hits[:, kinds]) / (times @ totals[:, kinds])
    low, high = np.nanquantile(np.nanmean(recalls, axis=1), (0.025, 0.975))
    value = float((hits.sum(axis=0) / totals.sum(axis=0).clip(1))[kinds].mean())
    return Balanced(value, float(low), float(high))


def scored(found: Predictions) -> Metrics:
    """Score predictions as `hematovision evaluate` does."""
    return evaluate(
        found.labels,
        found.probabilities,
        WHITE_CELLS.classes,
        accepted=found.accepted,
        groups=list(found.groups),
    )


def table(rows: Mapping[str, Predictions], n_seeds: int) -> str:
    """Return the metrics as a Markdown table, one row per laboratory."""
    names = [WHITE_CELLS.classes[kind] for kind in KINDS]
    head = "| laboratory | cells | balanced accuracy | recall " + " / ".join(names)
    lines = [f"{head} | accuracy on the rest | review | ECE |", "| --- " * 7 + "|"]
    for lab, found in rows.items():
        scores, mean = scored(found), balanced(found, n_seeds)
        recalls = " / ".join(
            "-" if scores.per_class[name].recall is None else f"{100 * _recall(scores, name):.1f}"
            for name in names
        )
        lines.append(
            f"| {lab} | {n_seeds} x {len(found.labels) // n_seeds:,} "
            f"| {mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f}) | {recalls} "
            f"| {100 * (scores.accuracy_accepted or 0):.1f}% | {100 * scores.review_rate:.1f}% "
            f"| {scores.ece:.3f} |"
        )
    return "\n".join(lines)


def _recall(scores: Metrics, name: str) -> float:
    recall = scores.per_class[name].recall
    return float("nan") if recall is None else recall


if __name__ == "__main__":
    main()
