"""Comparing two models on a labelled folder: figures, files, refusals and errors."""

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

BROWN = (150, 200, 10)  # green to the one, red to the other


def another(folder: Path, name: str, taxonomy: Taxonomy, red: float = 1.0) -> Path:
    """Write a model like `MODEL` that weighs red more and calls its classes otherwise."""
    known = read_bundle(MODEL)
    graph = onnx.load_from_string(known.read(ONNX))
    for constant in graph.graph.initializer:
        if constant.name == "choose":
            weights = numpy_helper.to_array(constant).copy()
            weights[0] *= red
            constant.CopyFrom(numpy_helper.from_array(weights, "choose"))
    manifest = replace(known.manifest, name=name, taxonomy=taxonomy, files={})
    write_bundle(folder / name, manifest, {ONNX: graph.SerializeToString()})
    return folder / name


@pytest.fixture
def reddish(tmp_path: Path) -> Path:
    """A model that says red more readily."""
    return another(tmp_path, "reddish", read_bundle(MODEL).taxonomy, red=2.0)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Squares of three colours in two parts; in the test part brown ones, and a broken file."""
    root = write_squares(tmp_path / "squares")
    for label, count in (("red", 2), ("green", 1), ("blue", 1)):
        for i in range(count):
            write_square(root / "Test" / label / f"brown{i}.png", BROWN, side=9)
    return root


def test_both_answer_the_same_images_and_what_cannot_be_read_is_listed(colours, reddish):
    said = []
    result = compare(MODEL, reddish, colours, progress=lambda *told: said.append(told))
    found = result.comparison
    assert (found.n, found.models) == (13, ("strongest-colour", "reddish"))
    assert found.agreement.only_first == 1  # the brown one among the green
    assert found.agreement.only_second == 2  # the brown ones among the red
    assert found.agreement.both_wrong == 1
    assert found.differences["accuracy"].value == pytest.approx(1 / 13)
    assert result.verdict.startswith("No significant difference")
    assert [Path(error.path).name for error in result.refused] == ["broken.png"]
    assert said[-1] == (14, 14, "comparing")
    assert result.report is None


def test_images_are_sorted_by_what_they_teach(colours, reddish):
    differing = compare(MODEL, reddish, colours).differing
    assert [image.right for image in differing] == ["first", "second", "second", "neither"]
    first, second, *_ = differing
    assert (first.sample.label, first.said) == ("green", ("green", "red"))
    assert (second.sample.label, second.said) == ("red", ("green", "red"))
    assert first.decision == ("accepted", "accepted")
    assert all(0.5 < sure <= 1 for sure in first.confidence)


def test_files_are_written_where_they_were_asked_for(colours, reddish, tmp_path: Path):
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


def test_a_picture_that_has_gone_meanwhile_is_left_out(colours, reddish, tmp_path, monkeypatch):
    def gone(path):
        raise images.reading.UnreadableFileError(path, "it is gone.")

    monkeypatch.setattr("hematovision.workflows.differing.images.read", gone)
    page = compare(MODEL, reddish, colours, out=tmp_path / "out").report.read_text("utf-8")
    assert '<li><img src="data:' not in page
    assert "0 of 2 shown" in page


def test_all_parts_say_that_training_images_are_among_them(colours, reddish):
    assert compare(MODEL, reddish, colours, split="all").comparison.n == 22
    for split in ("all", "train"):
        (note,) = compare(MODEL, reddish, colours, split=split).notes
        assert note.startswith("These are also training images")
    assert compare(MODEL, reddish, colours).notes == ()
    assert compare(MODEL, reddish, colours / "Train").notes == ()  # no parts, nothing known


def test_models_of_other_classes_are_compared_in_what_both_can_say(colours, tmp_path: Path):
    warm = Taxonomy("warm", ("rouge", "leaf", "blue"), {"leaf": ("green",)})
    other = another(tmp_path, "warm", warm, red=2.0)
    result = compare(MODEL, other, colours)
    assert result.comparison.classes == ("red", "green", "blue")
    assert result.comparison.agreement.only_second == 2
    (note,) = result.notes
    assert "the second model count as a common class: rouge as red, leaf as green." in note


def test_images_of_a_class_that_one_cannot_say_are_left_out_and_counted(colours, tmp_path: Path):
    other = another(tmp_path, "other", Taxonomy("other", ("red", "green", "gold")), red=2.0)
    result = compare(MODEL, other, colours)
    assert result.comparison.classes == ("red", "green", "another class")
    assert result.comparison.n == 9
    assert "4 images were left out: blue (4)" in result.notes[0]
    assert "blue as another class" in result.notes[1]
    for name in ("red", "green"):
        shutil.rmtree(colours / "Test" / name)
    with pytest.raises(DatasetError, match="no image of a class that both models can say"):
        compare(MODEL, other, colours)


def test_models_without_classes_in_common_cannot_be_compared(colours, tmp_path: Path):
    other = another(tmp_path, "other", Taxonomy("other", ("cat", "dog", "cow")))
    with pytest.raises(TaxonomyError, match="red, green, blue; the second says cat, dog, cow"):
        compare(MODEL, other, colours)


def test_the_same_model_twice_is_refused(colours, tmp_path: Path):
    copy = another(tmp_path, "copy", read_bundle(MODEL).taxonomy)
    shutil.copytree(MODEL, tmp_path / "again")
    with pytest.raises(ModelError, match=r"Both models are the same.*Give two different"):
        compare(MODEL, tmp_path / "again", colours)
    # The same network with other thresholds sends other images to review: that is another model.
    known = read_bundle(MODEL)
    stricter = replace(
        known.manifest, thresholds=replace(known.thresholds, max_novelty=0.5), files={}
    )
    write_bundle(tmp_path / "strict", stricter, {ONNX: known.read(ONNX)})
    found = compare(MODEL, tmp_path / "strict", colours).comparison
    assert found.models == (str(MODEL), str(tmp_path / "strict"))
    assert found.differences["review_rate"].value == pytest.approx(4 / 13)
    assert copy.is_dir()


def test_what_cannot_be_compared_is_an_error_and_leaves_nothing(colours, reddish, tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="no valid split; it has: train, test"):
        compare(MODEL, reddish, colours, split="valid", out=out)
    with pytest.raises(ModelNotFoundError):
        compare(MODEL, "no-such-model", colours, out=out)
    with pytest.raises(DatasetError, match="No images in class folders"):
        compare(MODEL, reddish, colours / "Train" / "red", out=out)
    assert not out.exists()
    with pytest.raises(OutputError, match="searched for images"):
        compare(MODEL, reddish, colours, out=colours)


def test_comparing_is_one_name_of_the_package():
    assert hematovision.compare is compare
