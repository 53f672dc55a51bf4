"""Baselines find the obvious rule."""

import xml.etree.ElementTree as ET
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hematovision.evaluation.baselines import (
    ColourRule,
    SizeRule,
    TrainingSplit,
    baselines,
    box_size,
    mean_colours,
)


def test_box_size_is_the_side_of_the_square_of_its_area():
    assert box_size([[0, 0, 4, 9], [10, 10, 20, 20]]).tolist() == [6.0, 10.0]
    assert np.isnan(box_size([[np.nan] * 4])).all()


def test_mean_colours_are_exact_for_small_and_for_tall_images():
    rng = np.random.default_rng(0)
    for shape in ((3, 224, 224, 3), (1, 700, 5, 3)):
        images = rng.integers(0, 256, shape, np.uint8)
        np.testing.assert_allclose(mean_colours(images), images.mean(axis=(1, 2)))
    assert mean_colours(np.full((1, 300, 300, 3), 255, np.uint8)).tolist() == [[255.0] * 3]


def test_size_rule_puts_its_thresholds_between_the_classes():
    sizes = np.array([10.0, 12.0, 30.0, 34.0, 80.0, 90.0])
    rule = SizeRule.fit(sizes, np.array([2, 2, 0, 0, 1, 1]))
    assert rule.order == (2, 0, 1)
    assert rule.cuts == (21.0, 57.0)
    assert rule.predict(np.array([1.0, 21.0, 56.9, 500.0])).tolist() == [2, 0, 0, 1]


def test_size_rule_weights_rare_classes_equally():
    # 97 of one class at 1 .. 97, three of another at 95.5 .. 97.5: accuracy alone would ignore it
    sizes = np.concatenate([np.arange(1.0, 98.0), [95.5, 96.5, 97.5]])
    labels = np.array([0] * 97 + [1] * 3)
    rule = SizeRule.fit(sizes, labels)
    assert rule.cuts == (95.25,)


def test_size_rule_of_equal_sizes_still_predicts():
    rule = SizeRule.fit(np.ones(4), np.array([0, 1, 2, 2]))
    assert set(rule.predict(np.ones(3)).tolist()) <= {0, 1, 2}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), min_size=3, max_size=25))
def test_no_other_thresholds_are_better_on_the_training_split(rows):
    sizes = np.array([float(size) for size, _ in rows])
    labels = np.array([label for _, label in rows])
    rule = SizeRule.fit(sizes, labels)

    def balanced(rule):
        hits = rule.predict(sizes) == labels
        return np.mean([hits[labels == c].mean() for c in np.unique(labels)])

    edges = np.arange(-0.5, 9.0).tolist()
    others = combinations_with_replacement(edges, len(rule.order) - 1)
    best = max(balanced(SizeRule(rule.order, cuts)) for cuts in others)
    assert balanced(rule) == pytest.approx(best)


def test_colour_rule_uses_mean_and_spread_of_the_colours():
    rng = np.random.default_rng(0)
    narrow = rng.normal((120, 120, 120), 2, (200, 3))
    wide = rng.normal((120, 120, 120), 40, (200, 3))
    rule = ColourRule.fit(np.vstack([narrow, wide]), np.repeat([3, 5], 200))
    assert rule.predict(np.array([[120.0, 121, 119], [200, 60, 120]])).tolist() == [3, 5]


def test_colour_rule_accepts_a_class_of_one_image():
    colours = np.array([[200.0, 100, 100], [202, 98, 101], [90, 60, 160]])
    rule = ColourRule.fit(colours, np.array([0, 0, 1]))
    assert rule.predict(colours).tolist() == [0, 0, 1]


def test_most_frequent_class_is_that_of_the_training_split():
    found = baselines(np.array([0, 1, 1]), 2, train=TrainingSplit(np.array([0, 0, 1])))
    always = found["most_frequent_class"]
    assert (always.fitted_on, always.n) == ("train", 3)
    assert always.accuracy == pytest.approx(1 / 3)
    assert always.balanced_accuracy == 0.5
    assert always.macro_f1 == pytest.approx((2 / 4 + 0) / 2)


def test_without_training_split_the_most_frequent_class_is_that_of_the_evaluated_one():
    boxes, colours = np.ones((3, 4)), np.ones((3, 3))
    found = baselines(np.array([0, 1, 1]), 2, boxes=boxes, colours=colours)
    assert found["most_frequent_class"].fitted_on == "evaluated split"
    assert found["most_frequent_class"].accuracy == pytest.approx(2 / 3)
    assert found["box_size"] is None
    assert found["mean_colour"] is None


def test_images_without_a_box_are_left_out_of_the_box_baseline():
    boxes = np.array([[0, 0, 5, 5], [0, 0, 50, 50], [np.nan] * 4])
    train = TrainingSplit(np.array([0, 1, 1]), boxes=boxes)
    found = baselines(np.array([0, 1, 0]), 2, train=train, boxes=boxes)
    assert found["box_size"].n == 2
    assert found["box_size"].accuracy == 1.0


@pytest.mark.parametrize("side", ["train", "evaluated"])
def test_boxes_must_be_known_in_both_splits(side):
    known, unknown = np.array([[0.0, 0, 5, 5], [0, 0, 50, 50]]), np.full((2, 4), np.nan)
    labels = np.array([0, 1])
    train = TrainingSplit(labels, boxes=unknown if side == "train" else known)
    boxes = known if side == "train" else unknown
    assert baselines(labels, 2, train=train, boxes=boxes)["box_size"] is None
    assert baselines(labels, 2, train=TrainingSplit(labels), boxes=known)["box_size"] is None


def test_mean_colour_is_scored_if_known_on_both_sides():
    colours = np.array([[200.0, 100, 100], [90, 60, 160]])
    train = TrainingSplit(np.array([0, 1]), colours=colours)
    found = baselines(np.array([0, 1]), 2, train=train, colours=colours)
    assert found["mean_colour"].accuracy == 1.0


def read_boxes(folder, split):
    boxes, labels = [], []
    for name in (folder / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
        for thing in ET.parse(folder / "Annotations" / f"{name}.xml").iter("object"):
            ends = [float(thing.findtext(f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")]
            if ends[2] > ends[0] and ends[3] > ends[1]:
                boxes.append(ends)
                labels.append(("RBC", "WBC", "Platelets").index(thing.findtext("name")))
    return np.array(labels), np.array(boxes)


def test_two_thresholds_on_the_box_classify_96_percent_of_bccd(real_data):
    labels, boxes = read_boxes(real_data / "bccd", "train")
    evaluated, evaluated_boxes = read_boxes(real_data / "bccd", "test")
    found = baselines(evaluated, 3, train=TrainingSplit(labels, boxes=boxes), boxes=evaluated_boxes)
    assert found["most_frequent_class"].accuracy == pytest.approx(0.852, abs=0.001)
    assert found["box_size"].accuracy == pytest.approx(0.961, abs=0.003)
    assert found["box_size"].balanced_accuracy == pytest.approx(0.963, abs=0.003)
