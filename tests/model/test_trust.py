"""Calibration, novelty and thresholds do what they promise on data with a known answer."""

import numpy as np
import pytest

from hematovision.errors import ModelError
from hematovision.model.head import softmax
from hematovision.model.trust import (
    Novelty,
    Trust,
    accepts,
    decide,
    fit_novelty,
    fit_temperature,
    fit_thresholds,
)

TRUST = Trust(temperature=1.0, min_confidence=0.9, max_novelty=2.0)


def calibrated(count=20_000, classes=4, seed=0):
    """Logits whose softmax is, by construction, the chance of each class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, classes))
    chances = softmax(logits).cumsum(axis=1)
    return logits, (rng.uniform(size=(count, 1)) > chances).sum(axis=1)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_by_which_logits_were_spoilt_is_found(factor):
    logits, labels = calibrated()
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.04)


def test_the_temperature_minimises_the_likelihood_of_mistakes():
    logits, labels = calibrated(500)
    logits = logits * 2

    def loss(temperature):
        return -np.log(softmax(logits / temperature)[np.arange(500), labels]).mean()

    found = fit_temperature(logits, labels)
    assert all(loss(found) <= loss(found * factor) + 1e-3 for factor in (0.5, 0.8, 1.25, 2))


def test_a_few_faultless_images_do_not_make_a_model_sure_of_everything():
    logits = np.eye(3)[np.arange(30) % 3] * 4
    labels = np.arange(30) % 3
    confidence = softmax(logits / fit_temperature(logits, labels)).max()
    assert confidence == pytest.approx(31 / 32, abs=1e-3)


def test_without_images_the_temperature_is_one():
    assert fit_temperature(np.empty((0, 3)), np.empty(0, int)) == 1.0


def test_novelty_is_one_for_images_like_those_learnt_from_and_more_for_others():
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 2, (3, 1280))
    labels = rng.integers(0, 3, 600)
    std = rng.uniform(0.1, 0.5, 1280)
    novelty = fit_novelty(centres[labels] + rng.normal(0, std, (600, 1280)), labels, 3)
    np.testing.assert_allclose(novelty.means, centres, atol=0.25)
    assert np.median(novelty.inv_std * std) == pytest.approx(1, abs=0.02)
    fresh = centres[labels] + rng.normal(0, std, (600, 1280))
    assert novelty.score(fresh).mean() == pytest.approx(1, abs=0.03)
    assert novelty.score(fresh + 3 * std).min() > 2.5


def test_the_score_is_the_distance_to_the_nearest_mean():
    means = np.zeros((2, 1280), np.float32)
    means[1] = 10
    novelty = Novelty(means, np.full(1280, 2, np.float32))
    rows = np.stack([np.full(1280, 3), np.full(1280, 9), np.full(1280, 10)]).astype(np.float32)
    np.testing.assert_allclose(novelty.score(rows), [6, 2, 0])


def test_the_spread_is_not_ruled_by_the_commonest_class():
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0, 1, (1000, 1280)), rng.normal(0, 3, (100, 1280))
    rows = np.concatenate([narrow, wide])
    labels = np.repeat([0, 1], [1000, 100])
    expected = 1 / np.sqrt((1 + 9) / 2)
    assert fit_novelty(rows, labels, 2).inv_std.mean() == pytest.approx(expected, rel=0.02)


def test_a_class_without_images_changes_nothing():
    rng = np.random.default_rng(0)
    rows, labels = rng.uniform(0, 1, (40, 1280)), np.arange(40) % 2
    with_gap = fit_novelty(rows, labels * 2, 3)
    assert with_gap.means.shape == (3, 1280)
    assert np.isfinite(with_gap.means).all()
    np.testing.assert_array_equal(with_gap.score(rows), fit_novelty(rows, labels, 2).score(rows))


def test_features_that_never_moved_have_a_bounded_say():
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (50, 1280))
    rows[:, 0] = 0
    novelty = fit_novelty(rows, np.zeros(50, int), 1)
    assert novelty.inv_std[0] == pytest.approx(10, rel=0.1)


def test_one_image_a_class_is_enough():
    novelty = fit_novelty(np.eye(2, 1280), np.array([0, 1]), 2)
    np.testing.assert_array_equal(novelty.inv_std, np.ones(1280))
    same = fit_novelty(np.ones((3, 1280)), np.zeros(3, int), 1)
    np.testing.assert_allclose(same.inv_std, 1000)


def answers(confidence, wrong):
    """Probabilities of two classes with the given confidences; label 0 is right."""
    confidence, wrong = np.asarray(confidence, float), np.asarray(wrong, bool)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    return probabilities, np.ones(len(wrong)), wrong.astype(int)


def test_the_threshold_lets_as_many_pass_as_the_error_rate_allows():
    confidence = np.linspace(0.6, 1.0, 1000)
    wrong = np.zeros(1000, bool)
    wrong[[10, 60, 90, 110, 130, 400]] = True
    probabilities, novelty, labels = answers(confidence, wrong)
    trust = fit_thresholds(probabilities, novelty, labels, max_error=0.0035)
    kept = confidence >= trust.min_confidence
    # Above the error at 90 there are three among 909; with the one at 90 it would be four.
    assert kept.sum() == 909
    assert confidence[90] < trust.min_confidence < confidence[91]
    assert wrong[kept].sum() == 3


def test_no_more_is_sent_to_review_than_allowed():
    confidence = np.linspace(0.6, 1.0, 1000)
    wrong = np.ones(1000, bool)
    trust = fit_thresholds(*answers(confidence, wrong), max_review=0.2)
    assert (confidence < trust.min_confidence).sum() == 200


def test_equal_confidences_are_on_one_side():
    confidence = np.repeat([0.99, 0.9], [100, 100])
    wrong = np.arange(200) >= 199
    trust = fit_thresholds(*answers(confidence, wrong), max_error=0.001, max_review=0.6)
    assert trust.min_confidence == pytest.approx(0.945)


def test_a_faultless_validation_asks_only_that_the_answer_be_likely():
    confidence = np.linspace(0.6, 1.0, 200)
    assert fit_thresholds(*answers(confidence, np.zeros(200))).min_confidence == 0.5


def test_few_images_cannot_show_a_low_error_rate():
    trust = fit_thresholds(*answers(np.linspace(0.6, 1, 199), np.zeros(199)), temperature=1.5)
    assert trust.min_confidence == 0.8
    assert trust.temperature == 1.5


def test_the_novelty_threshold_is_a_tenth_above_the_99th_percentile():
    probabilities, _, labels = answers(np.full(1001, 0.99), np.zeros(1001))
    trust = fit_thresholds(probabilities, np.linspace(0, 1, 1001), labels)
    assert trust.max_novelty == pytest.approx(0.99 * 1.1)


@pytest.mark.parametrize(
    ("confidence", "novelty", "expected"),
    [
        (0.95, 1.0, ("accepted", "")),
        (0.9, 2.0, ("accepted", "")),
        (0.89, 1.0, ("review", "low confidence")),
        (0.95, 2.01, ("review", "unlike the training images")),
        (0.1, 9.0, ("review", "low confidence; unlike the training images")),
        (float("nan"), 1.0, ("review", "low confidence")),
        (0.95, float("nan"), ("review", "unlike the training images")),
        (0.95, float("inf"), ("review", "unlike the training images")),
    ],
)
def test_decisions(confidence, novelty, expected):
    assert decide(confidence, novelty, TRUST) == expected
    both = np.array([[confidence, 0.05]])
    assert accepts(both, np.array([novelty]), TRUST)[0] == (expected[0] == "accepted")


@pytest.mark.parametrize("values", [(0, 0.5, 1), (1, 1.5, 1), (1, 0.5, -1), (1, np.nan, 1)])
def test_thresholds_outside_their_range_are_refused(values):
    with pytest.raises(ModelError, match="temperature > 0"):
        Trust(*values)


def test_inputs_that_do_not_fit_are_refused():
    none = np.empty((0, 3)), np.empty(0, int)
    with pytest.raises(ModelError, match=r"\(4, 3\) and \(5,\)"):
        fit_temperature(np.zeros((4, 3)), np.zeros(5, int))
    with pytest.raises(ModelError, match="1 of 4 rows"):
        fit_novelty(np.diag([1, 1, np.inf, 1]) * 1.0, np.zeros(4, int), 1)
    with pytest.raises(ModelError, match="at least one image"):
        fit_novelty(*none, 3)
    with pytest.raises(ModelError, match="at least one validation image"):
        fit_thresholds(none[0], none[1], none[1])
