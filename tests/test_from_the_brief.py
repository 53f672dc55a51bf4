"""The commands of docs/from-the-brief.md run in order, and its warning is justified."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from hematovision.data.samples import SPLIT_FOLDERS
from hematovision.model.weights import BackboneWeights, bundled_weights
from hematovision.training.keras_model import backbone_model
from quick_program import QUICK_PROGRAM

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "from-the-brief.md").read_text(encoding="utf-8")
KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
FOLDER = "blood_cells_dataset/Blood cells"


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE)


def commands() -> list[list[str]]:
    """The page's commands, in order."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A Keras that has downloaded before: the shipped weights stand in for those of ImageNet."""
    home = tmp_path_factory.mktemp("keras")
    (home / "models").mkdir()
    weights = BackboneWeights(bundled_weights().arrays)  # to see 224 pixels, as ImageNet's do
    backbone_model(weights).save(home / "models" / KERAS_FILE)
    return {
        **os.environ,
        "KERAS_HOME": str(home),
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "100",
    }


@pytest.fixture(scope="module")
def typed(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """The folder in which all commands of the page were run, and what each printed."""
    folder = tmp_path_factory.mktemp("brief")
    printed = []
    for program, *arguments in commands():
        assert program == "hematovision"
        done = subprocess.run(
            [*QUICK_PROGRAM, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        findings = 3 if arguments[:2] == ["data", "check"] else 0
        assert done.returncode in (0, findings), f"{arguments}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    return folder, printed


def test_the_page_makes_the_layout_of_the_brief(typed: tuple[Path, list[str]]):
    folder, _ = typed
    assert {path.name for path in (folder / FOLDER).iterdir() if path.is_dir()} == set(
        SPLIT_FOLDERS.values()
    )
    for split in SPLIT_FOLDERS.values():
        labels = {path.name for path in (folder / FOLDER / split).iterdir()}
        assert labels == {"RBC", "WBC", "Platelets"}


def test_training_follows_the_brief(typed: tuple[Path, list[str]]):
    folder, _ = typed
    run = folder / "runs" / "brief"
    manifest = json.loads((run / "bundle.json").read_text())
    assert manifest["backbone"]["name"] == "imagenet"
    with (run / "history.csv").open(newline="") as stream:
        epochs = list(csv.DictReader(stream))
    assert 1 <= len(epochs) <= 15
    assert {"loss", "val_loss", "accuracy", "val_accuracy"} <= set(epochs[0])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.9
    assert np.array(metrics["confusion_matrix"]).shape == (3, 3)


@pytest.mark.parametrize(
    "name", ["accuracy_loss.png", "accuracy_loss.svg", "confusion_matrix.png", "report.html"]
)
def test_the_figures_of_the_brief_are_in_the_run_folder(typed: tuple[Path, list[str]], name: str):
    folder, _ = typed
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!doctype html>"}
    content = (folder / "runs" / "brief" / name).read_bytes()
    assert content.startswith(begins[Path(name).suffix])


def test_the_classification_report_counts_the_test_images(typed: tuple[Path, list[str]]):
    folder, _ = typed
    with (folder / "runs" / "brief" / "classification_report.csv").open(newline="") as stream:
        rows = {row["class"]: row for row in csv.DictReader(stream)}
    assert [int(rows[label]["support"]) for label in ("RBC", "WBC", "Platelets")] == [12, 6, 6]


def test_the_h5_opens_in_plain_keras_with_the_layers_of_the_brief(typed: tuple[Path, list[str]]):
    folder, _ = typed
    model = keras.models.load_model(folder / "hematovision_model.h5", compile=False)
    assert model.input_shape == (None, 224, 224, 3)
    backbone, pooling, hidden, probabilities = model.layers[-4:]
    assert backbone.name == "mobilenetv2"
    assert backbone.output_shape[1:] == (7, 7, 1280)
    assert isinstance(pooling, keras.layers.GlobalAveragePooling2D)
    assert (hidden.units, hidden.activation) == (128, keras.activations.relu)
    assert (probabilities.units, probabilities.activation) == (3, keras.activations.softmax)


def test_every_test_image_has_a_row_in_the_table(typed: tuple[Path, list[str]]):
    folder, _ = typed
    with (folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(list((folder / FOLDER / "Test").rglob("*.png"))) == 24
    right = [Path(row["path"]).parent.name == row["label"] for row in rows]
    assert sum(right) >= 22


def test_scaling_twice_is_the_trap_that_the_page_warns_of(
    typed: tuple[Path, list[str]], environment: dict[str, str]
):
    folder, _ = typed
    (script,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    as_wanted = re.search(r"as the model wants it: (\d+) right", done.stdout)
    scaled_twice = re.search(r"scaled twice: (\d+) right", done.stdout)
    assert as_wanted
    assert scaled_twice
    assert int(as_wanted[1]) >= 22
    assert int(scaled_twice[1]) <= 12
