"""More labelled images lead to better answers, and the curve says how much better."""

from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pytest

from hematovision.training.curve import DRAWS, FRACTIONS, learning_curve
from hematovision.training.head import HeadTraining
from hematovision.training.pictures import Part


def part(n: int, seed: int) -> Part:
    """Three classes that overlap, so that few images are not enough."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    features = rng.normal(1, 1, (n, 1280)).astype(np.float32)
    features[np.arange(n), labels] += 4
    return Part((), labels, features, np.zeros((n, 3), np.float32), ())


def test_the_curve_rises_with_the_number_of_images(monkeypatch):
    monkeypatch.setattr("hematovision.training.curve.FRACTIONS", (1 / 32, 1.0))
    monkeypatch.setattr("hematovision.training.curve.DRAWS", 2)
    train, valid, test = (part(n, i) for i, n in enumerate((384, 60, 300)))
    said = []
    curve = learning_curve(
        train, valid, test, 3, HeadTraining(epochs=6), lambda *told: said.append(told)
    )
    assert [(point.images, point.per_class) for point in curve] == [
        (12, (4, 4, 4)), (384, (128, 128, 128)),
    ]  # fmt: skip
    assert [len(point.balanced_accuracy) for point in curve] == [2, 2]
    assert min(curve[1].balanced_accuracy) > max(curve[0].balanced_accuracy) + 0.1
    assert curve[0].balanced_accuracy[0] != curve[0].balanced_accuracy[1]
    assert said == [(i, 4, "learning curve") for i in (1, 2, 3, 4)]


def test_the_shares_double():
    assert [b / a for a, b in pairwise(FRACTIONS)] == [2] * (len(FRACTIONS) - 1)
    assert FRACTIONS[-1] == 1


def test_images_of_a_point_hold_those_of_the_point_before(monkeypatch):
    rows = []

    def remember(features, labels, *rest):
        how = rest[-1]
        rows.append((how.seed, {row.tobytes() for row in features}, np.bincount(labels).tolist()))
        return Mock(head=Mock(logits=lambda features: np.zeros((len(features), 3))))

    monkeypatch.setattr("hematovision.training.head.train_head", remember)
    train, valid, test = (part(n, i) for i, n in enumerate((24, 6, 6)))
    curve = learning_curve(train, valid, test, 3, HeadTraining(seed=5))
    # Half of the shares come to fewer than two images of a class: those points are one.
    assert [point.per_class for point in curve] == [(2, 2, 2), (4, 4, 4), (8, 8, 8)]
    assert [seed for seed, _, _ in rows] == [5, 6, 7, 8] * 3
    for draw in range(DRAWS):
        small, middle, whole = (rows[draw + DRAWS * step][1] for step in range(3))
        assert small < middle < whole
    assert len({frozenset(found) for _, found, _ in rows[:DRAWS]}) > 1
    assert curve[0].balanced_accuracy == pytest.approx((1 / 3,) * DRAWS)


def test_a_class_with_a_single_image_keeps_it_and_an_absent_one_has_none(monkeypatch):
    fake = Mock(return_value=Mock(head=Mock(logits=lambda features: np.zeros((len(features), 4)))))
    monkeypatch.setattr("hematovision.training.head.train_head", fake)
    labels = np.array([0] * 20 + [1])
    train = Part((), labels, np.zeros((21, 1280), np.float32), np.zeros((21, 3), np.float32), ())
    curve = learning_curve(train, train, train, 4, HeadTraining())
    assert [point.per_class for point in curve] == [
        (2, 1, 0, 0), (5, 1, 0, 0), (10, 1, 0, 0), (20, 1, 0, 0),
    ]  # fmt: skip
