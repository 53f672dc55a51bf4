"""The learning curve: growing nested subsets of every class."""

from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pytest

from hematovision.training.curve import FRACTIONS, ORDERS, learning_curve
from hematovision.training.inputs import SplitFeatures
from hematovision.training.recipe import HeadTraining


def features_of(n: int, seed: int) -> SplitFeatures:
    """Three classes that overlap, so that few images are not enough."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    features = rng.normal(1, 1, (n, 1280)).astype(np.float32)
    features[np.arange(n), labels] += 4
    zeros = np.zeros((n, 4), np.float32)
    return SplitFeatures((), labels, features, zeros[:, :3], zeros[:, 3], ())


def test_the_curve_rises_with_the_number_of_images(monkeypatch):
    monkeypatch.setattr("hematovision.training.curve.FRACTIONS", (1 / 32, 1.0))
    monkeypatch.setattr("hematovision.training.curve.ORDERS", 2)
    train, valid, test = (features_of(n, i) for i, n in enumerate((384, 60, 300)))
    calls = []
    curve = learning_curve(
        train, valid, test, 3, HeadTraining(epochs=6), lambda *step: calls.append(step)
    )
    assert [(point.images, point.per_class) for point in curve] == [
        (12, (4, 4, 4)), (384, (128, 128, 128)),
    ]  # fmt: skip
    assert [len(point.balanced_accuracy) for point in curve] == [2, 2]
    assert min(curve[1].balanced_accuracy) > max(curve[0].balanced_accuracy) + 0.1
    assert curve[0].balanced_accuracy[0] != curve[0].balanced_accuracy[1]
    assert calls == [(i, 4, "learning curve", "heads") for i in (1, 2, 3, 4)]


def test_the_shares_double():
    assert [b / a for a, b in pairwise(FRACTIONS)] == [2] * (len(FRACTIONS) - 1)
    assert FRACTIONS[-1] == 1


def test_images_of_a_point_include_those_of_the_point_before(monkeypatch):
    rows = []

    def record(features, labels, *rest):
        options = rest[-1]
        rows.append(
            (options.seed, {row.tobytes() for row in features}, np.bincount(labels).tolist())
        )
        return Mock(head=Mock(logits=lambda features: np.zeros((len(features), 3))))

    monkeypatch.setattr("hematovision.training.fitting.train_head", record)
    train, valid, test = (features_of(n, i) for i, n in enumerate((24, 6, 6)))
    curve = learning_curve(train, valid, test, 3, HeadTraining(seed=5))
    # Three shares round to two images per class and yield one point.
    assert [point.per_class for point in curve] == [(2, 2, 2), (4, 4, 4), (8, 8, 8)]
    assert [seed for seed, _, _ in rows] == [5, 6, 7, 8] * 3
    for order in range(ORDERS):
        small, middle, whole = (rows[order + ORDERS * step][1] for step in range(3))
        assert small < middle < whole
    assert len({frozenset(found) for _, found, _ in rows[:ORDERS]}) > 1
    assert curve[0].balanced_accuracy == pytest.approx((1 / 3,) * ORDERS)


def test_a_class_with_one_image_keeps_it(monkeypatch):
    fake = Mock(return_value=Mock(head=Mock(logits=lambda features: np.zeros((len(features), 4)))))
    monkeypatch.setattr("hematovision.training.fitting.train_head", fake)
    labels = np.array([0] * 20 + [1])
    zeros = np.zeros((21, 1284), np.float32)
    train = SplitFeatures((), labels, zeros[:, :1280], zeros[:, :3], zeros[:, 0], ())
    curve = learning_curve(train, train, train, 4, HeadTraining())
    assert [point.per_class for point in curve] == [
        (2, 1, 0, 0), (5, 1, 0, 0), (10, 1, 0, 0), (20, 1, 0, 0),
    ]  # fmt: skip
