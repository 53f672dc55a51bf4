"""More labelled images lead to better answers, and the curve says how much better."""

import numpy as np

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


def test_the_curve_rises_with_the_number_of_images():
    train, valid, test = (part(n, i) for i, n in enumerate((384, 60, 300)))
    said = []
    curve = learning_curve(
        train, valid, test, 3, HeadTraining(epochs=6), lambda *told: said.append(told)
    )
    assert [point.images for point in curve] == [12, 24, 48, 96, 192, 384]
    assert [len(point.balanced_accuracy) for point in curve] == [DRAWS] * 5 + [1]
    assert curve[-1].median > curve[0].median + 0.2
    assert all(0 <= score <= 1 for point in curve for score in point.balanced_accuracy)
    assert said[-1] == (len(FRACTIONS), len(FRACTIONS), "learning curve")
