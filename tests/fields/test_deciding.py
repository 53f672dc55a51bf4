"""Decisions: classes by detector and crop classifier, reasons for review, and crops."""

import numpy as np
import pytest

from hematovision import images
from hematovision.fields.deciding import (
    DISAGREE,
    SEVERAL,
    UNCERTAIN_KIND,
    CellClassifier,
    combined,
    is_doubtful,
)
from hematovision.fields.finding import FieldContext
from hematovision.fields.framing import square
from hematovision.fields.scale import Scale
from hematovision.images.stain import Stain, recoloured
from hematovision.model.framing import Framing
from hematovision.model.prediction import RawPredictions
from hematovision.model.thresholds import LOW_CONFIDENCE, Thresholds

RED, WHITE, PLATELET = range(3)
OWN = Stain((240.0,) * 3, (180.0,) * 3)
PALE = Stain((240.0,) * 3, (210.0,) * 3)
FIELD = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3).astype(np.uint8)
BOX = np.array([(30, 30, 60, 60)], np.float32)


class Fixed:
    """A classifier that always predicts the same."""

    framing = None

    def __init__(self, probabilities, classes=("RBC", "WBC", "Platelets"), novelty=0.0):
        self.classes, self.size = classes, 32
        self.thresholds = Thresholds(min_confidence=0.9, max_novelty=2.0)
        self.seen, self.novelty, self.images = [], novelty, None
        self._probabilities = np.array([probabilities], np.float32)

    def predict_batch(self, batch):
        self.seen.append(batch.shape)
        self.images, n = batch, len(batch)
        novelty = np.full(n, self.novelty, np.float32)
        return RawPredictions(np.repeat(self._probabilities, n, axis=0), novelty)


def decided(scores, crops=None, subtypes=None, least=0.5, stain=None):
    (cell,) = all_decided([scores], crops, subtypes, least, stain)
    return cell


def all_decided(scores, crops=None, subtypes=None, least=0.5, stain=None):
    scores = np.array(scores, np.float32)
    context = FieldContext((240.0,) * 3, Scale(10.0, "red cells"), stain=stain)
    found = (scores, scores.argmax(axis=1))
    boxes = np.repeat(BOX, len(scores), axis=0)
    return CellClassifier(crops, subtypes, least).classify(FIELD, boxes, found, context)


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


NUCLEATED = (0.0, 0.97, 0.03)


@pytest.mark.parametrize("opinion", [(0.999, 0.001, 0.0), (0.6, 0.4, 0.0)])
def test_a_nucleated_red_cell_is_an_erythroblast_though_the_crop_classifier_calls_it_red(opinion):
    kinds = Fixed(NUCLEATED, classes=("neutrophil", "erythroblast", "ig"))
    cell = decided((0.02, 0.95, 0.01), Fixed(opinion), kinds)
    assert (cell.label, cell.subtype, cell.reasons) == (WHITE, "erythroblast", ())
    assert cell.confidence > 0.9


@pytest.mark.parametrize(
    "kinds",
    [
        Fixed((0.97, 0.03), ("neutrophil", "erythroblast")),
        Fixed((0.2, 0.8), ("neutrophil", "erythroblast")),
    ],
)
def test_without_an_accepted_erythroblast_a_red_opinion_still_disagrees(kinds):
    cell = decided((0.02, 0.95, 0.01), Fixed((0.999, 0.001, 0.0)), kinds)
    assert cell.label == RED
    assert DISAGREE in cell.reasons
    assert cell.subtype == ""


def test_a_red_cell_of_the_detector_has_no_kind():
    kinds = Fixed(NUCLEATED, classes=("neutrophil", "erythroblast", "ig"))
    cell = decided((0.5, 0.4, 0.1), Fixed((1.0, 0.0, 0.0)), kinds)
    assert (cell.label, cell.subtype, kinds.seen) == (RED, "", [])


def test_an_uncertain_kind_goes_to_review():
    kinds = Fixed((0.6, 0.4), ("neutrophil", "lymphocyte"))
    assert decided((0.02, 0.95, 0.0), None, kinds).reasons == (UNCERTAIN_KIND,)


@pytest.mark.parametrize("probability", [0.99, 0.6])
def test_what_its_classifier_calls_a_platelet_is_a_white_cell_of_uncertain_kind(probability):
    kinds = Fixed((probability, 1 - probability), ("platelet", "neutrophil"))
    cell = decided((0.02, 0.95, 0.0), None, kinds)
    assert (cell.label, cell.reasons) == (WHITE, (UNCERTAIN_KIND,))
    assert (cell.subtype, cell.subtype_confidence) == ("", None)


def test_all_white_cells_of_a_field_are_classified_together_in_their_order():
    crops, kinds = Fixed((0.2, 0.6, 0.2)), Fixed((0.97, 0.03), ("neutrophil", "lymphocyte"))
    scores = [(0.02, 0.95, 0), (0.95, 0.02, 0), (0.02, 0.9, 0), (0.0, 0.0, 0.9)]
    cells = all_decided(scores, crops, kinds)
    assert [cell.subtype for cell in cells] == ["neutrophil", "", "neutrophil", ""]
    assert kinds.seen == [(2, 32, 32, 3)]
    assert crops.seen == [(3, 32, 32, 3)]


def test_many_white_cells_are_classified_in_parts():
    kinds = Fixed((0.97, 0.03), ("neutrophil", "lymphocyte"))
    cells = all_decided([(0.02, 0.95, 0)] * 70, None, kinds)
    assert {cell.subtype for cell in cells} == {"neutrophil"}
    assert [shape[0] for shape in kinds.seen] == [64, 6]


def test_a_field_without_cells_asks_no_classifier():
    kinds = Fixed((0.97, 0.03), ("neutrophil", "lymphocyte"))
    classifier = CellClassifier(Fixed((0, 1, 0)), kinds, 0.5)
    nothing = (np.zeros((0, 3), "f4"), np.zeros(0, np.intp))
    context = FieldContext((240.0,) * 3, Scale(10.0, "none"))
    assert classifier.classify(FIELD, np.zeros((0, 4), "f4"), nothing, context) == []
    assert kinds.seen == []


@pytest.mark.parametrize(
    ("framing", "stain", "side", "colours"),
    [
        (None, OWN, 43, None),  # 360 / 83 diameters of 10 pixels
        (Framing(3.2), OWN, 32, None),
        (Framing(3.2, PALE), None, 32, None),
        (Framing(3.2, PALE), OWN, 32, PALE),
    ],
)
def test_crops_have_the_side_and_the_colours_of_the_framing(framing, stain, side, colours):
    kinds = Fixed((0.97, 0.03), ("neutrophil", "lymphocyte"))
    kinds.framing = framing
    decided((0.02, 0.95, 0.0), None, kinds, stain=stain)
    expected = images.fit(square(FIELD, BOX[0], side), 32)
    expected = recoloured(expected, stain, colours) if colours else expected
    np.testing.assert_array_equal(kinds.images[0], expected)


def test_a_white_cell_unlike_the_training_images_goes_to_review():
    kinds = Fixed((0.97, 0.03), ("neutrophil", "lymphocyte"), novelty=2.1)
    assert decided((0.02, 0.95, 0.0), None, kinds).reasons == (UNCERTAIN_KIND,)


def test_scores_of_zero_have_shares():
    assert combined(np.zeros(3, "f4"), np.zeros(3, "f4")).tolist() == pytest.approx([1 / 3] * 3)
