"""Folds that no group crosses and that hold every class."""

import numpy as np
import pytest

from hematovision.errors import TrainingError
from hematovision.training.adapt_folds import group_folds


@pytest.fixture
def labels() -> np.ndarray:
    return np.array([0] * 60 + [1] * 10 + [2] * 5)


def test_no_group_is_in_two_folds(labels):
    groups = [f"field {i % 20}" for i in range(len(labels))]
    folds = group_folds(labels, groups, 5)
    sides = {(group, fold) for group, fold in zip(groups, folds, strict=True)}
    assert len(sides) == 20
    assert set(folds) == {0, 1, 2, 3, 4}


def test_each_class_is_spread_as_evenly_as_it_goes(labels):
    folds = group_folds(labels, [str(i) for i in range(len(labels))], 5)
    for label, each in ((0, 12), (1, 2), (2, 1)):
        assert np.bincount(folds[labels == label], minlength=5).tolist() == [each] * 5


def test_a_large_group_does_not_take_other_groups_of_its_class_along():
    labels = np.array([0] * 6 + [1] * 10)
    groups = ["a"] * 4 + ["b", "c"] + [str(i) for i in range(10)]
    folds = group_folds(labels, groups, 3)
    assert len({folds[0], folds[4], folds[5]}) == 3


def test_the_order_of_the_images_does_not_matter(labels):
    groups = np.array([f"field {i % 20}" for i in range(len(labels))])
    order = np.random.default_rng(1).permutation(len(labels))
    straight = group_folds(labels, groups, 4, seed=3)
    np.testing.assert_array_equal(group_folds(labels[order], groups[order], 4, 3), straight[order])


def test_there_are_no_more_folds_than_groups():
    assert sorted(group_folds(np.array([0, 1, 0]), ["a", "b", "c"], 5)) == [0, 1, 2]


def test_one_group_cannot_judge_itself():
    with pytest.raises(TrainingError, match=r"All 3 images are of one group \(field\)"):
        group_folds(np.array([0, 1, 0]), ["field"] * 3, 5)
