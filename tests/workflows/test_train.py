"""Run folders are complete and consistent, and nothing is overwritten."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from hematovision import images
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.errors import OutputError, TaxonomyError, WeightsError
from hematovision.evaluation import read_metrics
from hematovision.model.bundle import read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.self_test import run_self_test
from hematovision.model.session import open_session
from hematovision.synthetic import render_cell
from hematovision.workflows.demo import demo
from hematovision.workflows.evaluate import evaluate
from hematovision.workflows.export import export
from hematovision.workflows.train import TrainOptions, train

FILES = {
    "MODEL_CARD.md", "accuracy_loss.png", "accuracy_loss.svg", "bundle.json",
    "classification_report.csv", "confusion_matrix.png", "confusion_matrix.svg",
    "hematovision_model.h5", "hematovision_model.keras", "hematovision_model.onnx", "history.csv",
    "metrics.json", "predictions.csv", "report.html",
    "split.csv",
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("job") / "cells"
    write_synthetic_cells(root, 90, seed=5)
    return root


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory):
    return train(dataset, tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(autouse=True)
def _whole_run_folder_only_once(without_figures: None, without_keras_files: None) -> None:
    """Make the figures and the Keras files of `trained` only."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"`epochs` must be a whole number, at least 1\. Received: 0"),
        ({"epochs": "3"}, r"`epochs` must be .* Received: '3'"),
        ({"batch_size": 2.5}, r"`batch_size` must be .* Received: 2\.5"),
        ({"patience": True}, r"`patience` must be .* Received: True"),
        ({"fine_tune_blocks": -1}, r"`fine_tune_blocks` must be .* at least 1\. Received: -1"),
        ({"seed": 2**32}, r"`seed` must be a whole number, from 0 to 4294967295\. Received"),
    ],
)
def test_an_option_out_of_range_is_an_error_before_training(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)


def test_options_may_be_numbers_of_numpy():
    assert TrainOptions(epochs=np.int64(3), fine_tune_blocks=None).epochs == 3


def test_the_run_folder_has_every_file_under_a_hash(trained):
    assert {path.name for path in trained.folder.iterdir()} == FILES
    listed = json.loads((trained.folder / "bundle.json").read_text())["files"]
    assert set(listed) == FILES - {"bundle.json"}
    bundle = read_bundle(trained.folder)
    assert bundle.taxonomy.name == "rbc-wbc-platelets"
    assert bundle.manifest.backbone.name == "hematology"
    assert bundle.manifest.data["splits"]["test"] == {"RBC": 6, "WBC": 3, "Platelets": 3}
    assert bundle.manifest.self_test == run_self_test(
        open_session(bundle.read("hematovision_model.onnx"))
    )


def test_synthetic_cells_are_classified(trained):
    assert trained.metrics.n == 12
    assert trained.metrics.balanced_accuracy >= 0.9
    assert set(trained.metrics.baselines) >= {"most_frequent_class", "box_size", "mean_colour"}
    assert not trained.refused
    assert not trained.interrupted


