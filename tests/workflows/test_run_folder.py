"""Run folders with unusual names of folders, datasets and images."""

import os
import sys

import pytest

from hematovision.data.folders import read_dataset
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.model.bundle import read_bundle
from workflows.random_model import fill_run_folder

NAME, SHOWN = b"caf\xe9 red\x1b[31m two\nlines", r"caf\xe9 red\x1b[31m two\nlines"


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names there are valid Unicode")
def test_undecodable_and_control_characters_in_names_are_escaped(
    tmp_path, monkeypatch, without_figures
):
    folder = tmp_path / os.fsdecode(NAME)
    write_synthetic_cells(folder, 60, seed=1)
    image = next((folder / "Test" / "RBC").glob("*.png"))
    image.rename(image.with_name(os.fsdecode(NAME) + ".png"))
    (folder / "cells.csv").unlink()
    run = tmp_path / "runs" / os.fsdecode(NAME)
    fill_run_folder(run, read_dataset(folder), monkeypatch)
    bundle = read_bundle(run)
    assert bundle.name == SHOWN
    assert bundle.manifest.data["dataset"] == SHOWN
    assert f"<h1>{SHOWN}: test split</h1>" in bundle.read("report.html").decode()
    assert bundle.read("MODEL_CARD.md").decode()
