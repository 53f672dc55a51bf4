"""Bundles of earlier versions open and predict what those versions predicted."""

import json
from pathlib import Path

import numpy as np
import pytest

from hematovision.model.bundle import MANIFEST, ONNX, read_bundle, seal_self_test
from hematovision.model.classifier import Classifier
from hematovision.model.graph import read_classifier_graph
from hematovision.model.session import open_session, run_each
from hematovision.model.weights import bundled_weights
from model.make_bundle_02 import cells

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def recorded() -> dict:
    return json.loads((DATA / "bundle_02_predictions.json").read_text())


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(DATA / "bundle_02", workers=1)


def test_a_bundle_of_0_2_predicts_what_0_2_predicted(classifier: Classifier, recorded: dict):
    assert json.loads((DATA / "bundle_02" / MANIFEST).read_text())["schema_version"] == 1
    assert classifier.bundle.manifest.temperature == 1.2
    assert classifier.thresholds == classifier.bundle.thresholds
    for prediction, expected in zip(
        classifier.predict(cells()), recorded["predictions"], strict=True
    ):
        found = prediction.values()
        assert found.keys() == expected.keys()
        for column, value in expected.items():
            if isinstance(value, float):
                assert found[column] == pytest.approx(value, abs=1e-6)
            else:
                assert found[column] == value


def test_its_features_and_explanations_are_the_same(classifier: Classifier, recorded: dict):
    bundle = classifier.bundle
    session = open_session(bundle.read(ONNX), bundle.external_weights())
    features, attention = run_each(session, ["features", "attention"], cells(), 1)
    np.testing.assert_allclose(features.sum(axis=1), recorded["features"], rtol=1e-5)
    np.testing.assert_allclose(attention.sum(axis=(1, 2)), recorded["attention"], rtol=1e-4)
    assert classifier.attention(cells()).shape == (4, 28, 28)


def test_its_parts_are_read_for_export_and_adaptation(classifier: Classifier):
    parts = read_classifier_graph(classifier.bundle.read(ONNX), bundled_weights())
    assert parts.head.n_features == 1280
    assert parts.white_balance == (b"white/target" in classifier.bundle.read(ONNX))


@pytest.mark.parametrize("name", ["bundle_v1", "bundle_v2", "bundle_02"])
def test_sealing_an_old_bundle_gives_it_the_contract_of_schema_3(name: str, tmp_path: Path):
    folder = tmp_path / name
    folder.mkdir()
    for path in (DATA / name).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    before = Classifier.load(folder).predict(cells())
    seal_self_test(read_bundle(folder))
    root = json.loads((folder / MANIFEST).read_text())
    assert root["schema_version"] == 3
    assert root["outputs"]["probabilities"] == [3]
    assert root["backbone"]["architecture"] == "mobilenetv2"
    assert Classifier.load(folder).predict(cells()) == before
