"""The list of bundled models agrees with their files."""

import json
from pathlib import Path

from hematovision.model import registry
from hematovision.model.registry import bundled_models, find_model
from hematovision.workflows.models import list_detectors, list_models
from tiny_detector import tiny_bundle


def test_every_bundled_model_is_listed_with_its_metrics():
    entries = list_models()
    assert tuple(entry.name for entry in entries) == bundled_models()
    for entry in entries:
        metrics = json.loads((find_model(entry.name) / "metrics.json").read_text(encoding="utf-8"))
        assert entry.balanced_accuracy == metrics["balanced_accuracy"]
        assert entry.n == metrics["n"]
        assert list(entry.classes) == metrics["classes"]


def test_every_bundled_model_has_a_card():
    assert all(Path(entry.card).read_text(encoding="utf-8").strip() for entry in list_models())


def test_three_classifiers_are_bundled():
    assert bundled_models() == ("pbc8", "rbc-wbc-platelets", "white-cells")


def test_bundled_detectors_are_listed_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_home", lambda: tmp_path)
    tiny_bundle(tmp_path / "dots")
    assert list_models() == []
    (entry,) = list_detectors()
    assert (entry.name, entry.classes) == ("dots", ("RBC", "WBC", "Platelets"))
