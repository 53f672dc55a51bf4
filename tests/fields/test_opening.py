"""Classifiers opened with what single-cell images need: framed bundles at every entry point."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import hematovision
from colour_squares import COLOUR_MODEL, write_square
from framed_bundle import BLUE, framed_bundle
from hematovision import images
from hematovision.errors import BundleError
from hematovision.fields.analyzer import FieldAnalyzer
from hematovision.fields.opening import load
from hematovision.fields.rows import split
from hematovision.model.bundle import read_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.framing import NOT_FRAMED, Framing
from hematovision.model.inference import Item, predict_image
from hematovision.model.self_test import self_test_cell
from hematovision.model.thresholds import SEVERAL_CELLS
from hematovision.progress import no_progress
from hematovision.scale.classify import PackedClassifier
from hematovision.server.models import Models
from hematovision.workflows.labelled import predict_labelled


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return framed_bundle(tmp_path_factory.mktemp("framed") / "run")


@pytest.fixture(scope="module")
def classifier(folder):
    return load(folder, workers=2)


@pytest.fixture(scope="module")
def cell(real_data):
    """An image of PBC, without which these tests are skipped."""
    return sorted((real_data / "pbc" / "train" / "neutrophil").iterdir())[0]


def test_images_are_framed_and_recoloured_whatever_they_are_given_as(classifier, cell):
    (expected,) = classifier.predict(cell)
    assert (expected.label, expected.reason) == ("blue", "")
    pixels = images.read(cell)
    for source in (pixels, cell.read_bytes(), str(cell)):
        found = predict_image(classifier, Item(str(cell), source)).prediction
        assert found.probabilities == expected.probabilities
    (found,) = classifier.predict([pixels])
    assert found.probabilities == expected.probabilities
    assert hematovision.load is load


def test_an_image_without_red_cells_is_predicted_as_it_is_and_the_reason_states_it(
    classifier, tmp_path
):
    square = write_square(tmp_path / "a.png", (200, 10, 10))
    (own,), (plain,) = classifier.predict(square), Classifier.load(COLOUR_MODEL).predict(square)
    assert own.probabilities == pytest.approx(plain.probabilities, abs=1e-5)
    assert (plain.decision, plain.reason) == ("accepted", "")
    assert (own.decision, own.reason) == ("accepted", NOT_FRAMED)
    assert own.headline == "red"
    assert classifier.schema.names == Classifier.load(COLOUR_MODEL).schema.names


def test_the_note_follows_reasons_for_review(classifier, tmp_path):
    grey = write_square(tmp_path / "a.png", (90, 90, 90))
    (found,) = classifier.predict(grey)
    assert found.decision == "review"
    assert found.reason == f"low confidence; {NOT_FRAMED}"


def test_a_field_without_a_white_cell_in_its_middle_is_sent_for_review(real_data):
    paths = [real_data / "bccd" / "JPEGImages" / f"BloodImage_0000{i}.jpg" for i in (1, 2, 3)]
    found = load("white-cells").predict(paths)
    assert [p.decision for p in found] == ["review"] * 3
    assert all(SEVERAL_CELLS in p.reason for p in found)


def test_a_bundle_without_a_framing_is_opened_without_a_detector():
    own, plain = load(COLOUR_MODEL), Classifier.load(COLOUR_MODEL)
    assert own.framing is None
    assert own.identity == plain.identity


def test_without_a_framer_whole_images_are_an_error_and_framed_ones_are_predicted(folder, cell):
    bare = Classifier.load(folder)
    with pytest.raises(BundleError, match=r"Open it with `hematovision\.load`"):
        bare.predict(cell)
    assert bare.predict_batch(np.zeros((1, 224, 224, 3), np.uint8)).probabilities.shape == (1, 3)


def test_tables_depend_on_framing_and_detector(folder, classifier):
    bare = Classifier.load(folder).identity
    assert bare["framing"] == "3 0 30 30 250 10 10 150"
    assert {**classifier.identity, **bare} == dict(classifier.identity)
    assert len(classifier.identity["detector"]) == 64


def test_the_map_of_a_framed_image_is_one_of_the_whole_image(classifier, cell):
    result = predict_image(classifier, Item("a", cell), explain=True)
    assert result.attention.shape == (64, 64)
    rows, columns = np.nonzero(result.attention)
    side = 3.0 * 83 / 360 * 64  # red cells of PBC are about 83 of 360 pixels wide
    assert np.ptp(rows) == pytest.approx(side, rel=0.2)
    assert np.ptp(columns) == pytest.approx(side, rel=0.2)


def test_the_input_for_training_is_the_one_for_predicting(classifier, cell):
    prepared = classifier.prepare(cell.read_bytes(), "a")
    raw = classifier.predict_batch(prepared[None])
    assert tuple(raw.probabilities[0]) == classifier.predict(cell)[0].probabilities
    assert classifier.input_identity.startswith("3 0 30 30 250 10 10 150 ")
    plain = Classifier.load(COLOUR_MODEL)
    assert plain.input_identity == ""
    np.testing.assert_array_equal(plain.prepare(cell, "a"), images.load(cell))


def test_adapting_reads_images_framed(classifier, cell, monkeypatch, tmp_path):
    from hematovision.workflows import adapt
    from hematovision.workflows.adapt.bundle import open_source

    monkeypatch.setenv("HEMATOVISION_CACHE", str(tmp_path))
    source = replace(open_source("rbc-wbc-platelets"), classifier=classifier)
    found = adapt._extract([adapt.View(cell)], source, no_progress)
    expected = source.backbone.features(classifier.prepare(cell, "a")[None])
    np.testing.assert_allclose(found.values, expected, atol=1e-4)


def test_the_self_test_is_never_framed(folder, classifier):
    expected = read_bundle(folder).manifest.self_test
    found = classifier.self_test()
    assert expected.agrees(found.probabilities, found.novelty)
    (framed,) = classifier.predict([self_test_cell()])
    assert framed.label == "blue" or framed.reason == NOT_FRAMED


def test_the_server_frames_images_and_passes_its_self_test(folder, classifier, cell):
    (served,) = Models.load([folder]).all
    served.warm_up()
    found = predict_image(served.predictor, Item("a", cell.read_bytes())).prediction
    assert found.probabilities == classifier.predict(cell)[0].probabilities


def test_a_worker_of_a_cluster_frames_images(classifier, cell):
    worker = PackedClassifier.of(classifier.bundle).open()
    assert worker.identity == classifier.identity
    assert worker.predict(cell)[0].probabilities == classifier.predict(cell)[0].probabilities


def test_framed_and_other_classifiers_predict_the_same_images(classifier, cell, tmp_path):
    from hematovision.data.folders import read_dataset

    for kind in ("red", "blue"):
        write_square(tmp_path / "Test" / kind / "a.png", (250, 10, 10))
    images.write(tmp_path / "Test" / "blue" / "b.png", images.read(cell))
    data = read_dataset(tmp_path, None)
    plain = Classifier.load(COLOUR_MODEL)
    (one, two), refused = predict_labelled([classifier, plain], data)
    assert refused == ()
    paths = [sample.path for sample in data.samples]
    for found, model in ((one, classifier), (two, plain)):
        expected = [row.probabilities for row in model.predict(paths)]
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)


def test_fields_are_framed_by_the_manifest_of_the_classifier(folder, real_data):
    analyzer = FieldAnalyzer.load(classifier=folder)
    pixels = images.read(real_data / "bccd" / "JPEGImages" / "BloodImage_00143.jpg")
    cells, _ = split(analyzer.predict_rows(pixels, "a")[0])
    kinds = [cell.subtype for cell in cells if cell.label == "WBC"]
    assert kinds
    assert set(kinds) == {"blue"}
    assert analyzer.identity["classifier_framing"] == "3 0 30 30 250 10 10 150"


def test_an_earlier_version_rejects_a_framed_bundle(folder):
    assert json.loads((folder / "bundle.json").read_text())["schema_version"] == 4
    assert (
        json.loads((folder / "bundle.json").read_text())["framing"] == Framing(3.0, BLUE).to_json()
    )


def test_the_command_line_frames_images(folder, cell, tmp_path):
    square = write_square(tmp_path / "a.png", (250, 10, 10))
    command = ["classify", str(cell), str(square), "--model", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "hematovision", *command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "blue" in done.stdout
    assert NOT_FRAMED in done.stdout
