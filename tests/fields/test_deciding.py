"""Decisions: classes by detector and crop classifier, reasons for review, and crops."""

import numpy as np
import pytest

from hematovision.fields.deciding import (
    DISAGREE,
    SEVERAL,
    UNCERTAIN_KIND,
    CellClassifier,
    combined,
    is_doubtful,
    square,
)
from hematovision.model.prediction import RawPredictions
from hematovision.model.thresholds import LOW_CONFIDENCE, Thresholds

RED, WHITE, PLATELET = range(3)
FIELD = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3).astype(np.uint8)
BOX = np.array([(30, 30, 60, 60)], np.float32)


class Fixed:
    """A classifier that always predicts the same."""

    def __init__(self, probabilities, classes=("RBC", "WBC", "Platelets"), novelty=0.0):
        self.classes, self.size = classes, 32
        self.thresholds = Thresholds(min_confidence=0.9, max_novelty=2.0)
        self.seen, self.novelty = [], novelty
        self._probabilities = np.array([probabilities], np.float32)

    def predict_batch(self, batch):
        self.seen.append(batch.shape)
        return RawPredictions(self._probabilities, np.array([self.novelty], np.float32))


def decided(scores, crops=None, subtypes=None, least=0.5, diameter=30.0):
    scores = np.array([scores], np.float32)
    classifier = CellClassifier(crops, subtypes, least)
    (cell,) = classifier.classify(FIELD, BOX, (scores, scores.argmax(axis=1)), diameter)
    return cell


def test_a_certain_red_cell_is_accepted_without_a_second_opinion():
    crops = Fixed((0, 1, 0))
    cell = decided((0.95, 0.05, 0.02), crops)
    assert (cell.label, cell.reasons, crops.seen) == (RED, (), [])
    assert cell.confidence == pytest.approx(0.95 * 0.95 / 1.02)
    assert cell.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("scores", "label", "asked"),
    [
        ((0.9, 0.1, 0.0), RED, False),
        ((0.5, 0.4, 0.1), RED, True),
        ((0.1, 0.9, 0.0), WHITE, True),
        ((0.0, 0.0, 0.9), PLATELET, True),
    ],
)
def test_the_classifier_is_asked_about_doubtful_cells(scores, label, asked):
    assert is_doubtful(np.array([scores], "f4"), np.array([label])).tolist() == [asked]


def test_agreement_raises_the_share_and_disagreement_goes_to_review():
    assert decided((0.3, 0.7, 0.0), Fixed((0.01, 0.98, 0.01))).reasons == ()
    cell = decided((0.3, 0.7, 0.0), Fixed((0.98, 0.01, 0.01)))
    assert cell.label == RED
    assert DISAGREE in cell.reasons


def test_the_classes_of_the_classifier_may_be_in_another_order():
    cell = decided((0.4, 0.6, 0.0), Fixed((0.0, 0.02, 0.98), ("Platelets", "RBC", "WBC")))
    assert cell.label == WHITE


def test_low_confidence_and_rivals_are_reasons():
    assert decided((0.4, 0.02, 0.0)).reasons == (LOW_CONFIDENCE,)
    assert decided((0.9, 0.8, 0.0), least=0.2).reasons == (SEVERAL,)


def test_only_white_cells_have_a_kind():
    kinds = Fixed((0.97, 0.03), ("neutrophil", "lymphocyte"))
    assert decided((0.9, 0.1, 0.0), None, kinds).subtype == ""
    cell = decided((0.02, 0.95, 0.0), None, kinds)
    assert (cell.subtype, cell.reasons) == ("neutrophil", ())
    assert cell.subtype_confidence == pytest.approx(0.97)
    assert kinds.seen == [(1, 32, 32, 3)]


def test_an_uncertain_kind_goes_to_review():
    kinds = Fixed((0.6, 0.4), ("neutrophil", "lymphocyte"))
    assert decided((0.02, 0.95, 0.0), None, kinds).reasons == (UNCERTAIN_KIND,)


def test_a_certain_platelet_among_the_white_cells_becomes_one_and_goes_to_review():
    kinds = Fixed((0.99, 0.01), ("platelet", "neutrophil"))
    cell = decided((0.02, 0.95, 0.0), None, kinds)
    assert (cell.label, cell.subtype, cell.reasons) == (PLATELET, "", (DISAGREE,))
    assert cell.shares.sum() == pytest.approx(1)
    assert cell.confidence == pytest.approx(0.95 * 0.99, abs=0.01)
    unlike = Fixed((0.99, 0.01), ("platelet", "neutrophil"), novelty=2.1)
    assert decided((0.02, 0.95, 0.0), None, unlike).label == WHITE


def test_a_cell_too_large_for_a_platelet_stays_a_white_cell():
    kinds = Fixed((0.99, 0.01), ("platelet", "neutrophil"))
    cell = decided((0.02, 0.95, 0.0), None, kinds, diameter=20.0)  # the box is 30 pixels wide
    assert (cell.label, cell.subtype, cell.reasons) == (WHITE, "", (UNCERTAIN_KIND,))


def test_a_white_cell_unlike_the_training_images_goes_to_review():
    kinds = Fixed((0.97, 0.03), ("neutrophil", "lymphocyte"), novelty=2.1)
    assert decided((0.02, 0.95, 0.0), None, kinds).reasons == (UNCERTAIN_KIND,)


def test_scores_of_zero_have_shares():
    assert combined(np.zeros(3, "f4"), np.zeros(3, "f4")).tolist() == pytest.approx([1 / 3] * 3)


def test_a_square_repeats_the_border():
    crop = square(FIELD, np.array([0, 0, 10, 10], "f4"), 20)
    assert crop.shape == (20, 20, 3)
    np.testing.assert_array_equal(crop[5:, 5:], FIELD[:15, :15])
    np.testing.assert_array_equal(crop[0, 5:], FIELD[0, :15])
