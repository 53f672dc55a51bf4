"""Comparing two models on a labelled folder: metrics, files and errors."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

import hematovision
from colour_squares import COLOUR_MODEL as MODEL
from colour_squares import write_square, write_squares
from hematovision import images
from hematovision.errors import (
    DatasetError,
    ModelError,
    ModelNotFoundError,
    OutputError,
    TaxonomyError,
)
from hematovision.model.bundle import ONNX, read_bundle, write_bundle
from hematovision.taxonomy import Taxonomy
from hematovision.workflows.compare import compare

BROWN = (150, 200, 10)  # green for one model, red for the other


def another(folder: Path, name: str, taxonomy: Taxonomy, red: float = 1.0) -> Path:
    """Write a model like `MODEL` with another weight of red and other class names."""
    base = read_bundle(MODEL)
    graph = onnx.load_from_string(base.read(ONNX))
    for constant in graph.graph.initializer:
        if constant.name == "choose":
            weights = numpy_helper.to_array(constant).copy()
            weights[0] *= red
            constant.CopyFrom(numpy_helper.from_array(weights, "choose"))
    manifest = replace(base.manifest, name=name, taxonomy=taxonomy, files={})
    write_bundle(folder / name, manifest, {ONNX: graph.SerializeToString()})
    return folder / name


@pytest.fixture
def reddish(tmp_path: Path) -> Path:
    """A model that predicts red more often."""
    return another(tmp_path, "reddish", read_bundle(MODEL).taxonomy, red=2.0)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Squares of three colours in two splits; brown ones and a broken file in the test split."""
    root = write_squares(tmp_path / "squares")
    for label, count in (("red", 2), ("green", 1), ("blue", 1)):
        for i in range(count):
            write_square(root / "Test" / label / f"brown{i}.png", BROWN, side=9)
    return root


def test_both_models_predict_the_same_images_and_unreadable_ones_are_listed(colours, reddish):
    calls = []
    result = compare(MODEL, reddish, colours, progress=lambda *step: calls.append(step))
    found = result.comparison
    assert (found.n, found.models) == (13, ("strongest-colour", "reddish"))
    assert found.agreement.only_first == 1  # the brown image in green
    assert found.agreement.only_second == 2  # the brown images in red
    assert found.agreement.both_wrong == 1
    assert found.differences["accuracy"].value == pytest.approx(1 / 13)
    assert result.verdict.startswith("No significant difference")
    assert [Path(error.path).name for error in result.refused] == ["broken.png"]
    assert calls[-1] == (14, 14, "comparing", "images")
    assert result.report is None


def test_images_that_only_one_model_gets_right_come_first(colours, reddish):
    differing = compare(MODEL, reddish, colours).differing
    assert [image.right for image in differing] == ["first", "second", "second", "neither"]
    first, second, *_ = differing
    assert (first.sample.label, first.predicted) == ("green", ("green", "red"))
    assert (second.sample.label, second.predicted) == ("red", ("green", "red"))
    assert first.decision == ("accepted", "accepted")
    assert all(0.5 < value <= 1 for value in first.confidence)