def test_the_classifier_gives_the_predictions_of_the_run(trained, dataset: Path):
    with (trained.folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    predictions = Classifier.load(trained.folder).predict([dataset / row["path"] for row in rows])
    for row, prediction in zip(rows, predictions, strict=True):
        assert row["label"] == prediction.label
        assert row["decision"] == prediction.decision
        assert float(row["p_RBC"]) == pytest.approx(prediction.probabilities[0], abs=1e-5)
        assert float(row["novelty"]) == pytest.approx(prediction.novelty, rel=1e-4)


def test_evaluating_the_run_gives_the_metrics_of_the_run(trained, dataset: Path, tmp_path: Path):
    again = evaluate(trained.folder, dataset, out=tmp_path / "again")
    assert again.metrics.confusion_matrix == trained.metrics.confusion_matrix
    assert again.metrics.log_loss == pytest.approx(trained.metrics.log_loss, abs=1e-5)
    assert read_metrics(tmp_path / "again" / "metrics.json") == again.metrics
    assert again.metrics.baselines["mean_colour"].fitted_on == "train"


def test_the_history_has_a_row_per_epoch(trained):
    with (trained.folder / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == [str(i + 1) for i in range(len(rows))]
    assert set(rows[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}


def test_the_report_marks_synthetic_cells(trained):
    page = trained.report.read_text()
    assert "Synthetic images, not patients" in page
    assert "Not a medical device" in page


def test_a_second_run_is_identical(trained, dataset: Path, tmp_path: Path):
    again = train(dataset, tmp_path / "first")
    for name in ("hematovision_model.onnx", "metrics.json", "history.csv", "split.csv"):
        assert (again.folder / name).read_bytes() == (trained.folder / name).read_bytes()


def test_a_folder_in_use_is_not_touched(dataset: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        train(dataset, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_wrong_taxonomy_or_missing_weights_leave_no_model(dataset: Path, tmp_path: Path):
    with pytest.raises(TaxonomyError, match="pbc8"):
        train(dataset, tmp_path / "a", TrainOptions(taxonomy="pbc8"))
    with pytest.raises(WeightsError, match="neither 'hematology'"):
        train(dataset, tmp_path / "b", TrainOptions(weights="missing.h5"))
    assert not list(tmp_path.rglob("bundle.json"))


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> Path:
    """Cells in the eight PBC folders, without splits."""
    root = tmp_path_factory.mktemp("eight")
    write_synthetic_cells(root / "split", 64, seed=1, taxonomy="pbc8")
    for path in (root / "split" / "Train").rglob("*.png"):
        (root / "flat" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / "flat" / path.parent.name)
    return root / "flat"


def test_eight_folders_become_three_classes_and_are_split_with_notes(
    eight: Path, tmp_path: Path, log
):
    result = train(eight, tmp_path / "run", TrainOptions(epochs=1), progress=log)
    assert result.metrics.classes == ("RBC", "WBC", "Platelets")
    assert any("--taxonomy folders" in note for note in result.notes)
    assert log.notes[0].startswith("Classes: RBC (erythroblast), WBC (basophil, eosinophil, ig, ")
    assert log.notes[0].endswith("--taxonomy folders")
    assert log.events[0] == "note"
    assert any("split.csv" in note for note in result.notes)
    with (result.folder / "split.csv").open(newline="") as stream:
        assert {row["split"] for row in csv.DictReader(stream)} == {"train", "valid", "test"}


def test_eight_folders_can_remain_eight_classes(eight: Path, tmp_path: Path):
    own = train(eight, tmp_path / "own", TrainOptions(epochs=1, taxonomy="folders"))
    assert len(own.metrics.classes) == 8


@pytest.fixture(scope="module")
def white(tmp_path_factory) -> Path:
    """Four kinds of white cells in folders, one image in two of them, one name not UTF-8."""
    root = tmp_path_factory.mktemp("white") / "set"
    for split, n in (("TRAIN", 8), ("TEST", 3)):
        for kind in ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"):
            for i in range(n):
                cell = render_cell(kind.lower(), 100 * n + i, size=64)
                images.write(root / split / kind / f"{i}.png", cell)
    for kind in ("MONOCYTE", "NEUTROPHIL"):
        shutil.copy(root / "TRAIN" / "MONOCYTE" / "0.png", root / "TRAIN" / kind / "twice.png")
    if os.name != "nt":
        other = root / "TEST" / "MONOCYTE" / "caf\udce9.png"
        (root / "TEST" / "MONOCYTE" / "0.png").rename(other)
    return root


def test_finer_classes_keep_their_names_and_copies_give_a_warning(white: Path, tmp_path: Path, log):
    result = train(white, tmp_path / "run", TrainOptions(epochs=1), progress=log)
    classes, copies = log.notes
    four = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
    assert classes == f"Classes: {', '.join(four)} (folder names)"
    assert copies.startswith("Warning: One image is in several classes (3 files")
    assert log.events[:2] == ["note", "note"]
    assert result.metrics.classes == four
    assert any("is in several classes" in note for note in result.notes)
    assert "is in several classes" in result.report.read_text()
    tables = [(result.folder / name).read_text() for name in ("split.csv", "predictions.csv")]
    assert all((r"TEST/MONOCYTE/caf\xe9.png" in table) == (os.name != "nt") for table in tables)


def test_mapping_finer_classes_to_one_class_is_an_error(white: Path, tmp_path: Path):
    with pytest.raises(TaxonomyError, match=r"mean WBC.*leaves one class.*--taxonomy folders"):
        train(white, tmp_path / "run", TrainOptions(taxonomy="rbc-wbc-platelets"))
    assert not list(tmp_path.rglob("bundle.json"))


@pytest.mark.parametrize("to", ["h5", "keras", "onnx"])
def test_an_export_is_one_file_and_does_not_overwrite(trained, to, tmp_path: Path):
    path = export(trained.folder, to, tmp_path / f"model.{to}")
    assert path.stat().st_size > 8_000_000
    with pytest.raises(OutputError, match="already exists"):
        export(trained.folder, to, path)


def test_an_exported_bundled_model_is_self_contained(tmp_path: Path, dataset: Path):
    import onnxruntime

    alone = export("rbc-wbc-platelets", "onnx", tmp_path / "alone.onnx")
    session = onnxruntime.InferenceSession(alone, providers=["CPUExecutionProvider"])
    path = sorted(dataset.rglob("*.png"))[0]
    (probabilities,) = session.run(["probabilities"], {"images": images.load(path)[None]})
    expected = Classifier.load("rbc-wbc-platelets").predict(path)[0].probabilities
    np.testing.assert_allclose(probabilities[0], expected, atol=1e-6)


def test_the_demo_can_be_run_again(tmp_path: Path, monkeypatch):
    first = demo(tmp_path / "demo", images=60)
    assert first.report.is_file()
    assert first.example.is_file()
    assert first.metrics.balanced_accuracy > 0.6
    cells = first.analysis.summary.counts.cells
    assert 0.7 * first.rendered["RBC"] <= cells["RBC"].n <= first.rendered["RBC"]
    assert (tmp_path / "demo" / "analysis" / "overlays" / "synthetic.jpg").is_file()
    monkeypatch.setattr("hematovision.workflows.demo.train", lambda *_, **__: first)
    assert demo(tmp_path / "demo", images=60).example == first.example
    assert not (tmp_path / "demo" / "run").exists(), "the old one was removed"


def test_the_demo_does_not_clear_a_folder_of_something_else(tmp_path: Path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_demo_of_version_0_2_is_replaced(tmp_path: Path):
    from hematovision.workflows.demo import _clear

    for file in ("phantoms/PHANTOM.txt", "run/bundle.json"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text("x")
    _clear(tmp_path, was_interrupted=False)
    assert not list(tmp_path.iterdir())


def test_fine_tuning_and_the_learning_curve_are_in_the_bundle(
    dataset: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("hematovision.training.curve.ORDERS", 1)
    monkeypatch.setattr("hematovision.training.curve.FRACTIONS", (1 / 2, 1.0))
    partial = tmp_path / "partial"
    for split, n in (("Train", 4), ("Valid", 2)):
        for folder in (dataset / split).iterdir():
            (partial / split / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:n]:
                shutil.copy(path, partial / split / folder.name)
    options = TrainOptions(
        epochs=1, fine_tune=True, fine_tune_blocks=1, learning_curve=True, batch_size=16
    )
    result = train(partial, tmp_path / "run", options)
    assert any("no test split" in note for note in result.notes)
    assert any("no test split" in warning for warning in result.metrics.warnings)
    bundle = read_bundle(result.folder)
    assert bundle.manifest.backbone.name == "hematology, fine-tuned"
    assert bundle.manifest.backbone.sha256 != read_bundle_of_the_package().manifest.backbone.sha256
    with (result.folder / "learning_curve.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["images"]) for row in rows] == sorted(int(row["images"]) for row in rows)
    assert len(rows) == sum(len(point.balanced_accuracy) for point in result.curve)
    assert "learning_curve.csv" in bundle.manifest.files


def read_bundle_of_the_package():
    from hematovision.model.registry import find_model

    return read_bundle(find_model("rbc-wbc-platelets"))
