"""Metrics from outside: their intervals, their differences, and what they may return."""

import json
import re

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from hematovision.evaluation import evaluate
from hematovision.evaluation.comparison import ModelPredictions, compare_predictions
from hematovision.evaluation.metric import METRICS, Metric, Score
from hematovision.evaluation.metrics import Metrics

CLASSES = ("RBC", "WBC", "Platelets")


def predictions(n: int = 240, wrong: int = 5, seed: int = 0):
    """Labels, and probabilities of which every `wrong`-th prefers the next class."""
    labels = np.arange(n) % 3
    predicted = np.where(np.arange(n) % wrong == 0, (labels + 1) % 3, labels)
    noise = np.random.default_rng(seed).uniform(0, 0.2, n)
    table = np.tile(((0.3 + noise) / 2)[:, None], (1, 3))
    table[np.arange(n), predicted] = 0.7 - noise
    return labels, table


def evaluated(labels, table, **known) -> Metrics:
    return evaluate(labels, table, CLASSES, accepted=table.max(axis=1) > 0.55, **known)


def kappa(of) -> float:
    table = of.confusion / of.confusion.sum()
    chance = table.sum(axis=0) @ table.sum(axis=1)
    return (table.trace() - chance) / (1 - chance)


def test_a_metric_has_its_value_and_a_bootstrap_interval():
    METRICS.register("kappa", Metric(kappa, "Cohen's kappa"))
    labels, table = predictions()
    found = evaluated(labels, table).added["kappa"]
    assert found.value == pytest.approx(cohen_kappa_score(labels, table.argmax(axis=1)))
    assert found.value == pytest.approx(0.7)  # of 240, 48 wrong: (0.8 - 1/3) / (2/3)
    low, high = found.interval
    # the standard error of kappa here is 0.0387 (Fleiss, Cohen & Everitt 1969)
    assert low == pytest.approx(0.7 - 1.96 * 0.0387, abs=0.012)
    assert high == pytest.approx(0.7 + 1.96 * 0.0387, abs=0.012)
    assert (found.title, found.higher_is_better, found.percent) == ("Cohen's kappa", True, False)


def test_the_bootstrap_is_by_group_and_reproducible():
    METRICS.register("kappa", kappa)
    labels, table = predictions(wrong=2)
    order = np.argsort(table.argmax(axis=1) == labels, kind="stable")  # errors are in few groups
    groups = [f"field {i // 12}" for i in range(240)]
    alone = evaluated(labels[order], table[order]).added["kappa"]
    grouped = evaluated(labels[order], table[order], groups=groups).added["kappa"]
    assert alone.value == grouped.value
    width, wider = (np.diff(found.interval)[0] for found in (alone, grouped))
    assert 2 * width < wider
    assert evaluated(labels[order], table[order], groups=groups).added["kappa"] == grouped


