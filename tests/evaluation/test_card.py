"""The model card says what a stranger must know before using the model."""

from dataclasses import replace

import numpy as np
import pytest

from hematovision.evaluation import CardFacts, evaluate, model_card


@pytest.fixture
def card():
    return CardFacts(
        name="two-hospitals",
        architecture="MobileNetV2 at 224 px, Dense(128), Dense(3).",
        weights="hematology",
        split={"train": {"RBC": 1400, "WBC": 90}, "test": {"RBC": 200, "WBC": 60, "Platelets": 40}},
        part="test",
        fingerprint="9c1185a5",
        how_split="Stratified, grouped by field, seed 0.",
        temperature=1.25,
        min_confidence=0.8,
        max_novelty=31.5,
        labs=("Basel", "Tehran"),
        details={"Seed": "0"},
        licences=("Code: Apache-2.0", "Images: CC BY 4.0"),
    )


def test_card_has_purpose_data_figures_trust_limits_and_licences(card, metrics):
    text = model_card(card, metrics)
    for words in (
        "# two-hospitals\n",
        "Not a medical device.",
        "Classes: RBC, WBC, Platelets.",
        "| train | 1,400 | 90 | 0 | 1,490 |",
        "| fingerprint (SHA-256) | 9c1185a5 |",
        "| labs | Basel, Tehran |",
        "300 images of the part test",
        "12 errors",
        "| this model | 94.2\u202f% (",
        "| baseline: most frequent class | 33.3\u202f% | 66.7\u202f% |",
        "temperature 1.250",
        "below a confidence of 0.800 or above a novelty of 31.500",
        "| Tehran | 150 |",
        "## Limits",
        "- Images: CC BY 4.0",
    ):
        assert words in text, words
    assert "phantom" not in text


def test_names_cannot_break_a_table_or_bring_markup(card):
    labels = np.arange(4) % 2
    found = evaluate(labels, np.eye(2)[labels], ("a|b", "<script>"), accepted=[False] * 4)
    text = model_card(replace(card, split={}, licences=()), found)
    assert r"| a\|b | 100" in text
    assert "<script>" not in text
    assert "No answer is accepted" in text
    assert "## Licences" not in text
    assert "Fewer than 30 images" in text


def test_model_of_drawn_images_says_so(card, metrics):
    assert "Drawn images (phantoms)" in model_card(replace(card, labs=("phantom",)), metrics)
