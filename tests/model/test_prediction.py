"""Predictions: their headline, their values by column, and back."""

import pytest

from hematovision.model.prediction import (
    NOT_READ,
    NOT_RECOGNISED,
    Prediction,
    headline,
    prediction_schema,
)
from hematovision.model.thresholds import Thresholds, decide, is_out_of_distribution

THRESHOLDS = Thresholds(min_confidence=0.9, max_novelty=1.2)


@pytest.mark.parametrize(
    ("confidence", "novelty", "expected"),
    [
        (0.97, 1.0, "WBC"),
        (0.5, 1.0, "WBC"),
        (0.97, 1.3, NOT_RECOGNISED),
        (0.5, 1.3, NOT_RECOGNISED),
    ],
)
def test_the_headline_of_an_out_of_distribution_image_is_not_a_class(
    confidence: float, novelty: float, expected: str
):
    decision, reason = decide(confidence, novelty, THRESHOLDS)
    one = Prediction("x", ("WBC",), "WBC", (confidence,), confidence, novelty, decision, reason)
    assert one.headline == expected
    assert one.values()["label"] == "WBC"


def test_a_refused_file_is_not_read():
    assert Prediction.refused("x", ("WBC",), "no image").headline == NOT_READ
    assert headline(None, "") == NOT_READ


def test_only_the_exact_reason_marks_an_image_as_out_of_distribution():
    assert is_out_of_distribution("unlike the training images")
    assert not is_out_of_distribution("a note about unlike the training images")
    assert not is_out_of_distribution("")


def wbc() -> Prediction:
    return Prediction("x", ("RBC", "WBC"), "WBC", (0.25, 0.75), 0.75, 1.0, "review", "low")


@pytest.mark.parametrize("one", [wbc(), Prediction.refused("y", ("RBC", "WBC"), "no image")])
def test_values_match_the_schema_and_restore_the_prediction(one: Prediction):
    assert one.schema is prediction_schema(("RBC", "WBC"))
    one.schema.check(one.values())
    assert Prediction.from_values(one.values(), one.classes) == one


@pytest.mark.parametrize(
    "changes",
    [{"decision": "maybe"}, {"label": "platelet"}, {"p_RBC": None}, {"novelty": "far"}],
)
def test_invalid_values_are_an_error(changes):
    with pytest.raises((TypeError, ValueError)):
        Prediction.from_values(wbc().values() | changes, ("RBC", "WBC"))


def test_the_old_name_of_values_still_works():
    with pytest.deprecated_call(match=r"use Prediction\.values"):
        assert wbc().row() == wbc().values()
