"""Make the bundled classifier `white-cells` from the recipe's network.

    make white-cells
    python -m recipes.white_cells.bundle --data DATA --work runs/recipes

Backbone and head are those that `recipe.py` trains with all labs. Calibration and thresholds are
fitted to labs that were left out (`trust.py`): four further trainings, without one lab each. The
report is on the test splits, `pbc/val` among them. The run folder stays in WORK/runs; the package
gets the files needed to predict.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from hematovision.data.samples import Dataset, Sample, Split
from hematovision.files import sha256_bytes
from hematovision.model.bundle import ONNX, read_bundle, seal_self_test, write_bundle
from hematovision.model.calibration import Calibration, fit_calibration
from hematovision.model.weights import bundled_weights_path
from hematovision.taxonomy import WHITE_CELLS
from hematovision.training.inputs import FeatureReader
from hematovision.training.recipe import Epoch, HeadTraining, TrainedHead
from hematovision.training.trainer import TrainedModel, train_model
from hematovision.workflows.run_folder import Recipe, write_model, write_results
from recipes.bundled_models.facts import WHITE_CELLS as ABOUT
from recipes.bundled_models.reports import add_report
from recipes.hematology_backbone.made import LOG
from recipes.white_cells.batches import FRAMING
from recipes.white_cells.cells import LABS, TASK, Cells, folder_of, prepare
from recipes.white_cells.trust import RARE, VALID, Model, Trust, fit_trust, framed

HERE = Path(__file__).resolve().parent
KEPT = ("MODEL_CARD.md", "history.csv", "metrics.json")
DETAILS = {
    "Epochs": "the head was trained together with the backbone, on augmented cells; the rows of "
    "history.csv are those of recipes/white_cells/log.csv",
    "Calibration, thresholds": "fitted to the cells of labs that were left out of the training",
}


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for cells and run folders")
    args = parser.parse_args()
    work = args.work.resolve()  # all samples below one root
    cells = prepare(args.data, work)
    model = Model(cells, work, (), 0)
    trust = trust_of(model)
    # Images of another framing are another folder's.
    framing = sha256_bytes(FRAMING.identity.encode())[:8]
    data = dataset(cells, work / "white-cells" / f"framed-{framing}")
    log = folder_of(work, (), 0) / LOG
    trained = _trained(data, model, trust, log)
    run = _write(data, trained, work / "runs" / WHITE_CELLS.name)
    package(run, bundled_weights_path().parent / WHITE_CELLS.name)
    (HERE / LOG).write_bytes(log.read_bytes())


def trust_of(model: Model) -> Trust:
    """Return calibration and thresholds for a model that has seen all labs.

    They are fitted to the labs' predictions when each is left out. A model trained on all labs, and
    for longer, has other logits; the temperature is therefore larger or smaller by as much as the
    temperatures that fit the validation cells of the labs seen in training.
    """
    left_out = {lab: Model(model.cells, model.work, (lab,), 0) for lab in LABS}
    trust = fit_trust(
        [one.to_fit(lab) for lab, one in left_out.items()],
        [one.predicted(RARE) for lab, one in left_out.items() if lab != "pbc"],
    )
    before = np.median([_temperature(one) for one in left_out.values()])
    factor = _temperature(model) / float(before)
    calibration = Calibration(trust.calibration.temperature * factor, trust.calibration.bias)
    return Trust(calibration, trust.thresholds)


def _temperature(model: Model) -> float:
    valid = model.predicted(VALID)
    return fit_calibration(valid.logits, valid.labels).temperature


def dataset(cells: Mapping[str, Cells], folder: Path) -> Dataset:
    """Write the cells of all labs as the model sees them, and return them as a dataset."""
    samples = [
        _sample(cells[lab], lab, number, folder)
        for lab in LABS
        for number in range(len(cells[lab]))
    ]
    return Dataset(folder, WHITE_CELLS, tuple(sorted(samples, key=lambda sample: sample.path)))


def _sample(cells: Cells, lab: str, number: int, folder: Path) -> Sample:
    kind = WHITE_CELLS.classes[int(cells.labels[number])]
    split = _SPLITS[str(cells.splits[number])]
    path = folder / lab / split / kind / f"{number:05d}.png"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(framed(cells, number)).save(path, compress_level=1)
    return Sample(path, kind, split, f"{lab} {cells.groups[number]}", lab)


_SPLITS: Mapping[str, Split] = {"train": "train", "valid": "valid", "test": "test"}


def _trained(data: Dataset, model: Model, trust: Trust, log: Path) -> TrainedModel:
    head = model.made.heads[TASK]
    how = TrainedHead(head, _curve(log))
    found = train_model(
        FeatureReader(data, _report), model.made.weights, HeadTraining(), trained=how
    )
    return replace(
        found,
        head=trust.calibration.fold(head),
        temperature=trust.calibration.temperature,
        novelty=model.novelty,
        thresholds=replace(trust.thresholds, max_field=found.thresholds.max_field),
    )


def _write(data: Dataset, trained: TrainedModel, run: Path) -> Path:
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    made_by = {"recipe": "recipes/white_cells"}
    recipe = Recipe("imagenet, trained further", 0, 0, made_by, about=ABOUT, details=DETAILS)
    _, metrics = write_results(write_model(run, data, trained, recipe), data, trained, recipe)
    for lab, scores in (metrics.per_lab or {}).items():
        print(lab, scores.n, "cells,", scores.errors, "errors,", scores.balanced_accuracy)
    return run


def package(run: Path, folder: Path) -> None:
    """Write the files needed to predict, with the framing, into the package."""
    bundle = read_bundle(run)
    manifest = replace(bundle.manifest, framing=FRAMING)
    shutil.rmtree(folder, ignore_errors=True)
    kept = {name: (run / name).read_bytes() for name in KEPT}
    seal_self_test(write_bundle(folder, manifest, {ONNX: bundle.read(ONNX), **kept}))
    add_report(folder)


def _curve(log: Path) -> tuple[Epoch, ...]:
    with log.open(newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    return tuple({"epoch": i, "loss": loss} for i, loss in enumerate(losses, start=1))


def _report(done: int, total: int, what: str, unit: str = "", /) -> None:
    if done % 1024 == 0 or done == total:
        print(what, done, "of", total, unit, flush=True)


if __name__ == "__main__":
    main()
