"""Make the two bundled models from the shipped `hematology` weights.

    make bundled-models
    python -m recipes.bundled_models.recipe --data DATA --work runs/recipes

- `rbc-wbc-platelets` is for unseen labs: its head was trained with the backbone, on augmented
  cells. The novelty score is fitted to the training splits of bccd, txl/raabin, txl/pbc and
  draaslan and to some of PBC's single-cell images (`data.py`); it is calibrated and evaluated on
  the validation and test splits of the four.
- `pbc8` is for one analyser: backbone and head are trained further on 90% of pbc/train
  (`recipes/hematology_backbone/pbc8.py`, which this runs if it has not been run), calibrated on
  the other 10%, and evaluated on pbc/val, which is used for nothing else.

The full run folders stay in WORK/runs; the package gets the files needed to predict. The
graph of the first refers to the packaged weights file, that of the second holds its own.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from dataclasses import replace
from pathlib import Path

from hematovision.data.samples import Dataset
from hematovision.model.bundle import ONNX, read_bundle, seal_self_test, write_bundle
from hematovision.model.graph import classifier_graph, read_classifier_graph
from hematovision.model.manifest import SHARED_WEIGHTS, BackboneRef
from hematovision.model.weights import bundled_weights, bundled_weights_path
from hematovision.reporting.card import Statements
from hematovision.training.inputs import FeatureReader
from hematovision.training.recipe import Epoch, HeadTraining, TrainedHead
from hematovision.training.trainer import train_model
from hematovision.workflows.run_folder import Recipe, write_model, write_results
from recipes.bundled_models.data import cells_dataset, pbc8_dataset
from recipes.bundled_models.facts import CELLS, PBC8
from recipes.bundled_models.reports import add_report
from recipes.hematology_backbone.made import HERE, LOG, PBC8_LOG, Made, shipped
from recipes.hematology_backbone.nucleated import with_nucleated
from recipes.hematology_backbone.pbc8 import make_pbc8
from recipes.sets import prepare

WITH_THE_BACKBONE = (
    "the head was trained together with the backbone, on augmented cells; the rows of history.csv "
    "are those of recipes/hematology_backbone/{}"
)
KEPT = ("MODEL_CARD.md", "history.csv", "metrics.json")


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for imports and run folders")
    parser.add_argument(
        "--only", nargs="+", choices=("cells", "pbc8"), default=("cells", "pbc8"), help="which"
    )
    args = parser.parse_args()
    args.work = args.work.resolve()  # all samples below one root

    sets = prepare(args.data, args.work)
    if "cells" in args.only:
        made = with_nucleated(shipped(), sets, args.data, args.work)
        _make(cells_dataset(sets), CELLS, args.work, made, "cells", HERE / LOG)
    if "pbc8" in args.only:
        fine = make_pbc8(sets["pbc"], args.data, args.work)
        _make(pbc8_dataset(sets), PBC8, args.work, fine, "pbc8", HERE / PBC8_LOG)


def _curve(log: Path) -> tuple[Epoch, ...]:
    with log.open(newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    return tuple({"epoch": i, "loss": loss} for i, loss in enumerate(losses, start=1))


def _make(data: Dataset, about: Statements, work: Path, made: Made, task: str, log: Path) -> None:
    taxonomy = data.taxonomy
    run = work / "runs" / taxonomy.name
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    how, trained = HeadTraining(), TrainedHead(made.heads[task], _curve(log))
    model = train_model(FeatureReader(data, _report), made.weights, how, trained=trained)
    made_by = {"recipe": "recipes/bundled_models"}
    details = {"Epochs": WITH_THE_BACKBONE.format(log.name)}
    shared = made.weights.sha256 == bundled_weights().sha256
    weights = "hematology" if shared else "hematology, fine-tuned"
    recipe = Recipe(weights, how.seed, how.epochs, made_by, about=about, details=details)
    _, metrics = write_results(write_model(run, data, model, recipe), data, model, recipe)
    package = bundled_weights_path().parent / taxonomy.name
    _package(run, package, shared=shared)
    print(taxonomy.name, "balanced accuracy", metrics.balanced_accuracy, "of", metrics.n)
    for lab, scores in (metrics.per_lab or {}).items():
        print(" ", lab, scores.n, "images,", scores.errors, "errors,", scores.balanced_accuracy)


def _package(run: Path, folder: Path, *, shared: bool) -> None:
    """Write the files needed to predict; packaged weights stay in their own file."""
    bundle = read_bundle(run)
    graph, manifest = bundle.read(ONNX), bundle.manifest
    if shared:
        parts = read_classifier_graph(graph)
        graph = classifier_graph(
            parts.weights,
            parts.head,
            parts.novelty,
            external=SHARED_WEIGHTS,
            field_score=parts.field_score,
        )
        backbone = BackboneRef("hematology", parts.weights.sha256, shared=True)
        manifest = replace(manifest, backbone=backbone)
    shutil.rmtree(folder, ignore_errors=True)
    kept = {name: (run / name).read_bytes() for name in KEPT}
    seal_self_test(write_bundle(folder, manifest, {ONNX: graph, **kept}))
    add_report(folder)


def _report(done: int, total: int, what: str, unit: str = "", /) -> None:
    if done % 1024 == 0 or done == total:
        print(what, done, "of", total, unit, flush=True)


if __name__ == "__main__":
    main()
