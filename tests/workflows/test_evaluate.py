"""Evaluating a model on a labelled folder: splits, classes and errors."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from colour_squares import COLOUR_MODEL as MODEL
from colour_squares import COLOURS, write_square, write_squares
from hematovision import images
from hematovision.data.synthesize import write_synthetic_cells
from hematovision.errors import DatasetError, ModelNotFoundError, OutputError, TaxonomyError
from hematovision.model.classifier import Classifier
from hematovision.taxonomy import PBC8
from hematovision.workflows.evaluate import evaluate


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Red, green and blue squares, one green one in the wrong folder, one file broken."""
    root = write_squares(tmp_path / "squares")
    write_square(root / "Test" / "red" / "green.png", COLOURS["green"], side=9)
    return root


def test_errors_are_counted_and_refused_images_are_listed(colours: Path, tmp_path: Path):
    result = evaluate(MODEL, colours, out=tmp_path / "out")
    assert result.metrics.n == 10
    assert result.metrics.errors == 1
    assert result.metrics.per_class["red"].recall == pytest.approx(3 / 4)
    assert [Path(error.path).name for error in result.refused] == ["broken.png"]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "classification_report.csv", "confusion_matrix.png", "confusion_matrix.svg", "metrics.json",
        "predictions.csv", "report.html",
    }  # fmt: skip
    assert "broken.png" in result.report.read_text()


@pytest.mark.usefixtures("without_figures")
def test_the_report_shows_attention_maps_of_errors(
    colours: Path, tmp_path: Path, explaining_model: Path
):
    report = evaluate(explaining_model, colours, out=tmp_path / "new").report.read_text()
    assert report.count('alt="attention map for green"') == 1
    assert "Grad-CAM" in report
    old = evaluate(MODEL, colours, out=tmp_path / "old").report.read_text()
    assert 'alt="red, predicted green"' in old
    assert "attention map" not in old
    assert "Grad-CAM" not in old


@pytest.mark.usefixtures("without_figures")
def test_all_splits_or_one_split(colours: Path, tmp_path: Path):
    assert evaluate(MODEL, colours, split="all", out=tmp_path / "a").metrics.n == 19
    assert evaluate(MODEL, colours, split="train", out=tmp_path / "b").metrics.n == 9


def test_a_missing_split_is_an_error_that_lists_the_splits(colours: Path, tmp_path: Path):
    with pytest.raises(DatasetError, match=r"no valid split\. Its splits: train, test"):
        evaluate(MODEL, colours, split="valid", out=tmp_path / "out")


@pytest.mark.usefixtures("without_figures")
def test_a_dataset_without_splits_is_evaluated_whole(colours: Path, tmp_path: Path):
    result = evaluate(MODEL, colours / "Train", out=tmp_path / "out")
    assert result.metrics.n == 9
    assert result.metrics.baselines["most_frequent_class"].fitted_on == "evaluated split"


