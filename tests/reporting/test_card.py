"""The model card says what a stranger must know before using the model."""

from dataclasses import replace

import numpy as np
import pytest

from hematovision.evaluation import evaluate
from hematovision.model.registry import bundled_models, find_model
from hematovision.reporting import CardFacts, model_card
from hematovision.reporting.claim import NOTHING_SAID, Statements, preprocessing


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
        preprocessing=preprocessing(160),
        temperature=1.25,
        min_confidence=0.8,
        max_novelty=31.5,
        labs=("Basel", "Tehran"),
        details={"Seed": "0"},
        about=Statements(
            sources=("Basel: 90 fields.", "Tehran: 60 fields."),
            licences=("Code: Apache-2.0", "Images: CC BY 4.0"),
        ),
        groups={"train": ["a", "a", "b"], "test": ["c", "d"]},
        refused=3,
    )


def test_card_has_purpose_data_figures_trust_limits_and_licences(card, metrics):
    text = model_card(card, metrics)
    for words in (
        "# two-hospitals\n",
        "Not a medical device. Not for diagnosis.",
        "- Not for: diagnosis",
        "Classes: RBC, WBC, Platelets.",
        "| train | 1,400 | 90 | 0 | 1,490 | 83.2\u202f% |",
        "| fingerprint of the data (SHA-256) | 9c1185a5 |",
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


def test_card_answers_the_checklist_item_by_item(card, metrics):
    text = model_card(card, metrics)
    assert "| 7 sources | Basel: 90 fields. |\n|  | Tehran: 60 fields. |" in text
    assert "shrunk to 160x160" in text
    assert "could not be read: 3 images" in text
    assert "| 20 assignment | Stratified, grouped by field, seed 0. |" in text
    assert "2 groups in train, 2 groups in test; none is in two parts" in text
    items = [f"| {number} " for number in range(7, 22)]
    places = [text.index(item) for item in items]
    assert places == sorted(places)
    sections = ("Data", "Ground truth", "Partitions", "Figures", "Failure analysis (37)")
    places = [text.index(f"\n## {title}\n") for title in sections]
    assert places == sorted(places)


def test_failures_are_told_by_pair_and_by_lab(card, metrics, answers):
    text = model_card(card, metrics).split("## Failure analysis (37)")[1].split("\n## ")[0]
    wrong = answers["labels"] != answers["probabilities"].argmax(axis=1)
    passed = int((wrong & answers["accepted"]).sum())
    assert f"12 of 300 answers are wrong: {passed} accepted, {12 - passed} sent to review" in text
    assert "| RBC | Platelets | 3 of 200 (1.5\u202f%) |" in text
    assert "| Platelets | RBC | 3 of 40 (7.5\u202f%) |" in text
    rows = [line for line in text.splitlines() if line.startswith(("| Basel", "| Tehran"))]
    assert sum(int(row.split("|")[2]) for row in rows) == 12
    assert sum(int(row.split("|")[3]) for row in rows) == passed


def test_pairs_beyond_the_table_are_counted(card):
    labels = np.arange(12)
    said = np.eye(12)[(labels + 1) % 12]
    found = evaluate(labels, said, tuple("abcdefghijkl"), accepted=[True] * 12)
    assert "And 2 in rarer pairs." in model_card(replace(card, split={}), found)


def test_without_errors_there_is_nothing_to_analyse(card):
    labels = np.arange(40) % 2
    found = evaluate(labels, np.eye(2)[labels], ("a", "b"), accepted=[True] * 40)
    text = model_card(replace(card, split={}), found)
    assert "None of the 40 answers is wrong" in text
    assert "| is | taken for |" not in text


def test_names_cannot_break_a_table_or_bring_markup(card):
    labels = np.arange(4) % 2
    found = evaluate(labels, np.eye(2)[labels], ("a|b", "<script>"), accepted=[False] * 4)
    text = model_card(replace(card, split={}, about=NOTHING_SAID), found)
    assert r"| a\|b | 100" in text
    assert "<script>" not in text
    assert "No answer is accepted" in text
    assert "## Licences" not in text
    assert "Fewer than 30 images" in text


def test_model_of_drawn_images_says_so(card, metrics):
    assert "Drawn images (phantoms)" in model_card(replace(card, labs=("phantom",)), metrics)


def test_commands_are_code_and_other_backticks_are_text(card, metrics):
    limits = ("Run `hematovision adapt` there.", "A class named `b` with `<i>`.")
    text = model_card(replace(card, limits=limits), metrics)
    assert "- Run `hematovision adapt` there." in text
    assert r"- A class named \`b\` with \`&lt;i&gt;\`." in text
    assert r"\`hematovision" not in text


@pytest.mark.parametrize("name", bundled_models())
def test_cards_of_bundled_models_show_no_literal_backticks(name: str):
    text = (find_model(name) / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "`hematovision evaluate`" in text
    assert r"\`" not in text
