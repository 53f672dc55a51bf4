"""predictions.csv has a row per image; classification_report.csv agrees with scikit-learn."""

import csv
import io

import numpy as np
import pytest
from sklearn.metrics import classification_report as reference

from hematovision.evaluation import evaluate
from hematovision.reporting.tables import REPORT_COLUMNS, classification_report, write_predictions


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_image_has_a_row(tmp_path):
    path = write_predictions(
        tmp_path / "predictions.csv",
        ["Test/RBC/1.png", "Test/WBC/odd, name.png"],
        [0, 1],
        np.array([[0.9, 0.1], [0.6, 0.4]]),
        ["RBC", "WBC"],
        accepted=[True, False],
        reasons=["", "low confidence"],
        novelty=[0.5, 12.25],
        groups=["field 1", "field 2"],
        labs=["Basel", None],
    )
    first, second = read(path)
    assert first == {
        "path": "Test/RBC/1.png",
        "true": "RBC",
        "label": "RBC",
        "correct": "yes",
        "confidence": "0.900000",
        "decision": "accepted",
        "reason": "",
        "novelty": "0.5",
        "group": "field 1",
        "lab": "Basel",
        "p_RBC": "0.900000",
        "p_WBC": "0.100000",
    }
    assert second["path"] == "Test/WBC/odd, name.png"
    assert (second["true"], second["label"], second["correct"]) == ("WBC", "RBC", "no")
    assert (second["decision"], second["reason"]) == ("review", "low confidence")
    assert second["lab"] == ""


def test_unknown_values_are_empty(tmp_path):
    path = write_predictions(tmp_path / "p.csv", ["a"], [0], [[1.0, 0.0]], "ab", accepted=[True])
    (row,) = read(path)
    assert [row[key] for key in ("reason", "novelty", "group", "lab")] == [""] * 4


def test_columns_of_different_lengths_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_predictions(tmp_path / "p.csv", ["a"], [0, 1], np.eye(2), "ab", accepted=[True] * 2)


def table(labels, predicted, classes) -> list[dict[str, str]]:
    probabilities = np.eye(len(classes))[predicted]
    metrics = evaluate(labels, probabilities, classes, accepted=np.ones(len(labels), bool))
    return list(csv.DictReader(io.StringIO(classification_report(metrics))))


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    classes = ("RBC", "WBC", "Platelets", "blast", "never predicted", "never seen")
    labels = rng.choice(5, 200, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    predicted = np.where(rng.random(200) < 0.7, labels, rng.choice([0, 1, 2, 3, 5], 200))
    predicted[predicted == 4] = 0
    expected = reference(
        labels, predicted, labels=range(6), target_names=classes, output_dict=True, zero_division=0
    )
    found = {row["class"]: row for row in table(labels, predicted, classes)}
    assert list(found) == [*classes, "accuracy", "macro avg", "weighted avg"]
    assert float(found["accuracy"]["f1-score"]) == pytest.approx(
        (labels == predicted).mean(), abs=1e-6
    )
    assert found["accuracy"]["support"] == "200"
    assert found["accuracy"]["precision"] == found["accuracy"]["recall"] == ""
    for name in (*classes, "macro avg", "weighted avg"):
        for column in REPORT_COLUMNS[1:]:
            value = float(found[name][column])
            assert value == pytest.approx(expected[name][column], abs=5.1e-7), (name, column)


def test_a_class_that_looks_like_a_formula_is_text():
    rows = table([0, 1], [0, 1], ("=1+1", "b"))
    assert rows[0]["class"] == "'=1+1"
