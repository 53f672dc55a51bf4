"""`evaluate` is correct, complete, and independent of the order of the images."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report

from hematovision.errors import BundleError, DatasetError
from hematovision.evaluation import (
    Metrics,
    TrainingSplit,
    evaluate,
    most_confident_errors,
    read_metrics,
    write_metrics,
)
from hematovision.intervals import wilson

CLASSES = ("RBC", "WBC", "Platelets")


def certain(labels, n_classes=3):
    return np.eye(n_classes)[np.asarray(labels)]


def test_scores_counted_by_hand(metrics):
    assert (metrics.n, metrics.errors) == (300, 12)
    assert metrics.confusion_matrix == ((195, 2, 3), (3, 57, 0), (3, 1, 36))
    assert metrics.accuracy == pytest.approx(288 / 300)
    assert metrics.balanced_accuracy == pytest.approx((195 / 200 + 57 / 60 + 36 / 40) / 3)
    assert metrics.macro_f1 == pytest.approx((390 / 401 + 114 / 120 + 72 / 79) / 3)
    white = metrics.per_class["WBC"]
    assert (white.support, white.predicted, white.errors, white.false_positives) == (60, 60, 3, 3)
    assert (white.precision, white.recall) == (57 / 60, 57 / 60)


def test_table_of_classes_is_scikit_learns_classification_report(metrics, predictions):
    predicted = predictions["probabilities"].argmax(axis=1)
    report = classification_report(
        predictions["labels"],
        predicted,
        target_names=CLASSES,
        output_dict=True,
        zero_division=np.nan,
    )
    for name, row in metrics.per_class.items():
        expected = [report[name][key] for key in ("precision", "recall", "f1-score", "support")]
        assert [row.precision, row.recall, row.f1, row.support] == pytest.approx(expected)
    for name in ("macro", "weighted"):
        expected = [report[f"{name} avg"][key] for key in ("precision", "recall", "f1-score")]
        assert list(metrics.averages[name].values()) == pytest.approx(expected)


def test_intervals_contain_their_estimates_and_name_their_method(metrics):
    assert metrics.interval_method == "cluster_bootstrap"
    assert metrics.interval_details.groups == 30
    assert metrics.interval_details.draws == 2000
    assert set(metrics.intervals) == {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "review_rate",
        "accuracy_accepted",
    }
    for name, (low, high) in metrics.intervals.items():
        assert 0 <= low < getattr(metrics, name) < high <= 1
    for row in metrics.per_class.values():
        for name, (low, high) in row.intervals.items():
            assert 0 <= low < getattr(row, name) < high <= 1


def test_review_rate_counts_predictions_that_are_not_accepted(metrics, predictions):
    accepted = predictions["accepted"]
    right = predictions["probabilities"].argmax(axis=1) == predictions["labels"]
    assert metrics.review_rate == pytest.approx(1 - accepted.mean())
    assert metrics.accuracy_accepted == pytest.approx(right[accepted].mean())


def test_each_lab_has_the_scores_of_its_own_evaluation(metrics, predictions):
    assert list(metrics.per_lab) == ["Basel", "Tehran"]
    here = [i for i, lab in enumerate(predictions["labs"]) if lab == "Tehran"]
    alone = evaluate(
        predictions["labels"][here],
        predictions["probabilities"][here],
        CLASSES,
        accepted=predictions["accepted"][here],
        groups=[predictions["groups"][i] for i in here],
    )
    lab = metrics.per_lab["Tehran"]
    assert (lab.n, lab.errors) == (150, alone.errors)
    assert lab.intervals == alone.intervals
    assert lab.macro_f1 == alone.macro_f1


def test_unknown_labs_are_not_reported():
    labels = [0, 1, 2]
    assert evaluate(labels, certain(labels), CLASSES, accepted=[True] * 3).per_lab is None
    nobody = evaluate(labels, certain(labels), CLASSES, accepted=[True] * 3, labs=[None] * 3)
    assert nobody.per_lab is None
    some = evaluate(labels, certain(labels), CLASSES, accepted=[True] * 3, labs=["A", None, "A"])
    assert {lab: row.n for lab, row in some.per_lab.items()} == {"A": 2, "unknown": 1}


def test_metrics_include_baselines(metrics):
    assert metrics.baselines["most_frequent_class"].accuracy == pytest.approx(200 / 300)
    assert metrics.baselines["box_size"].balanced_accuracy == 1.0
    assert 0.5 < metrics.baselines["mean_colour"].macro_f1 < 1


def test_absent_class_has_null_recall_no_weight_and_a_warning():
    labels = [0, 0, 1, 1]
    found = evaluate(labels, certain([0, 0, 1, 2]), CLASSES, accepted=[True] * 4)
    row = found.per_class["Platelets"]
    assert (row.recall, row.precision, row.f1, row.support) == (None, 0.0, 0.0, 0)
    assert row.intervals["recall"] is None
    assert found.balanced_accuracy == pytest.approx((1 + 1 / 2) / 2)
    assert found.averages["macro"]["recall"] == pytest.approx(3 / 4)
    assert found.warnings[0] == "No images of: Platelets. Means are over the other classes."
    assert "RBC (2), WBC (2)" in found.warnings[1]


def test_class_never_predicted_has_null_precision():
    found = evaluate([0, 1], certain([0, 0], 2), ("a", "b"), accepted=[True, True])
    assert found.per_class["b"].precision is None
    assert found.per_class["b"].f1 == 0.0
    assert found.averages["weighted"]["precision"] == 0.5


def test_nothing_accepted_has_no_accuracy():
    found = evaluate([0, 1], certain([0, 1], 2), ("a", "b"), accepted=[False, False])
    assert (found.review_rate, found.accuracy_accepted) == (1.0, None)
    assert found.intervals["accuracy_accepted"] is None


def test_no_error_leaves_the_lower_end_open():
    labels = np.arange(90) % 3
    found = evaluate(
        labels, certain(labels), CLASSES, accepted=[True] * 90, groups=[str(i // 9) for i in labels]
    )
    assert found.accuracy == 1.0
    assert found.intervals["accuracy"] == wilson(90, 90)


def test_few_groups_are_a_warning():
    labels = np.arange(90) % 3
    groups = [f"patient {i % 4}" for i in range(90)]
    found = evaluate(labels, certain(labels), CLASSES, accepted=[True] * 90, groups=groups)
    assert found.warnings == (
        (
            "All images come from 4 groups (fields or patients): the intervals may not hold for "
            "others."
        ),
    )


def test_same_seed_same_metrics(predictions, metrics):
    train = TrainingSplit(predictions["labels"], predictions["boxes"], predictions["colours"])
    assert evaluate(classes=CLASSES, train=train, **predictions) == metrics
    other = evaluate(classes=CLASSES, train=train, seed=1, **predictions)
    assert other.accuracy == metrics.accuracy
    assert other.interval_details.seed == 1


rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.tuples(*[st.integers(1, 20)] * 3),
        st.booleans(),
        st.sampled_from("abcd"),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=15, deadline=None)
@given(rows, st.randoms())
def test_metrics_are_fractions_strict_json_and_the_same_in_any_order(images, random):
    def run(rows):
        labels, weights, accepted, groups = zip(*rows, strict=True)
        table = np.array(weights, float)
        table /= table.sum(axis=1, keepdims=True)
        return evaluate(
            labels, table, CLASSES, accepted=accepted, groups=groups, labs=groups
        ).to_json()

    found, shuffled = run(images), run(random.sample(images, len(images)))
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "ece", "review_rate"):
        assert 0.0 <= found[key] <= 1.0
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for value in (found, shuffled):  # sums of floats depend on their order in the last digit
        value["log_loss"], value["ece"] = round(value["log_loss"], 9), round(value["ece"], 9)
        for one in value["reliability"]:
            one["confidence"] = one["confidence"] and round(one["confidence"], 9)
    assert found == shuffled


def test_most_confident_errors_come_first():
    table = [[0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2]]
    assert most_confident_errors([1, 0, 1, 1], table).tolist() == [1, 3, 0]
    assert most_confident_errors([1, 0, 1, 1], table, limit=1).tolist() == [1]
    assert most_confident_errors([0, 1, 1, 0], table).tolist() == []


def test_empty_split_is_an_error_that_suggests_another():
    with pytest.raises(DatasetError, match="--split"):
        evaluate([], np.zeros((0, 2)), ("a", "b"), accepted=[])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 2]}, r"`labels` must be in 0 \.\. 1\. Received: 0 \.\. 2"),
        ({"labels": [0.0, 1.0]}, "class indices"),
        ({"labels": [[0], [1]]}, "class indices"),
        ({"probabilities": [[0.5, 0.5]]}, r"shape \(2, 2\)\. Received: \(1, 2\)"),
        ({"probabilities": [[1.0, 0.0], [0.5, 0.6]]}, "row 1"),
        ({"probabilities": [[np.nan, 1.0], [0.5, 0.5]]}, "row 0"),
        ({"probabilities": [[1.5, -0.5], [0.5, 0.5]]}, "row 0"),
        ({"accepted": [True]}, "`accepted` must have one entry per image, 2 in total"),
        ({"groups": ["a"]}, "`groups`"),
        ({"labs": ["a", "b", "c"]}, "`labs`"),
        ({"boxes": np.zeros((3, 4))}, "`boxes` must have one row"),
        ({"colours": np.zeros(2)}, "`colours` must have one row"),
    ],
)
def test_inconsistent_arguments_are_rejected(change, message):
    given = {"labels": [0, 1], "probabilities": np.eye(2), "accepted": [True, True], **change}
    with pytest.raises(ValueError, match=message):
        evaluate(classes=("a", "b"), **given)


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


def test_undefined_values_are_null_and_read_back_as_none(tmp_path):
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
def test_invalid_content_is_a_bundle_error(metrics, change):
    with pytest.raises(BundleError, match="hematovision evaluate"):
        Metrics.from_json({**metrics.to_json(), **change})


@pytest.mark.parametrize("content", ["", "{}", "not json", "[]"])
def test_broken_file_is_a_bundle_error(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(BundleError):
        read_metrics(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere\.json"):
        read_metrics(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["n"], "300", "`n` must be an integer. Received: '300'"),
        (["n"], True, "`n` must be an integer. Received: True"),
        (["accuracy"], "high", "`accuracy` must be a number. Received: 'high'"),
        (["log_loss"], math.nan, "`log_loss` must be a finite number. Received: nan"),
        (["classes", 1], 2, "`classes.1` must be text. Received: 2"),
        (["per_class", "RBC", "support"], 1.5, "`per_class.RBC.support` must be a"),
        (["per_class", "RBC", "predicted"], 1, "`per_class.RBC.predicted` is unknown"),
        (["per_class", "RBC", "f1"], ..., "`per_class.RBC.f1` is missing"),
        (["intervals", "accuracy"], [0.5], "`intervals.accuracy.1` is missing"),
        (["reliability"], {}, "`reliability` must be a list. Received: {}"),
        (["schema_version"], 2, "`schema_version` must be 1. Received: 2"),
        (["schema_version"], ..., "`schema_version` must be 1. Received: None"),
    ],
)
def test_an_error_names_the_file_the_field_and_the_command(tmp_path, metrics, keys, value, message):
    path = write_metrics(tmp_path / "metrics.json", metrics)
    root = place = json.loads(path.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    path.write_text(json.dumps(root))
    with pytest.raises(BundleError) as caught:
        read_metrics(path)
    text = str(caught.value)
    assert text.startswith(f"{path} has no metrics of schema version 1: {message}")
    assert text.endswith(" Write it again with `hematovision evaluate`.")


def test_another_version_is_named_before_all_that_differs_in_it(metrics):
    value = {**metrics.to_json(), "schema_version": 2, "n": None, "new": 1}
    with pytest.raises(BundleError, match=r"version 1: `schema_version` must be 1\. Received: 2\."):
        Metrics.from_json(value)


def test_deep_nesting_is_an_error(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"n":' * 100_000)
    with pytest.raises(BundleError, match=r"Cannot read metrics from .*metrics\.json"):
        read_metrics(path)


def test_a_lab_whose_name_is_not_utf_8_is_read_as_0_2_wrote_it(tmp_path):
    labs = ["caf\udce9", "x"]
    metrics = evaluate([0, 1], np.eye(2), ("a", "b"), accepted=[True, True], labs=labs)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics.to_json()))
    assert "\\udce9" in path.read_text()
    assert set(read_metrics(path).per_lab) == {"caf\\xe9", "x"}
