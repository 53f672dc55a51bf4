"""The field score separates whole fields from single cells, in the graph and in NumPy alike."""

import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from hematovision import images
from hematovision.model.bundle import ONNX, read_bundle, with_self_test, write_bundle
from hematovision.model.classifier import Classifier
from hematovision.model.field_score import bundled_field_score
from hematovision.model.graph import classifier_graph, read_classifier_graph
from hematovision.model.registry import bundled_models
from hematovision.model.session import open_session
from hematovision.model.thresholds import SEVERAL_CELLS
from hematovision.synthetic import KINDS, render_cell, render_field

DATA = Path(os.environ.get("HEMATOVISION_DATA", ""))
with_data = pytest.mark.skipif(
    not (DATA / "krd").is_dir(), reason="HEMATOVISION_DATA names no folder of real images"
)


def run(model: bytes, pixels: np.ndarray, *outputs: str) -> list[np.ndarray]:
    return open_session(model).run(list(outputs), {"images": pixels})


@pytest.fixture(scope="module")
def scoring_bytes(weights, head, novelty) -> bytes:
    return classifier_graph(weights, head, novelty, field_score=bundled_field_score())


@pytest.fixture(scope="module")
def synthetic() -> tuple[np.ndarray, np.ndarray]:
    """Fields and single cells of other seeds than those of the training."""
    fields = [images.fit(render_field(5000 + seed).image) for seed in range(10)]
    cells = [images.fit(render_cell(kind, 5000)) for kind in KINDS]
    return np.stack(fields), np.stack(cells)


def test_the_graph_computes_the_score(scoring_bytes, cells, synthetic):
    pixels = np.concatenate([cells, *synthetic])
    (found,) = run(scoring_bytes, pixels, "field")
    assert found.shape == (len(pixels),)
    np.testing.assert_allclose(found, bundled_field_score().score(pixels), atol=1e-5)
    onnx.checker.check_model(onnx.load_from_string(scoring_bytes), full_check=True)


def test_no_other_output_changes(scoring_bytes, model_bytes, cells):
    names = ("probabilities", "novelty", "features", "feature_map", "attention")
    pairs = (run(model, cells[:3], *names) for model in (scoring_bytes, model_bytes))
    for with_score, without in zip(*pairs, strict=True):
        np.testing.assert_array_equal(with_score, without)


def test_it_is_read_back_bit_for_bit(scoring_bytes, model_bytes):
    parts = read_classifier_graph(scoring_bytes)
    assert parts.field_score is not None
    again = classifier_graph(
        parts.weights, parts.head, parts.novelty, field_score=parts.field_score
    )
    assert again == scoring_bytes
    assert read_classifier_graph(model_bytes).field_score is None


def test_synthetic_fields_score_high_and_synthetic_cells_low(synthetic):
    fields, cells = (bundled_field_score().score(pixels) for pixels in synthetic)
    assert (fields > 0.5).mean() >= 0.9
    assert (cells > 0.5).mean() <= 0.2


@pytest.fixture
def scoring(tmp_path, manifest, scoring_bytes) -> Classifier:
    """A classifier that accepts everything but fields."""
    limits = replace(manifest.thresholds, min_confidence=0, max_novelty=np.inf, max_field=0.5)
    bundle = write_bundle(
        tmp_path / "run", replace(manifest, thresholds=limits), {ONNX: scoring_bytes}
    )
    return Classifier(with_self_test(bundle))


def test_a_classifier_sends_a_field_to_review(scoring, synthetic):
    raw = scoring.predict_batch(synthetic[0])
    assert raw.field is not None
    for score, prediction in zip(raw.field, scoring.predict(synthetic[0]), strict=True):
        expected = ("review", SEVERAL_CELLS) if score > 0.5 else ("accepted", "")
        assert (prediction.decision, prediction.reason) == expected
        assert prediction.field_score == pytest.approx(score, abs=1e-6)
        assert "field" not in " ".join(prediction.values())


def test_the_limit_is_part_of_the_identity(scoring, run_folder):
    assert scoring.identity["max_field"] == 0.5
    plain = Classifier.load(run_folder)
    assert not plain.scores_fields
    assert "max_field" not in plain.identity, "tables of earlier versions can be resumed"
    assert plain.thresholds.max_field == np.inf
    assert plain.predict_batch(np.zeros((1, 224, 224, 3), np.uint8)).field is None


def some(pattern: str, count: int) -> list[Path]:
    files = sorted(DATA.glob(pattern))
    return files[:: len(files) // count][:count]


UNFRAMED = [name for name in bundled_models() if Classifier.load(name).framing is None]
"""Framed models see one cell of a field, and don't recognise fields."""


@with_data
@pytest.mark.parametrize("name", UNFRAMED)
def test_bundled_models_accept_few_real_fields_and_send_no_other_cell_to_review(name):
    classifier = Classifier.load(name)
    assert classifier.thresholds.max_field < 1
    patterns = ("bccd/JPEGImages/*", "txl/raabin/images/*", "draaslan/images/*", "krd/images/*")
    fields = list(itertools.chain(*(some(pattern, 12) for pattern in patterns)))
    accepted = [p.path for p in classifier.stream(fields) if p.decision == "accepted"]
    assert len(accepted) <= 2, "of the 1,564 fields, 7 are accepted"
    cells = classifier.predict(some("pbc/val/*/*", 40))
    assert sum(p.reason == SEVERAL_CELLS for p in cells) <= 1


def test_bundled_models_record_the_score_in_their_contract():
    for name in bundled_models():
        bundle = read_bundle(Path(Classifier.load(name).bundle.folder))
        assert bundle.manifest.outputs["field"] == ()
