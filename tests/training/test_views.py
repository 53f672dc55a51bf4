"""How many sides of an image are learnt from."""

import numpy as np

from hematovision.training.views import plan_views


def test_rare_classes_get_more_views_within_the_budget():
    labels = np.array([0] * 85 + [1] * 10 + [2] * 5)
    views = plan_views(labels)
    assert set(views[labels == 0]) == {1}
    assert views.sum() <= 125
    assert views[labels == 2][0] > 1
    rows = np.bincount(labels, weights=views)
    assert rows[1] == rows[2] == 20


def test_balanced_classes_get_no_further_views():
    assert plan_views(np.array([0, 1] * 20)).tolist() == [1] * 40


def test_one_image_of_a_class_is_seen_from_all_eight_sides_at_most():
    labels = np.array([0] * 200 + [1])
    assert plan_views(labels)[-1] == 8
