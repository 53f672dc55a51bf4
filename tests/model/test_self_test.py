"""The self-test: one synthetic cell, the same on every machine, and a model's prediction."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from hematovision.errors import BundleError
from hematovision.model.bundle import (
    MANIFEST,
    ONNX,
    read_bundle,
    seal,
    seal_self_test,
    write_bundle,
)
from hematovision.model.classifier import Classifier
from hematovision.model.manifest import parse_manifest
from hematovision.model.registry import bundled_models, find_model
from hematovision.model.self_test import SelfTest, run_self_test, self_test_cell
from hematovision.model.session import open_session
from model.make_bundle_v1 import tiny_graph
from model.make_explaining import explaining_graph

DATA = Path(__file__).parent / "data"
EXPECTED = SelfTest((0.2, 0.8), 3.0)


def test_the_cell_is_the_same_bytes_everywhere():
    cell = self_test_cell()
    assert (cell.shape, cell.dtype) == ((224, 224, 3), np.uint8)
    digest = "f3f1838ff80467ca63647f68e964571ff5d5838ae791c24611906d79fd76908d"
    assert hashlib.sha256(cell.tobytes()).hexdigest() == digest


@pytest.mark.parametrize("name", bundled_models())
def test_the_bundled_models_pass_their_self_test(name):
    expected = read_bundle(find_model(name)).manifest.self_test
    found = Classifier.load(name).self_test()
    assert expected.agrees(found.probabilities, found.novelty)
    assert max(expected.probabilities) < 0.99  # A certain prediction would hide small differences.


@pytest.mark.parametrize(
    ("probabilities", "novelty", "agrees"),
    [
        ((0.2, 0.8), 3.0, True),
        ((0.20009, 0.79991), 3.0029, True),
        ((0.20011, 0.8), 3.0, False),
        ((0.2, 0.8), 3.0031, False),
        ((0.2, float("nan")), 3.0, False),
        ((0.2, 0.8), float("nan"), False),
        ((0.2, 0.8, 0.0), 3.0, False),
        ((), None, False),
    ],
)
def test_a_prediction_agrees_within_the_tolerance_between_machines(probabilities, novelty, agrees):
    assert EXPECTED.agrees(probabilities, novelty) is agrees


def test_a_novelty_below_one_may_differ_by_a_thousandth():
    assert SelfTest((1.0,), 0.01).agrees((1.0,), 0.0109)
    assert not SelfTest((1.0,), 0.01).agrees((1.0,), 0.0111)


@pytest.mark.parametrize(
    "changed",
    [
        {"probabilities": [0.2]},
        {"probabilities": [0.2, "0.8", 0.0]},
        {"probabilities": [0.2, True, 0.0]},
        {"probabilities": [0.2, 1.5, 0.0]},
        {"probabilities": None},
        {"novelty": "high"},
        {"novelty": ...},
    ],
)
def test_impossible_values_are_rejected(run_folder, changed):
    path = run_folder / MANIFEST
    seal_self_test(read_bundle(run_folder))
    root = json.loads(path.read_text())
    root["self_test"] |= changed
    root["self_test"] = {k: v for k, v in root["self_test"].items() if v is not ...}
    path.write_text(json.dumps(root))
    with pytest.raises(BundleError, match="self_test"):
        read_bundle(run_folder)


def test_novelty_must_be_missing_on_both_sides_or_neither():
    plain = SelfTest((0.2, 0.8), None)
    assert plain.agrees((0.2, 0.8), None)
    assert not plain.agrees((0.2, 0.8), 0.0)
    assert not EXPECTED.agrees((0.2, 0.8), None)
    assert str(plain) == "probabilities (0.200000, 0.800000), no novelty"


def test_bundles_of_every_schema_open():
    first, second = (read_bundle(DATA / f"bundle_v{i}") for i in (1, 2))
    assert first.manifest.self_test is None
    assert second.manifest.self_test == run_self_test(open_session(first.read(ONNX)))
    assert first.taxonomy == second.taxonomy
    # The mean of each colour decides, and the strongest by 255 is the novelty.
    means = self_test_cell().astype(np.float64).mean(axis=(0, 1))
    assert second.manifest.self_test.novelty == pytest.approx(means.max() / 255, abs=1e-5)


def test_sealing_keeps_it_with_its_model_and_drops_it_with_another(run_folder):
    expected = seal_self_test(read_bundle(run_folder)).manifest.self_test
    assert expected is not None
    assert read_bundle(run_folder).manifest.self_test == expected
    (run_folder / "metrics.json").write_text("{}")
    assert seal(run_folder).manifest.self_test == expected
    (run_folder / ONNX).write_bytes(tiny_graph())
    assert seal(run_folder).manifest.self_test is None
    assert json.loads((run_folder / MANIFEST).read_text())["self_test"] is None


def test_another_model_does_not_inherit_it(tmp_path):
    manifest = read_bundle(DATA / "bundle_v2").manifest
    same = write_bundle(tmp_path / "same", manifest, {ONNX: tiny_graph()})
    assert same.manifest.self_test == manifest.self_test
    other = write_bundle(tmp_path / "other", manifest, {ONNX: explaining_graph()})
    assert other.manifest.self_test is None


def test_a_model_with_infinite_weights_has_no_self_test(tmp_path):
    from onnx import load_from_string, numpy_helper

    graph = load_from_string(tiny_graph())
    (full,) = [one for one in graph.graph.initializer if one.name == "full"]
    full.CopyFrom(numpy_helper.from_array(np.array(0, np.float32), "full"))
    manifest = dataclasses.replace(read_bundle(DATA / "bundle_v1").manifest, files={})
    bundle = write_bundle(tmp_path, manifest, {ONNX: graph.SerializeToString()})
    with pytest.raises(BundleError, match="weights are not finite"):
        seal_self_test(bundle)
    assert parse_manifest((tmp_path / MANIFEST).read_bytes()).self_test is None
