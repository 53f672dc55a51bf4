"""Any ONNX graph that fits the contract is a model; optional outputs may be missing."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto

from hematovision import images
from hematovision.errors import BundleError, ModelError
from hematovision.model.bundle import ONNX, read_bundle, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.rows import ERROR
from hematovision.workflows.classify import classify
from model.make_other_graph import other_bundle, other_graph, other_manifest


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(other_bundle(tmp_path_factory.mktemp("other") / "run"), workers=2)


@pytest.fixture
def red(tmp_path):
    return images.write(tmp_path / "red.png", np.full((50, 70, 3), (220, 180, 180), np.uint8))


def test_it_predicts_at_its_own_input_size_without_a_novelty_threshold(classifier, red):
    (prediction,) = classifier.predict(red)
    expected = np.exp([22, 18, 18]) / np.exp([22, 18, 18]).sum()
    assert prediction.probabilities == pytest.approx(expected, abs=1e-5)
    assert (prediction.label, prediction.decision) == ("red", "accepted")
    assert prediction.novelty is None
    assert classifier.size == 160
    classifier.schema.check(prediction.values())
    assert not prediction.values()[ERROR]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_tables_have_an_empty_novelty_and_can_be_resumed(classifier, red, tmp_path, ending):
    table, folder = tmp_path / f"table.{ending}", classifier.bundle.folder
    assert classify([red], model=folder, out=table, resume=True).counts["red"] == 1
    blue = images.write(tmp_path / "blue.png", np.full((9, 9, 3), (0, 0, 255), np.uint8))
    assert classify([red, blue], model=folder, out=table, resume=True).n == 2
    if ending == "csv":
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert [(row["label"], row["novelty"]) for row in rows] == [("red", ""), ("blue", "")]


def test_low_confidence_is_still_reviewed(classifier):
    (prediction,) = classifier.predict([np.full((9, 9, 3), (101, 100, 100), np.uint8)])
    assert (prediction.decision, prediction.reason) == ("review", "low confidence")


def test_batches_have_a_novelty_of_zero(classifier):
    raw = classifier.predict_batch(np.zeros((2, 160, 160, 3), np.uint8))
    assert raw.novelty.tolist() == [0, 0]
    assert raw.probabilities.shape == (2, 3)
    with pytest.raises(ModelError, match=r"\(N, 160, 160, 3\).*\(1, 224, 224, 3\)"):
        classifier.predict_batch(np.zeros((1, 224, 224, 3), np.uint8))


def test_missing_outputs_are_named(classifier, red):
    batch = np.zeros((1, 160, 160, 3), np.uint8)
    with pytest.raises(BundleError, match=r"no explanation maps \(output 'attention'\)"):
        classifier.explain([red])
    for method, output in ((classifier.features, "features"), (classifier.feature_maps, "f.*map")):
        with pytest.raises(BundleError, match=f"no output '{output}'. Its outputs: probabilities"):
            method(batch)


def test_its_manifest_states_the_contract(classifier):
    root = json.loads((classifier.bundle.folder / "bundle.json").read_text())
    assert (root["schema_version"], root["task"]) == (3, "classification")
    assert root["input"]["size"] == 160
    assert root["outputs"] == {"probabilities": [3]}
    assert root["thresholds"] == {"min_confidence": 0.9, "max_novelty": None}
    assert root["self_test"]["novelty"] is None
    assert read_bundle(classifier.bundle.folder).manifest == classifier.bundle.manifest


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            other_graph(free=True),
            r"one input, images: uint8 \(N, S, S, 3\).*images: tensor\(uint8\) \(N, H, W, 3\)",
        ),
        (other_graph(dtype=TensorProto.FLOAT), r"Received: images: tensor\(float\)"),
        (other_graph(192), r"expects images of 192 pixels, bundle\.json 160"),
        (other_graph(16), r"S from 32 to 1024\. Received: .*16, 16, 3"),
    ],
    ids=["free size", "float input", "another size", "too small"],
)
def test_a_graph_that_does_not_fit_is_rejected_with_both_contracts(tmp_path, graph, message):
    bundle = write_bundle(tmp_path / "run", other_manifest(), {ONNX: graph})
    with pytest.raises(BundleError, match=message):
        Classifier(bundle)


def test_outputs_must_be_those_of_the_manifest(tmp_path):
    manifest = replace(other_manifest(), outputs={"probabilities": (3,), "novelty": ()})
    bundle = write_bundle(tmp_path / "run", manifest, {ONNX: other_graph()})
    stated = replace(bundle.manifest, outputs=manifest.outputs)
    with pytest.raises(BundleError, match=r"'novelty' must have the shape \(\).*no such output"):
        Classifier(replace(bundle, manifest=stated))
