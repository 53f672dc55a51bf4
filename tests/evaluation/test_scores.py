"""Scores are those of scikit-learn; undefined ones are NaN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from hematovision.evaluation import scores

#         predicted:  a  b  c
CONFUSION = np.array([[5, 1, 0], [2, 2, 0], [0, 0, 2]])


def test_confusion_matrix_has_true_classes_in_rows():
    found = scores.confusion_matrix([0, 0, 1, 2], [0, 2, 1, 2], 3)
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_scores_of_a_matrix_counted_by_hand():
    assert scores.accuracy(CONFUSION) == pytest.approx(9 / 12)
    assert scores.recall(CONFUSION) == pytest.approx([5 / 6, 2 / 4, 1])
    assert scores.precision(CONFUSION) == pytest.approx([5 / 7, 2 / 3, 1])
    assert scores.f1(CONFUSION) == pytest.approx([10 / 13, 4 / 7, 1])
    assert scores.balanced_accuracy(CONFUSION) == pytest.approx((5 / 6 + 1 / 2 + 1) / 3)
    assert scores.macro_f1(CONFUSION) == pytest.approx((10 / 13 + 4 / 7 + 1) / 3)


def test_absent_class_has_no_recall_and_is_left_out_of_balanced_accuracy():
    confusion = [[3, 1, 0], [0, 4, 0], [0, 0, 0]]
    assert np.isnan(scores.recall(confusion)).tolist() == [False, False, True]
    assert np.isnan(scores.f1(confusion)).tolist() == [False, False, True]
    assert scores.balanced_accuracy(confusion) == pytest.approx((3 / 4 + 1) / 2)


def test_absent_class_that_was_predicted_counts_as_zero_in_macro_f1():
    assert scores.macro_f1([[3, 0, 1], [0, 4, 0], [0, 0, 0]]) == pytest.approx((6 / 7 + 1 + 0) / 3)


def test_many_matrices_are_scored_at_once():
    stack = np.stack([CONFUSION, np.diag([1, 2, 3])])
    assert scores.balanced_accuracy(stack).tolist() == [
        float(scores.balanced_accuracy(CONFUSION)),
        1.0,
    ]


def test_nothing_has_no_scores():
    assert np.isnan(scores.accuracy(np.zeros((2, 2))))
    assert np.isnan(scores.balanced_accuracy(np.zeros((2, 2))))


class_pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@settings(max_examples=40, deadline=None)
@given(class_pairs)
def test_scores_are_those_of_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    confusion = scores.confusion_matrix(truth, predicted, 4)
    everyone = {"labels": range(4), "zero_division": np.nan, "average": None}
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(truth, predicted, **everyone)

    assert confusion.tolist() == oracle.confusion_matrix(truth, predicted, labels=range(4)).tolist()
    np.testing.assert_allclose(scores.precision(confusion), precision)
    np.testing.assert_allclose(scores.recall(confusion), recall)
    np.testing.assert_allclose(scores.f1(confusion), f1)
    assert scores.accuracy(confusion) == pytest.approx(oracle.accuracy_score(truth, predicted))
    assert scores.balanced_accuracy(confusion) == pytest.approx(
        oracle.recall_score(truth, predicted, average="macro", labels=np.unique(truth))
    )
    assert scores.macro_f1(confusion) == pytest.approx(
        oracle.f1_score(truth, predicted, average="macro")
    )
