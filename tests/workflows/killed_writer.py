"""Writes run folders in processes that are killed at their N-th step on disk, for every N.

``python killed_writer.py FOLDER`` writes into FOLDER/1, FOLDER/2 and so on, each in a child process
that exits without clean-up just before its N-th file is moved into place. Prints the number of the
first child that finishes.
"""

import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

from hematovision.data.folders import read_dataset
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.model.architecture import FEATURES
from hematovision.model.head import Head
from hematovision.model.novelty import Novelty
from hematovision.model.thresholds import Thresholds
from hematovision.model.weights import bundled_weights
from hematovision.training.inputs import SplitFeatures
from hematovision.training.trainer import TrainedModel
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.run_folder import Recipe, write_model, write_results

KILLED = 9


def trained_model(dataset) -> TrainedModel:
    rng = np.random.default_rng(0)
    n = len(dataset.taxonomy.classes)
    splits = {}
    for split in dataset.splits:
        subset = dataset.subset(split)
        features = rng.uniform(0, 2, (len(subset), FEATURES)).astype(np.float32)
        colours = rng.uniform(0, 255, (len(subset), 3)).astype(np.float32)
        digests = tuple(f"{i:064x}" for i in range(len(subset)))
        fields = np.zeros(len(subset), np.float32)
        splits[split] = SplitFeatures(
            subset.samples, subset.labels, features, colours, fields, digests
        )
    return TrainedModel(
        weights=bundled_weights(),
        head=Head(((rng.normal(0, 0.1, (FEATURES, n)), np.zeros(n)),)),
        novelty=Novelty(np.ones((n, FEATURES), np.float32), np.ones(FEATURES, np.float32)),
        temperature=1.0,
        thresholds=Thresholds(0.8, 10.0),
        history=({"epoch": 1.0, "loss": 0.5, "accuracy": 0.9},),
        splits=splits,
        refused=(),
    )


def die_at(step: int) -> None:
    """Exit just before this process moves its `step`-th file into place."""
    left, replace = [step], Path.replace

    def counted(path: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            os._exit(KILLED)
        return replace(path, target)

    Path.replace = counted


def work(root: Path, step: int) -> None:
    dataset = read_dataset(root / "cells")
    trained = trained_model(dataset)
    recipe = Recipe("hematology", 0, 1, {})
    die_at(step)
    with claimed_folder(root / str(step)) as out:
        write_results(write_model(out, dataset, trained, recipe), dataset, trained, recipe)


def main(root: Path) -> None:
    write_synthetic_cells(root / "cells", 60, seed=3)
    # Keras files need TensorFlow, which does not survive a fork; their content does not matter.
    stub = ModuleType("hematovision.training.keras_files")
    stub.keras_bytes = lambda *_, **__: {"h5": b"h5", "keras": b"keras"}
    sys.modules[stub.__name__] = stub
    step, code = 0, KILLED
    while code == KILLED:
        step += 1
        child = os.fork()
        if not child:
            work(root, step)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(f"{step} {code}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
