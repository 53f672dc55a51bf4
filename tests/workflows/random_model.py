"""Fills run folders with a random model, without Keras: only the names of the files matter."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hematovision.data.samples import Dataset
from hematovision.model.architecture import FEATURES
from hematovision.model.head import Head
from hematovision.model.novelty import Novelty
from hematovision.model.thresholds import Thresholds
from hematovision.model.weights import bundled_weights
from hematovision.training.inputs import SplitFeatures
from hematovision.training.trainer import TrainedModel
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.run_folder import Recipe, write_model, write_results


def fill_run_folder(folder: Path, dataset: Dataset, patch: pytest.MonkeyPatch) -> None:
    """Write all files of a training into `folder`."""
    stub = ModuleType("hematovision.training.keras_files")
    stub.keras_bytes = lambda *_, **__: {"h5": b"h5", "keras": b"keras"}
    patch.setitem(sys.modules, stub.__name__, stub)
    trained, recipe = trained_model(dataset), Recipe("hematology", 0, 1, {})
    with claimed_folder(folder) as out:
        write_results(write_model(out, dataset, trained, recipe), dataset, trained, recipe)


def trained_model(dataset: Dataset) -> TrainedModel:
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
