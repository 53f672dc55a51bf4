"""``metrics.json`` says what DESIGN asks, strictly, and is read back as it was."""

import json

import numpy as np
import pytest

from hematovision.errors import BundleError
from hematovision.evaluation import Metrics, evaluate, read_metrics, write_metrics

KEYS = {
    "n",
    "classes",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "per_class",
    "confusion_matrix",
    "errors",
    "log_loss",
    "ece",
    "reliability",
    "review_rate",
    "accuracy_accepted",
    "risk_coverage",
    "intervals",
    "interval_method",
    "baselines",
    "per_lab",
}


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_file_has_every_key_and_is_strict_json(tmp_path, metrics):
    path = write_metrics(tmp_path / "metrics.json", metrics)
    value = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    assert set(value) >= KEYS
    assert value["per_class"]["RBC"]["intervals"]["recall"] == list(
        metrics.per_class["RBC"].intervals["recall"]
    )
    assert value["confusion_matrix"] == [[195, 2, 3], [3, 57, 0], [3, 1, 36]]


def test_metrics_are_read_back_as_they_were(tmp_path, metrics):
    assert read_metrics(write_metrics(tmp_path / "metrics.json", metrics)) == metrics


def test_what_is_undefined_is_null_and_comes_back_as_none(tmp_path):
    bare = evaluate([0, 0], np.eye(3)[[0, 0]], ("é", "b", "c"), accepted=[False, False])
    path = write_metrics(tmp_path / "metrics.json", bare)
    value = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    assert value["per_lab"] is None
    assert value["per_class"]["b"]["recall"] is None
    assert value["baselines"]["box_size"] is None
    assert value["classes"][0] == "é"
    assert read_metrics(path) == bare


@pytest.mark.parametrize(
    "change", [{"schema_version": 2}, {"per_class": None}, {"surprise": 1}, {"reliability": [{}]}]
)
def test_other_content_is_no_metrics(metrics, change):
    with pytest.raises(BundleError, match="hematovision evaluate"):
        Metrics.from_json({**metrics.to_json(), **change})


@pytest.mark.parametrize("content", ["", "{}", "not json", "[]"])
def test_broken_file_is_a_bundle_error(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(BundleError):
        read_metrics(path)


def test_missing_file_is_a_bundle_error_that_names_it(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere\.json"):
        read_metrics(tmp_path / "nowhere.json")
