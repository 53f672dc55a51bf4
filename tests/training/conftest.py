"""Synthetic cells, the shipped weights, and a separate cache for every test."""

import os
from pathlib import Path

import pytest

from hematovision.data.folders import read_dataset
from hematovision.data.samples import Dataset
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.model.weights import BackboneWeights, bundled_weights

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def weights() -> BackboneWeights:
    return bundled_weights()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 synthetic cells with Train, Valid and Test."""
    root = tmp_path_factory.mktemp("synthetic") / "cells"
    write_synthetic_cells(root, 60, seed=3)
    return read_dataset(root)
