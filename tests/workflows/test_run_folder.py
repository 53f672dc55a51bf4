"""Run folders with unusual names of folders, datasets and images."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hematovision.data.folders import read_dataset
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.model.bundle import read_bundle
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.run_folder import Recipe, write_model, write_results
from workflows.killed_writer import trained_model


@pytest.fixture(autouse=True)
def _without_keras(monkeypatch):
    stub = ModuleType("hematovision.training.keras_files")
    stub.keras_bytes = lambda *_, **__: {"h5": b"h5", "keras": b"keras"}
    monkeypatch.setitem(sys.modules, stub.__name__, stub)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names there are valid Unicode")
@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"caf\xe9", "caf\\xe9"), (b"red\x1b[31m", "red\\x1b[31m"), (b"two\nlines", "two\\nlines")],
)
def test_undecodable_and_control_characters_in_names_are_escaped(name, shown, tmp_path):
    folder = tmp_path / os.fsdecode(name)
    write_synthetic_cells(folder, 60, seed=1)
    image = next((folder / "Test" / "RBC").glob("*.png"))
    image.rename(image.with_name(os.fsdecode(name) + ".png"))
    (folder / "cells.csv").unlink()
    dataset = read_dataset(folder)
    trained, recipe = trained_model(dataset), Recipe("hematology", 0, 1, {})
    with claimed_folder(tmp_path / "runs" / os.fsdecode(name)) as out:
        write_results(write_model(out, dataset, trained, recipe), dataset, trained, recipe)
    bundle = read_bundle(Path(out))
    assert bundle.name == shown
    assert bundle.manifest.data["dataset"] == shown
    assert f"<h1>{shown}: test split</h1>" in bundle.read("report.html").decode()
    assert bundle.read("MODEL_CARD.md").decode()
