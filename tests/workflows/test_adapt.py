"""Adapting a model to a folder of a lab's images, or a clear error."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import hematovision
from hematovision import images
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.errors import (
    BundleError,
    DatasetError,
    OutputError,
    TaxonomyError,
    TrainingError,
)
from hematovision.evaluation import read_metrics
from hematovision.model.bundle import ONNX, read_bundle, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.registry import find_model
from hematovision.model.self_test import run_self_test
from hematovision.model.session import open_session
from hematovision.workflows.adapt import AdaptResult, adapt
from hematovision.workflows.adapt.bundle import open_source

MODEL = "rbc-wbc-platelets"
pytestmark = pytest.mark.usefixtures("without_figures", "without_keras_files")


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """Synthetic cells of the three classes, in Train, Valid and Test."""
    root = tmp_path_factory.mktemp("lab") / "cells"
    write_synthetic_cells(root, 40, seed=8)
    return root


@pytest.fixture(scope="module")
def flat(cells: Path, tmp_path_factory) -> Path:
    """Five cells a class in class folders of other spellings, without splits."""
    root = tmp_path_factory.mktemp("flat") / "lab"
    for label, folder in (("RBC", "red cells"), ("WBC", "Leukocytes"), ("Platelets", "PLT")):
        (root / folder).mkdir(parents=True)
        for path in sorted(cells.rglob(f"{label}/*.png"))[:5]:
            shutil.copy(path, root / folder)
    return root


@pytest.fixture(scope="module")
def loose(cells: Path, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("loose") / "slides"
    root.mkdir()
    for i, path in enumerate(sorted(cells.rglob("*.png"))[::2]):
        shutil.copy(path, root / f"{i}.png")
    (root / "cut.png").write_bytes(b"\x89PNG")
    return root


@pytest.fixture(scope="module")
def labelled(flat: Path, tmp_path_factory) -> AdaptResult:
    return adapt(MODEL, flat, out=tmp_path_factory.mktemp("runs") / "by-labels")


@pytest.fixture(scope="module")
def unlabelled(loose: Path, tmp_path_factory) -> AdaptResult:
    return adapt(MODEL, loose, out=tmp_path_factory.mktemp("runs") / "without")


def test_labelled_images_yield_a_bundle_evaluated_by_cross_validation(labelled, flat: Path):
    files = {path.name for path in labelled.folder.iterdir()}
    assert files == {
        "MODEL_CARD.md", "bundle.json", "classification_report.csv", "confusion_matrix.png",
        "confusion_matrix.svg", "hematovision_model.h5", "hematovision_model.keras", ONNX,
        "metrics.json", "predictions.csv", "report.html", "split.csv",
    }  # fmt: skip
    assert set(read_bundle(labelled.folder).manifest.files) == files - {"bundle.json"}
    assert labelled.metrics.n == labelled.n == 15
    assert labelled.before.n == 15
    assert labelled.metrics.balanced_accuracy >= labelled.before.balanced_accuracy - 0.12
    assert labelled.metrics.baselines["mean_colour"] is None  # else fitted to these images
    assert read_metrics(labelled.folder / "metrics.json") == labelled.metrics
    assert labelled.changes is None


def test_the_notes_give_the_old_results_and_the_method(labelled):
    notes = " ".join(labelled.notes)
    assert "15 labelled images (RBC 5, WBC 5, Platelets 5)" in notes
    assert f"{labelled.before.errors} of 15 wrong" in notes
    assert "adapted without its field or patient" in notes
    assert "adapted without its field or patient" in labelled.report.read_text("utf-8")


def test_the_manifest_records_the_original_model_and_the_images(labelled):
    manifest, old = (read_bundle(f).manifest for f in (labelled.folder, find_model(MODEL)))
    origin = manifest.data["adapted_from"]
    assert origin["name"] == MODEL
    assert origin["model_sha256"] == old.files[ONNX]
    assert (origin["images"], origin["labelled"]) == (15, True)
    assert origin["data"] == old.data
    assert manifest.data["splits"] == {"train": {"RBC": 5, "WBC": 5, "Platelets": 5}}
    assert manifest.taxonomy == old.taxonomy
    assert manifest.backbone.sha256 == old.backbone.sha256
    assert not manifest.backbone.shared


def test_the_self_test_is_that_of_the_adapted_model(labelled, unlabelled):
    for folder in (labelled.folder, unlabelled.folder):
        bundle = read_bundle(folder)
        assert bundle.manifest.self_test == run_self_test(
            open_session(bundle.read(ONNX), bundle.external_weights())
        )


def test_the_adapted_model_classifies_synthetic_cells(labelled, cells: Path):
    predictions = Classifier.load(labelled.folder).predict(sorted(cells.rglob("Test/*/*.png")))
    right = [Path(p.path).parent.name == p.label for p in predictions]
    assert np.mean(right) >= 0.75


def test_an_adapted_model_keeps_its_class_frequencies_and_can_be_adapted_again(
    labelled, loose: Path, tmp_path: Path
):
    first, second = open_source(MODEL), open_source(labelled.folder)
    np.testing.assert_array_equal(first.model.proportions, second.model.proportions)
    assert first.model.proportions[0] > 10 * first.model.proportions[2]
    again = adapt(labelled.folder, loose, out=tmp_path / "again")
    assert "by-labels" in (again.folder / "MODEL_CARD.md").read_text("utf-8")


def test_a_test_split_is_used_for_evaluation(cells: Path, tmp_path: Path):
    result = adapt(MODEL, cells, out=tmp_path / "run")
    assert (result.n, result.metrics.n) == (28, 12)
    assert result.metrics.baselines["mean_colour"].fitted_on == "train"
    bundle = read_bundle(result.folder)
    assert bundle.manifest.data["splits"]["test"]["RBC"] == 6
    with (result.folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    predictions = Classifier(bundle).predict([cells / row["path"] for row in rows])
    for row, prediction in zip(rows, predictions, strict=True):
        assert float(row["p_RBC"]) == pytest.approx(prediction.probabilities[0], abs=1e-4)
        assert row["decision"] == prediction.decision
    assert not any("adapted without its field" in note for note in result.notes)


def test_a_class_without_images_is_kept(flat: Path, tmp_path: Path):
    two = tmp_path / "two"
    shutil.copytree(flat, two)
    shutil.rmtree(two / "PLT")
    result = adapt(MODEL, two, out=tmp_path / "run")
    assert Classifier.load(result.folder).classes == ("RBC", "WBC", "Platelets")
    assert any("No images to adapt to: Platelets" in note for note in result.notes)


def test_unlabelled_images_yield_a_bundle_and_a_list_of_changes(unlabelled, loose: Path):
    assert unlabelled.metrics is None
    assert unlabelled.before is None
    changes = json.loads((unlabelled.folder / "adaptation.json").read_text())
    assert changes == unlabelled.changes.to_json() | {
        "classes": list(unlabelled.changes.classes),
        "moves": [list(row) for row in unlabelled.changes.moves],
    }
    assert unlabelled.n == unlabelled.changes.n == len(list(loose.glob("*.png"))) - 1
    assert [Path(error.path).name for error in unlabelled.refused] == ["cut.png"]
    bundle = read_bundle(unlabelled.folder)
    assert bundle.thresholds == read_bundle(find_model(MODEL)).thresholds
    assert bundle.manifest.data["adapted_from"]["labelled"] is False
    assert "accuracy of the adapted model is unknown" in (
        unlabelled.folder / "MODEL_CARD.md"
    ).read_text("utf-8")
    assert {"adaptation.csv", "adaptation.json"} <= set(bundle.manifest.files)


def test_the_table_has_the_predictions_of_both_models(unlabelled, loose: Path):
    with (unlabelled.folder / "adaptation.csv").open(newline="") as stream:
        row = next(csv.DictReader(stream))
    for kind, model in (("before", MODEL), ("after", unlabelled.folder)):
        (prediction,) = Classifier.load(model).predict([loose / row["path"]])
        assert row[f"label_{kind}"] == prediction.label
        assert float(row[f"confidence_{kind}"]) == pytest.approx(prediction.confidence, abs=1e-4)
        assert float(row[f"novelty_{kind}"]) == pytest.approx(prediction.novelty, rel=1e-3)


def test_labels_can_be_ignored(flat: Path, tmp_path: Path):
    with pytest.raises(DatasetError, match="15 readable images; at least 20 are needed"):
        adapt(MODEL, flat, out=tmp_path / "run", unlabelled=True)


def real_cells(real_data: Path, folder: Path, every: int) -> Path:
    folder.mkdir()
    for path in sorted((real_data / "pbc" / "val").rglob("*.jpg"))[::every]:
        shutil.copy(path, folder)
    return folder


def test_real_cells_of_a_training_lab_change_almost_nothing(real_data: Path, tmp_path: Path):
    folder = real_cells(real_data, tmp_path / "pbc", 26)
    result = hematovision.adapt("pbc8", folder, out=tmp_path / "run")
    assert result.changes.n == 25
    assert result.changes.changed <= 1
    assert result.changes.review_after <= result.changes.review_before + 1


def test_real_images_far_from_the_training_images_are_an_error(real_data: Path, tmp_path: Path):
    # Whole fields, passed to a single-cell model.
    folder = tmp_path / "fields"
    folder.mkdir()
    for path in sorted((real_data / "txl" / "raabin").rglob("*.jpg"))[:26]:
        shutil.copy(path, folder)
    with pytest.raises(TrainingError, match=r"of 26 images the model sends \d+ for review"):
        adapt(MODEL, folder, out=tmp_path / "run")


# Errors.


def test_too_few_labelled_images(flat: Path, tmp_path: Path):
    few = tmp_path / "few"
    for folder in ("PLT", "Leukocytes"):
        (few / folder).mkdir(parents=True)
        for path in sorted((flat / folder).iterdir())[:2]:
            shutil.copy(path, few / folder)
    with pytest.raises(DatasetError, match=r"4 readable labelled .* \(WBC 2, Platelets 2\); at le"):
        adapt(MODEL, few, out=tmp_path / "run")


def test_a_folder_that_is_not_a_class(flat: Path, tmp_path: Path):
    lab = tmp_path / "lab"
    shutil.copytree(flat, lab)
    (lab / "PLT").rename(lab / "worms")
    with pytest.raises(TaxonomyError, match=r"'worms' \(5\).*RBC, WBC, Platelets.*--unlabelled"):
        adapt(MODEL, lab, out=tmp_path / "run")


def test_images_in_folders_and_next_to_them(flat: Path, tmp_path: Path):
    lab = tmp_path / "lab"
    shutil.copytree(flat, lab)
    shutil.copy(next((lab / "PLT").iterdir()), lab / "what.png")
    with pytest.raises(DatasetError, match="has 1 images next to the folders"):
        adapt(MODEL, lab, out=tmp_path / "run")


@pytest.mark.parametrize("unlabelled", [False, True])
def test_a_missing_folder(unlabelled, tmp_path: Path):
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        adapt(MODEL, tmp_path / "nowhere", out=tmp_path / "run", unlabelled=unlabelled)


def test_mostly_unreadable_images(tmp_path: Path):
    lab = tmp_path / "lab"
    lab.mkdir()
    for i in range(30):
        (lab / f"{i}.png").write_bytes(b"\x89PNG")
    images.write(lab / "good.png", np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"More than half .* cannot be read \(30 of 31\)"):
        adapt(MODEL, lab, out=tmp_path / "run")


def test_a_model_of_another_program(loose: Path, tmp_path: Path):
    from onnx import load_from_string

    bundle = read_bundle(find_model(MODEL))
    graph = load_from_string(bundle.read(ONNX))
    kept = [tensor for tensor in graph.graph.initializer if "novelty" not in tensor.name]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    write_bundle(tmp_path / "other", bundle.manifest, {ONNX: graph.SerializeToString()})
    with pytest.raises(BundleError, match=r"cannot be adapted: .*Train it again"):
        adapt(tmp_path / "other", loose, out=tmp_path / "run")


def test_a_run_folder_in_use_is_not_touched(loose: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        adapt(MODEL, loose, out=tmp_path)
