"""A run folder can be written whatever its folder, the dataset and the images are called."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from jobs.killed_writer import learned

from hematovision.data.folders import read_dataset
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.model.bundle import read_bundle
from hematovision.workflows.outputs import claimed_folder
from hematovision.workflows.run_folder import Recipe, write_figures, write_model


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
def test_names_that_no_text_can_hold_are_written_escaped(name, shown, tmp_path):
    folder = tmp_path / os.fsdecode(name)
    write_synthetic_cells(folder, 60, seed=1)
    image = next((folder / "Test" / "RBC").glob("*.png"))
    image.rename(image.with_name(os.fsdecode(name) + ".png"))
    (folder / "cells.csv").unlink()
    dataset = read_dataset(folder)
    known, recipe = learned(dataset), Recipe("hematology", 0, 1, {})
    with claimed_folder(tmp_path / "runs" / os.fsdecode(name)) as out:
        write_figures(write_model(out, dataset, known, recipe), dataset, known, recipe)
    bundle = read_bundle(Path(out))
    assert bundle.name == shown
    assert bundle.manifest.data["dataset"] == shown
    assert f"<h1>{shown}: test part</h1>" in bundle.read("report.html").decode()
    assert bundle.read("MODEL_CARD.md").decode()
