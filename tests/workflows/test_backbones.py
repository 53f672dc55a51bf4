"""The whole pipeline on another backbone: train, evaluate, classify, explain, export and adapt."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from empty_files import leave_figures_empty
from hematovision.cli.program import program
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.model.classifier import Classifier

BACKBONE = "mobilenetv3-small"


def run(*words: object) -> str:
    result = CliRunner().invoke(program, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module", autouse=True)
def _without_figures():
    with pytest.MonkeyPatch.context() as patch:
        leave_figures_empty(patch)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights of a random network whose features differ from image to image."""
    import keras

    from hematovision.training.keras_backbone import built_backbone

    keras.utils.set_random_seed(0)
    model = built_backbone(BACKBONE)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(layer.moving_variance * 0.01)
    path = tmp_path_factory.mktemp("weights") / "random.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cells") / "cells"
    write_synthetic_cells(root, 60, seed=5)
    return root


@pytest.fixture(scope="module")
def folder(dataset: Path, weights: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    options = ("--backbone", BACKBONE, "--weights", weights, "--epochs", 3)
    run("train", dataset, "--out", out, *options)
    return out


def test_the_bundle_names_its_backbone(folder: Path):
    root = json.loads((folder / "bundle.json").read_text())
    assert root["backbone"]["architecture"] == BACKBONE
    assert root["backbone"]["name"] == "random.keras"
    assert root["outputs"]["features"] == [576]
    assert root["outputs"]["feature_map"] == [7, 7, 576]
    assert "MobileNetV3Small" in (folder / "MODEL_CARD.md").read_text()


def test_it_is_evaluated_and_classifies_with_explanations(
    folder: Path, dataset: Path, tmp_path: Path
):
    run("evaluate", folder, dataset, "--out", tmp_path / "evaluation")
    trained = json.loads((folder / "metrics.json").read_text())
    again = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert again["accuracy"] == trained["accuracy"]
    image = next((dataset / "Test").rglob("*.png"))
    table = tmp_path / "table.csv"
    run("classify", image, "--model", folder, "--out", table, "--explain", tmp_path / "overlays")
    assert table.read_text().count("\n") == 2
    assert len(list((tmp_path / "overlays").iterdir())) >= 1


@pytest.mark.parametrize("to", ["keras", "onnx"])
def test_exports_predict_the_same(folder: Path, tmp_path: Path, to: str):
    path = tmp_path / f"model.{to}"
    run("export", folder, "--to", to, "--out", path)
    batch = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    expected = Classifier.load(folder).predict_batch(batch).probabilities
    if to == "onnx":
        from hematovision.model.session import open_session

        session = open_session(path.read_bytes())
        found = session.run(["probabilities"], {"images": batch})[0]
    else:
        import keras

        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        found = model.predict(batch.astype(np.float32), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_it_is_adapted(folder: Path, dataset: Path, tmp_path: Path):
    run("adapt", folder, dataset / "Valid", "--out", tmp_path / "adapted")
    adapted = Classifier.load(tmp_path / "adapted")
    assert adapted.bundle.manifest.backbone.architecture == BACKBONE
    assert adapted.features(np.zeros((1, 224, 224, 3), np.uint8)).shape == (1, 576)


def test_hematology_weights_are_not_of_this_backbone(dataset: Path, tmp_path: Path):
    result = CliRunner().invoke(
        program, ["train", str(dataset), "--out", str(tmp_path / "run"), "--backbone", BACKBONE]
    )
    assert result.exit_code == 1
    result = CliRunner().invoke(
        program, ["train", str(dataset), "--out", str(tmp_path / "run"), "--backbone", "vgg"]
    )
    assert result.exit_code == 2
