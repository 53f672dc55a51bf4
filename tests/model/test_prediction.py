"""What stands above an image that a model was asked about."""

import pytest

from hematovision.model.prediction import NOT_READ, NOT_RECOGNISED, Prediction, headline
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
def test_an_image_unlike_the_training_images_is_not_called_by_a_class(
    confidence: float, novelty: float, expected: str
):
    decision, reason = decide(confidence, novelty, THRESHOLDS)
    one = Prediction("x", ("WBC",), "WBC", (confidence,), confidence, novelty, decision, reason)
    assert one.headline == expected
    assert one.row()["label"] == "WBC"


def test_a_refused_file_is_not_read():
    assert Prediction.refused("x", ("WBC",), "no image").headline == NOT_READ
    assert headline(None, "") == NOT_READ


def test_only_the_reason_itself_tells_that_an_image_is_unlike():
    assert is_out_of_distribution("unlike the training images")
    assert not is_out_of_distribution("a note about unlike the training images")
    assert not is_out_of_distribution("")