def test_the_files_of_a_comparison(colours, reddish, tmp_path: Path):
    out = tmp_path / "out"
    result = compare(MODEL, reddish, colours, out=out)
    assert {path.name for path in out.iterdir()} == {
        "compare.html", "compare.json", "differences.csv",
    }  # fmt: skip
    assert json.loads((out / "compare.json").read_text("utf-8"))["n"] == 13
    with (out / "differences.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["right"] for row in rows] == ["first", "second", "second", "neither"]
    assert rows[0] == {
        "path": "Test/green/brown0.png",
        "true": "green",
        "right": "first",
        "first": "green",
        "second": "red",
        "first_confidence": rows[0]["first_confidence"],
        "second_confidence": rows[0]["second_confidence"],
        "first_decision": "accepted",
        "second_decision": "accepted",
        "group": "Test/green/brown0.png",
        "lab": "",
    }
    page = result.report.read_text(encoding="utf-8")
    assert page.count('<li><img src="data:image/jpeg') == 4
    assert "broken.png" in page
    assert "strongest-colour; classes red, green, blue; backbone none" in page


def test_an_image_that_became_unreadable_is_omitted(colours, reddish, tmp_path, monkeypatch):
    def unreadable(path):
        raise images.reading.UnreadableFileError(path, "it is gone.")

    monkeypatch.setattr("hematovision.workflows.compare.images.read", unreadable)
    page = compare(MODEL, reddish, colours, out=tmp_path / "out").report.read_text("utf-8")
    assert '<li><img src="data:' not in page
    assert "0 of 2 shown" in page


def test_comparing_on_training_images_gives_a_note(colours, reddish):
    assert compare(MODEL, reddish, colours, split="all").comparison.n == 22
    for split in ("all", "train"):
        (note,) = compare(MODEL, reddish, colours, split=split).notes
        assert note.startswith("These images include training images")
    assert compare(MODEL, reddish, colours).notes == ()
    assert compare(MODEL, reddish, colours / "Train").notes == ()  # no splits, no note


def test_models_with_other_class_names_are_compared_in_common_classes(colours, tmp_path: Path):
    warm = Taxonomy("warm", ("rouge", "leaf", "blue"), {"leaf": ("green",)})
    other = another(tmp_path, "warm", warm, red=2.0)
    result = compare(MODEL, other, colours)
    assert result.comparison.classes == ("red", "green", "blue")
    assert result.comparison.agreement.only_second == 2
    (note,) = result.notes
    assert "the second model were mapped to common classes: rouge as red, leaf as green." in note


def test_images_of_a_class_that_one_model_lacks_are_left_out_and_counted(colours, tmp_path: Path):
    other = another(tmp_path, "other", Taxonomy("other", ("red", "green", "gold")), red=2.0)
    result = compare(MODEL, other, colours)
    assert result.comparison.classes == ("red", "green", "another class")
    assert result.comparison.n == 9
    assert "Omitted: 4 images of other classes: blue (4)." in result.notes[0]
    assert "blue as another class" in result.notes[1]
    for name in ("red", "green"):
        shutil.rmtree(colours / "Test" / name)
    with pytest.raises(DatasetError, match="no image of a class that both models can predict"):
        compare(MODEL, other, colours)


def test_models_without_classes_in_common_cannot_be_compared(colours, tmp_path: Path):
    other = another(tmp_path, "other", Taxonomy("other", ("cat", "dog", "cow")))
    with pytest.raises(TaxonomyError, match="red, green, blue; the second has cat, dog, cow"):
        compare(MODEL, other, colours)


def test_comparing_a_model_with_itself_is_an_error(colours, tmp_path: Path):
    copy = another(tmp_path, "copy", read_bundle(MODEL).taxonomy)
    shutil.copytree(MODEL, tmp_path / "again")
    with pytest.raises(ModelError, match=r"Both models are the same.*Pass two different"):
        compare(MODEL, tmp_path / "again", colours)
    # Different thresholds mean a different model: it sends different images for review.
    base = read_bundle(MODEL)
    stricter = replace(
        base.manifest, thresholds=replace(base.thresholds, max_novelty=0.5), files={}
    )
    write_bundle(tmp_path / "strict", stricter, {ONNX: base.read(ONNX)})
    found = compare(MODEL, tmp_path / "strict", colours).comparison
    assert found.models == (str(MODEL), str(tmp_path / "strict"))
    assert found.differences["review_rate"].value == pytest.approx(4 / 13)
    assert copy.is_dir()


def test_errors_leave_no_files(colours, reddish, tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match=r"no valid split\. Its splits: train, test"):
        compare(MODEL, reddish, colours, split="valid", out=out)
    with pytest.raises(ModelNotFoundError):
        compare(MODEL, "no-such-model", colours, out=out)
    with pytest.raises(DatasetError, match="No images in class folders"):
        compare(MODEL, reddish, colours / "Train" / "red", out=out)
    assert not out.exists()
    with pytest.raises(OutputError, match="inside the input folder"):
        compare(MODEL, reddish, colours, out=colours)


def test_compare_is_part_of_the_public_api():
    assert hematovision.compare is compare