def test_unknown_classes_are_an_error(tmp_path: Path):
    for name in ("red", "violet"):
        images.write(tmp_path / "d" / name / "a.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(TaxonomyError, match="violet"):
        evaluate(MODEL, tmp_path / "d", out=tmp_path / "out")


def test_only_unreadable_images_are_an_error(tmp_path: Path):
    for name in ("red", "blue"):
        (tmp_path / "d" / name).mkdir(parents=True)
        (tmp_path / "d" / name / "a.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="None of the 2 images"):
        evaluate(MODEL, tmp_path / "d", out=tmp_path / "out")


def test_a_missing_model_is_an_error(colours: Path, tmp_path: Path):
    with pytest.raises(ModelNotFoundError):
        evaluate("no-such-model", colours, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_in_use_is_an_error(colours: Path, tmp_path: Path):
    with pytest.raises(OutputError):
        evaluate(MODEL, colours, out=colours)


def move_classes(dataset: Path, folders: dict[str, str]) -> Path:
    """Rename class folders in every split; two may become one."""
    for split in dataset.iterdir():
        for old, new in folders.items() if split.is_dir() else ():
            (split / new).mkdir(exist_ok=True)
            for path in (split / old).iterdir():
                path.rename(split / new / path.name)
            (split / old).rmdir()
    return dataset


EIGHT = dict.fromkeys(PBC8.classes, "WBC") | {"erythroblast": "RBC", "platelet": "Platelets"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """Synthetic cells in the eight PBC folders."""
    root = tmp_path_factory.mktemp("rendered") / "cells"
    write_synthetic_cells(root, 48, seed=3, taxonomy="pbc8")
    (root / "cells.csv").unlink()
    return root


@pytest.fixture
def eight(rendered: Path, tmp_path: Path, without_figures: None) -> Path:
    """A copy of them, to be changed."""
    return shutil.copytree(rendered, tmp_path / "cells")


def test_a_model_of_eight_classes_is_evaluated_on_three_folders(eight: Path, tmp_path: Path, log):
    move_classes(eight, EIGHT)
    result = evaluate("pbc8", eight, split="all", out=tmp_path / "out", progress=log)
    assert result.metrics.classes == ("RBC", "WBC", "Platelets")
    assert result.metrics.n == 48
    with (tmp_path / "out" / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    own = Classifier.load("pbc8").predict([eight / row["path"] for row in rows])
    white = [i for i, name in enumerate(PBC8.classes) if EIGHT[name] == "WBC"]
    for row, prediction in zip(rows, own, strict=True):
        assert row["label"] == EIGHT[prediction.label] or float(row["p_WBC"]) > 0.3
        added = sum(prediction.probabilities[i] for i in white)
        assert float(row["p_WBC"]) == pytest.approx(added, abs=1e-4)
        assert row["decision"] == prediction.decision
    assert log.notes[0] == (
        "Classes: RBC, WBC, Platelets (folder names; nucleated red cells count as RBC)"
    )
    assert "WBC (basophil, eosinophil, ig, lymphocyte, monocyte, neutrophil)" in log.notes[1]
    assert "summed for this dataset" in result.report.read_text()


def test_a_model_of_three_classes_is_evaluated_on_the_eight_folders(
    eight: Path, tmp_path: Path, log
):
    result = evaluate("rbc-wbc-platelets", eight, split="all", out=tmp_path / "a", progress=log)
    (note,) = log.notes
    assert note == (
        "Classes: RBC (erythroblast), WBC (basophil, eosinophil, ig, lymphocyte, monocyte, "
        "neutrophil), Platelets (platelet): mapped by the taxonomy rbc-wbc-platelets; nucleated "
        "red cells count as RBC"
    )
    same = evaluate(
        "rbc-wbc-platelets", move_classes(eight, EIGHT), split="all", out=tmp_path / "b"
    )
    assert result.metrics.confusion_matrix == same.metrics.confusion_matrix


def test_folders_that_all_mean_one_class_of_the_model_are_an_error(eight: Path, tmp_path: Path):
    for split in eight.iterdir():
        for name in ("erythroblast", "platelet") if split.is_dir() else ():
            shutil.rmtree(split / name)
    with pytest.raises(TaxonomyError, match=r"mean WBC .*leaves one class"):
        evaluate("rbc-wbc-platelets", eight, split="all", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [("RBC", "blast"), ("blast", "promonocyte")])
def test_classes_that_have_nothing_in_common_are_an_error(tmp_path: Path, names):
    for name in names:
        write_square(tmp_path / "d" / name / "a.png", COLOURS["red"])
    with pytest.raises(
        TaxonomyError, match=rf"cannot predict '{names[0]}' \(1\).*monocyte.*Rename"
    ):
        evaluate("pbc8", tmp_path / "d", out=tmp_path / "out")


def test_a_model_of_eight_classes_can_be_evaluated_in_three(eight: Path, tmp_path: Path, log):
    three = evaluate(
        "pbc8",
        eight,
        split="all",
        taxonomy="rbc-wbc-platelets",
        out=tmp_path / "three",
        progress=log,
    )
    assert log.notes[0].startswith("Classes: RBC (erythroblast), WBC (basophil, ")
    folders = move_classes(eight, EIGHT)
    assert (
        three.metrics.confusion_matrix
        == evaluate("pbc8", folders, split="all", out=tmp_path / "moved").metrics.confusion_matrix
    )


@pytest.mark.usefixtures("without_figures")
def test_some_of_the_models_classes_alone_are_evaluated_with_the_others_as_errors(
    colours: Path, tmp_path: Path
):
    shutil.rmtree(colours / "Test" / "blue")
    shutil.rmtree(colours / "Train" / "blue")
    write_square(colours / "Test" / "red" / "blue.png", COLOURS["blue"], side=9)
    result = evaluate(MODEL, colours, taxonomy="folders", out=tmp_path / "out")
    assert result.metrics.classes == ("green", "red", "another class")
    assert result.metrics.confusion_matrix[1] == (1, 3, 1)


def test_finer_classes_than_the_models_cannot_be_evaluated(eight: Path, tmp_path: Path):
    with pytest.raises(TaxonomyError, match=r"cannot predict the classes of the taxonomy 'pbc8'"):
        evaluate("rbc-wbc-platelets", eight, taxonomy="pbc8", out=tmp_path / "out")
