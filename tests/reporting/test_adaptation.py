"""Predictions before and after adapting are counted and shown."""

import numpy as np
import pytest

from hematovision.reporting.adaptation import (
    ChangedExample,
    PredictionChanges,
    prediction_changes,
    write_adaptation_report,
)
from hematovision.reporting.report import ReportFacts

FACTS = ReportFacts(
    "my <lab>", "run", "lab", "all", notes=("Unknown accuracy.",), details={"a": "b"}
)


@pytest.fixture
def changes() -> PredictionChanges:
    return prediction_changes(
        ("RBC", "WBC"),
        [0, 0, 0, 1],
        [0, 1, 0, 1],
        accepted_before=[True, False, False, False],
        accepted_after=[True, True, True, False],
    )


def test_changes_are_counted(changes):
    assert changes.moves == ((2, 1), (0, 1))
    assert (changes.before, changes.after) == ({"RBC": 3, "WBC": 1}, {"RBC": 2, "WBC": 2})
    assert (changes.changed, changes.review_before, changes.review_after) == (1, 3, 1)
    assert changes.to_json()["changed"] == 1


def test_the_page_shows_changes_without_a_script(changes, tmp_path):
    example = ChangedExample(np.zeros((8, 8, 3), np.uint8), "RBC", "WBC", 0.97, "a&b.png")
    page = write_adaptation_report(tmp_path, changes, FACTS, [example] * 30).read_text("utf-8")
    assert "my &lt;lab&gt;" in page
    assert "a&amp;b.png" in page
    assert "75.0%" in page
    assert "25.0%" in page
    assert page.count("data:image/jpeg") == 24
    assert "<script" not in page
    assert "Unknown accuracy." in page


def test_a_page_without_examples_has_no_gallery(changes, tmp_path):
    page = write_adaptation_report(tmp_path, changes, FACTS).read_text("utf-8")
    assert "Changed predictions" not in page


def test_an_image_unlike_the_known_ones_is_not_recognised(changes, tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    example = ChangedExample(pixels, "RBC", "WBC", 0.97, "a.png", out_of_distribution=True)
    page = write_adaptation_report(tmp_path, changes, FACTS, [example]).read_text("utf-8")
    assert "now <b>Not recognised</b> (nearest class WBC, 97.0%)" in page
