"""Calibration finds how logits were distorted, and does not overfit to few images."""

import numpy as np
import pytest

from hematovision.errors import ModelError
from hematovision.model.calibration import Calibration, fit_calibration
from hematovision.model.head import Head, softmax


def predicted(count=20_000, classes=4, seed=0):
    """Logits whose softmax is, by construction, the chance of each class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, classes))
    chances = softmax(logits).cumsum(axis=1)
    return logits, (rng.uniform(size=(count, 1)) > chances).sum(axis=1)


def loss(logits, labels):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_of_distorted_logits_is_recovered(factor):
    logits, labels = predicted()
    found = fit_calibration(logits * factor, labels)
    assert found.temperature == pytest.approx(factor, rel=0.04)
    assert found.bias == pytest.approx(np.zeros(4), abs=0.1)


def test_the_bias_of_distorted_logits_is_recovered():
    logits, labels = predicted()
    bias = np.array([2.0, -1.0, 0.5, -1.5])
    found = fit_calibration(2 * (logits - bias), labels)
    assert found.temperature == pytest.approx(2, rel=0.05)
    assert found.bias == pytest.approx(bias, abs=0.1)


def test_the_fit_is_a_minimum():
    logits, labels = predicted(3000)
    logits = 2 * logits + [3, 0, 0, -2]
    found = fit_calibration(logits, labels)
    least = loss(found.apply(logits), labels)
    for factor in (0.8, 0.95, 1.05, 1.25):
        other = Calibration(found.temperature * factor, found.bias)
        assert least <= loss(other.apply(logits), labels) + 1e-4
    for shift in np.vstack([np.eye(4), -np.eye(4)]) * 0.2:
        other = Calibration(found.temperature, found.bias + shift)
        assert least <= loss(other.apply(logits), labels) + 1e-4


def test_class_frequencies_are_restored_after_class_weighting():
    # Trained as if both were alike frequent; nine of ten are of the first.
    rng = np.random.default_rng(0)
    labels = (rng.random(5000) < 0.1).astype(int)
    x = rng.normal(np.where(labels, 1.0, -1.0))
    logits = np.stack([-x, x], axis=1)
    shares = softmax(fit_calibration(logits, labels).apply(logits)).mean(axis=0)
    assert shares == pytest.approx([0.9, 0.1], abs=0.01)


def test_a_few_correct_images_do_not_cause_overconfidence():
    logits = np.eye(3)[np.arange(30) % 3] * 4
    labels = np.arange(30) % 3
    confidence = softmax(fit_calibration(logits, labels).apply(logits)).max()
    assert confidence == pytest.approx(31 / 32, abs=1e-3)


def test_the_prior_limits_biases_fitted_to_few_images():
    found = fit_calibration(np.zeros((10, 2)), np.array([0] + [1] * 9))
    # The odds give 2.2; the prior shrinks it.
    assert 1 < found.bias[1] - found.bias[0] < 1.8


def test_a_class_without_images_is_not_suppressed():
    logits, labels = predicted(2000)
    kept = labels != 3
    found = fit_calibration(logits[kept], labels[kept])
    assert found.bias[3] == 0
    assert np.abs(found.bias).max() < 0.2


def test_without_images_nothing_changes():
    found = fit_calibration(np.empty((0, 3)), np.empty(0, int))
    assert found.temperature == 1
    assert found.bias.tolist() == [0, 0, 0]


def test_a_useless_model_reaches_the_bound():
    logits, labels = predicted(500)
    found = fit_calibration(-logits, labels)
    assert found.temperature == pytest.approx(20)


def test_folded_into_a_head_it_gives_the_same_probabilities():
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, 0.05, (1280, 8)), np.zeros(8)
    head = Head((hidden, (rng.normal(size=(8, 3)), np.ones(3))))
    features = rng.normal(size=(5, 1280)).astype(np.float32)
    calibration = Calibration(1.7, np.array([1.0, -0.5, -0.5]))
    expected = softmax(calibration.apply(head.logits(features)))
    np.testing.assert_allclose(calibration.fold(head).probabilities(features), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.ones((3, 2)), np.zeros(2, int)),
        (np.ones(3), np.zeros(3, int)),
        (np.array([[np.nan, 1.0]]), np.zeros(1, int)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(logits, labels):
    with pytest.raises(ModelError):
        fit_calibration(logits, labels)