def test_every_attribute_of_the_predictions_is_that_of_the_sampled_images():
    def checked(of) -> float:
        assert len(of.labels) == len(of.predicted) == len(of.accepted) == len(of.probabilities)
        assert (of.predicted == of.probabilities.argmax(axis=1)).all()
        assert of.confusion.sum() == len(of.labels)
        assert of.classes == CLASSES
        assert set(of.labs) <= {"Basel", "unknown"}
        return float((of.labs == "Basel").mean() + of.groups.mean())

    METRICS.register("checked", checked)
    labels, table = predictions(60)
    labs, groups = ["Basel", None] * 30, [str(i // 6) for i in range(60)]
    found = evaluated(labels, table, labs=labs, groups=groups).added["checked"]
    assert found.error == ""
    assert found.value == pytest.approx(0.5 + 4.5)


def test_without_a_metric_from_outside_nothing_is_added():
    assert evaluated(*predictions(30)).added == {}


@pytest.mark.parametrize(
    ("score", "received"),
    [
        (lambda _: float("nan"), "Received: nan"),
        (lambda of: np.zeros(3), r"Received: an array of shape \(3,\)"),
        (lambda of: "good", "Received: 'good'"),
        (lambda of: 1j, "Received: 1j"),
        (lambda of: [[1], [1, 2]], r"Received: \[\[1\], \[1, 2\]\]"),
        (lambda of: 10**400, r"Received: 1000+\.\.\.0+\."),
        (lambda of: of.no_such_thing, "failed: AttributeError"),
    ],
)
def test_a_broken_metric_is_a_warning_and_the_other_results_stay(score, received: str):
    METRICS.register("broken", score)
    METRICS.register("kappa", kappa)
    found = evaluated(*predictions(30))
    assert found.accuracy == 0.8
    assert found.added["kappa"].value == pytest.approx(0.7)
    assert found.added["broken"].value is None
    assert found.warnings[-1] == found.added["broken"].error
    text = r"The metric 'broken' \(registered by a call\) .*" + received
    assert re.search(text, found.warnings[-1])
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", ["labels", "probabilities", "accepted", "predicted", "confusion"])
def test_a_metric_cannot_change_what_the_others_are_computed_from(name: str):
    def changing(of) -> float:
        getattr(of, name)[:] = 0
        return 1.0

    METRICS.register("changing", changing)
    labels, table = predictions(30)
    before = table.copy()
    found = evaluated(labels, table)
    assert (found.accuracy, np.sum(found.confusion_matrix)) == (0.8, 30)
    assert "failed: ValueError: assignment destination is read-only" in found.warnings[-1]
    np.testing.assert_array_equal(table, before)
    table[0] = 1 / 3  # the caller's arrays can still be changed


@pytest.mark.parametrize("thing", [None, "kappa", Metric(None), Metric(kappa, title=3)])
def test_a_thing_that_is_no_metric_is_rejected(thing: object):
    with pytest.raises(
        TypeError, match=r"metric 'odd' can't be used: it must be a function of Out"
    ):
        METRICS.register("odd", thing)


def test_an_undefined_metric_has_no_value_and_no_interval():
    METRICS.register("undefined", lambda of: None)
    METRICS.register("constant", lambda of: 1)
    METRICS.register("seldom", lambda of: 0.5 if (of.labels[0], of.labels[1]) == (0, 1) else None)
    added = evaluated(*predictions(30)).added
    assert added["undefined"] == Score(None, None, "undefined")
    assert added["constant"] == Score(1.0, None, "constant")
    assert added["seldom"] == Score(0.5, None, "seldom")  # undefined in most samples


def test_metrics_are_read_back_with_what_was_added():
    METRICS.register("loss", Metric(lambda of: 1 - kappa(of), higher_is_better=False))
    found = evaluated(*predictions(60))
    again = Metrics.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found
    old = found.to_json()
    del old["added"]  # as written before there were any
    assert Metrics.from_json(old).added == {}


def test_the_difference_of_two_models_is_paired():
    METRICS.register("kappa", kappa)
    labels, worse = predictions(wrong=5)
    better = predictions(wrong=10)[1]
    models = [ModelPredictions(n, t, np.ones(240)) for n, t in (("a", worse), ("b", better))]
    found = compare_predictions(labels, *models, CLASSES)
    assert found.differences["kappa"].value == pytest.approx(0.15)
    low, high = found.differences["kappa"].interval
    # 24 of 240 images differ: the standard error is 1.5 sqrt(0.1 * 0.9 / 240) = 0.029
    assert (low, high) == pytest.approx((0.15 - 0.057, 0.15 + 0.057), abs=0.01)
    same = compare_predictions(labels, models[0], models[0], CLASSES).differences["kappa"]
    assert (same.value, same.interval) == (0.0, None)


def test_a_broken_metric_leaves_a_comparison_without_its_difference():
    METRICS.register("broken", lambda of: np.zeros(2))
    labels, table = predictions(30)
    models = [ModelPredictions(name, table, np.ones(30)) for name in "ab"]
    found = compare_predictions(labels, *models, CLASSES)
    assert found.differences["broken"].value is None
    assert any("shape (2,)" in warning for warning in found.warnings)
