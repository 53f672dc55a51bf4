"""The table has the numbers that scikit-learn reports, row by row."""

import csv
import io

import numpy as np
import pytest
from sklearn.metrics import classification_report as reference

from hematovision.evaluation import evaluate
from hematovision.reporting.classification_report import COLUMNS, classification_report


def table(labels, said, classes) -> list[dict[str, str]]:
    probabilities = np.eye(len(classes))[said]
    metrics = evaluate(labels, probabilities, classes, accepted=np.ones(len(labels), bool))
    return list(csv.DictReader(io.StringIO(classification_report(metrics))))


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    classes = ("RBC", "WBC", "Platelets", "blast", "never predicted", "never seen")
    labels = rng.choice(5, 200, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    said = np.where(rng.random(200) < 0.7, labels, rng.choice([0, 1, 2, 3, 5], 200))
    said[said == 4] = 0
    expected = reference(
        labels, said, labels=range(6), target_names=classes, output_dict=True, zero_division=0
    )
    found = {row["class"]: row for row in table(labels, said, classes)}
    assert list(found) == [*classes, "accuracy", "macro avg", "weighted avg"]
    assert float(found["accuracy"]["f1-score"]) == pytest.approx((labels == said).mean(), abs=1e-6)
    assert found["accuracy"]["support"] == "200"
    assert found["accuracy"]["precision"] == found["accuracy"]["recall"] == ""
    for name in (*classes, "macro avg", "weighted avg"):
        for column in COLUMNS[1:]:
            value = float(found[name][column])
            assert value == pytest.approx(expected[name][column], abs=5.1e-7), (name, column)


def test_a_class_that_looks_like_a_formula_is_text():
    rows = table([0, 1], [0, 1], ("=1+1", "b"))
    assert rows[0]["class"] == "'=1+1"
