"""Model cards are complete; their statements are generated or marked as not recorded."""

from dataclasses import fields, replace

import numpy as np
import pytest

from hematovision.evaluation import evaluate
from hematovision.model.registry import bundled_models, find_model
from hematovision.reporting.card import (
    INTENDED_USE,
    NOT_RECORDED,
    CardFacts,
    Statements,
    accepted_errors,
    data_rows,
    failure_summary,
    model_card,
    partition_rows,
    preprocessing,
    truth_rows,
)


@pytest.fixture
def card():
    return CardFacts(
        name="two-hospitals",
        architecture="MobileNetV2 at 224 px, Dense(128), Dense(3).",
        weights="hematology",
        split_sizes={
            "train": {"RBC": 1400, "WBC": 90},
            "test": {"RBC": 200, "WBC": 60, "Platelets": 40},
        },
        split="test",
        fingerprint="9c1185a5",
        split_method="Stratified, grouped by field, seed 0.",
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


def test_card_has_a_note_about_the_classes(card, metrics):
    text = model_card(replace(card, note="nucleated red cells count as RBC"), metrics)
    assert "Classes: RBC, WBC, Platelets (nucleated red cells count as RBC)." in text


def test_card_has_all_sections(card, metrics):
    text = model_card(card, metrics)
    for words in (
        "# two-hospitals\n",
        "Not a medical device. Not for diagnosis.",
        "- Not for: diagnosis",
        "Classes: RBC, WBC, Platelets.",
        "| train | 1,400 | 90 | 0 | 1,490 | 83.2% |",
        "| fingerprint of the data (SHA-256) | 9c1185a5 |",
        "| labs | Basel, Tehran |",
        "300 images (test split)",
        "12 errors",
        "| this model | 94.2% (",
        "| baseline: most frequent class | 33.3% | 66.7% |",
        "temperature 1.250",
        "a confidence below 0.800 or a novelty score above 31.500",
        "| Tehran | 150 |",
        "## Limitations",
        "- Images: CC BY 4.0",
    ):
        assert words in text, words
    assert "Synthetic images" not in text


def test_card_covers_the_checklist_item_by_item(card, metrics):
    text = model_card(card, metrics)
    assert "| 7 sources | Basel: 90 fields. |\n|  | Tehran: 60 fields. |" in text
    assert "reduced to 160x160" in text
    assert "could not be read: 3 images" in text
    assert "| 20 assignment | Stratified, grouped by field, seed 0. |" in text
    assert "2 groups in train, 2 groups in test; none is in two splits" in text
    items = [f"| {number} " for number in range(7, 22)]
    places = [text.index(item) for item in items]
    assert places == sorted(places)
    sections = ("Data", "Ground truth", "Partitions", "Metrics", "Failure analysis (37)")
    places = [text.index(f"\n## {title}\n") for title in sections]
    assert places == sorted(places)


def test_failures_are_listed_by_pair_and_by_lab(card, metrics, predictions):
    text = model_card(card, metrics).split("## Failure analysis (37)")[1].split("\n## ")[0]
    wrong = predictions["labels"] != predictions["probabilities"].argmax(axis=1)
    passed = int((wrong & predictions["accepted"]).sum())
    assert (
        f"12 of 300 predictions are wrong: {passed} accepted, {12 - passed} sent for review" in text
    )
    assert "| RBC | Platelets | 3 of 200 (1.5%) |" in text
    assert "| Platelets | RBC | 3 of 40 (7.5%) |" in text
    rows = [line for line in text.splitlines() if line.startswith(("| Basel", "| Tehran"))]
    assert sum(int(row.split("|")[2]) for row in rows) == 12
    assert sum(int(row.split("|")[3]) for row in rows) == passed


def test_pairs_beyond_the_table_are_counted(card):
    labels = np.arange(12)
    wrong = np.eye(12)[(labels + 1) % 12]
    found = evaluate(labels, wrong, tuple("abcdefghijkl"), accepted=[True] * 12)
    assert "And 2 in rarer pairs." in model_card(replace(card, split_sizes={}), found)


def test_without_errors_there_is_nothing_to_analyse(card):
    labels = np.arange(40) % 2
    found = evaluate(labels, np.eye(2)[labels], ("a", "b"), accepted=[True] * 40)
    text = model_card(replace(card, split_sizes={}), found)
    assert "None of the 40 predictions is wrong" in text
    assert "| true class | predicted |" not in text


def test_names_are_escaped_in_tables(card):
    labels = np.arange(4) % 2
    found = evaluate(labels, np.eye(2)[labels], ("a|b", "<script>"), accepted=[False] * 4)
    text = model_card(replace(card, split_sizes={}, about=NOT_RECORDED), found)
    assert r"| a\|b | 100" in text
    assert "<script>" not in text
    assert "No prediction is accepted" in text
    assert "## Licences" not in text
    assert "Fewer than 30 images" in text


def test_card_of_synthetic_images_is_marked(card, metrics):
    assert "Synthetic images" in model_card(replace(card, labs=("synthetic-a",)), metrics)


def test_commands_are_code_and_other_backticks_are_text(card, metrics):
    limitations = ("Run `hematovision adapt` there.", "A class named `b` with `<i>`.")
    text = model_card(replace(card, limitations=limitations), metrics)
    assert "- Run `hematovision adapt` there." in text
    assert r"- A class named \`b\` with \`&lt;i&gt;\`." in text
    assert r"\`hematovision" not in text


@pytest.mark.parametrize("name", bundled_models())
def test_cards_of_bundled_models_show_no_literal_backticks(name: str):
    text = (find_model(name) / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "`hematovision evaluate`" in text
    assert r"\`" not in text


def first_line(rows, item):
    return dict(rows)[item]


def test_missing_statements_are_marked_as_not_recorded():
    rows = [*data_rows(NOT_RECORDED, preprocessing(224), 0), *truth_rows(NOT_RECORDED)]
    lines = [line for item, line in rows if item and item != "known label errors"]
    assert len(lines) == 7 + 5
    assert all(line.startswith("Not recorded: ") for line in lines)


def test_every_statement_is_a_tuple_of_lines():
    values = [getattr(NOT_RECORDED, field.name) for field in fields(Statements)]
    assert all(isinstance(value, tuple) for value in values)
    assert any("diagnosis" in line and line.startswith("Not for") for line in INTENDED_USE)


def test_preprocessing_is_that_of_the_model():
    text = preprocessing(128)
    assert "stretched to 224x224 pixels" in text
    assert "235 of 255" in text
    assert text.index("235 of 255") < text.index("reduced to 128x128") < text.index("-1 to 1")
    first_version = preprocessing(224, white_balance=False)
    assert "235" not in first_version
    assert "reduced" not in first_version


@pytest.mark.parametrize(
    ("refused", "words"),
    [(None, "was not recorded"), (0, "Every image could be read"), (1, "read: 1 image;"),
     (1200, "read: 1,200 images;")],
)  # fmt: skip
def test_unreadable_images_are_missing_data(refused, words):
    rows = data_rows(NOT_RECORDED, "", refused)
    assert words in rows[-1][1]
    assert first_line(rows, "13 missing data").startswith("Not recorded")


def test_a_statement_of_several_lines_names_its_item_once():
    about = replace(NOT_RECORDED, annotators=("a pathologist", "a student"))
    rows = truth_rows(about)
    at = rows.index(("16 annotators", "a pathologist"))
    assert rows[at + 1] == ("", "a student")
    assert first_line(rows, "known label errors") == "None are recorded."


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({}, "Not recorded."),
        ({"train": ["a.png", "b.png"], "test": ["c.png"]}, "The image: no field"),
        ({"train": ["f1", "f1", "f2"], "test": ["f3"]}, "2 groups in train, 1 group in test; none"),
        ({"train": ["f1", "f1"]}, "1 group in train. If"),
        (
            {"train": ["f1", "f1", "f2"], "valid": ["f2"], "test": ["f2", "f3"]},
            "in several splits: 1 group, so metrics are inflated",
        ),
        ({"train": ["a.png"], "test": ["a.png"]}, "in several splits: 1 group,"),
    ],
)
def test_the_level_at_which_splits_are_disjoint_is_counted(groups, words):
    assert words in first_line(partition_rows(NOT_RECORDED, "", groups), "21 disjoint at")


def test_a_statement_of_the_assignment_replaces_the_generated_one():
    assert first_line(partition_rows(NOT_RECORDED, "By field.", {}), "20 assignment") == "By field."
    known = replace(NOT_RECORDED, assignment=("The official lists.",))
    assert (
        first_line(partition_rows(known, "By field.", {}), "20 assignment") == "The official lists."
    )


def test_errors_are_accepted_or_sent_to_review(metrics, predictions):
    wrong = predictions["labels"] != predictions["probabilities"].argmax(axis=1)
    assert accepted_errors(metrics) == (wrong & predictions["accepted"]).sum()
    for lab, scores in metrics.per_lab.items():
        here = np.array(predictions["labs"]) == lab
        assert accepted_errors(scores) == (wrong & predictions["accepted"] & here).sum()


def test_no_error_is_accepted_if_no_prediction_is():
    found = evaluate([0, 1], [[0.2, 0.8], [0.2, 0.8]], ("a", "b"), accepted=[False, False])
    assert accepted_errors(found) == 0
    assert failure_summary(NOT_RECORDED, found).startswith(
        "1 of 2 predictions is wrong: 0 accepted, 1 sent for review."
    )


def test_known_label_errors_are_mentioned_in_the_failure_analysis(metrics):
    assert "label errors" not in failure_summary(NOT_RECORDED, metrics)
    known = replace(NOT_RECORDED, label_errors=("Three boxes hold no cell.",))
    assert "label errors" in failure_summary(known, metrics)
    assert first_line(truth_rows(known), "known label errors") == "Three boxes hold no cell."


def test_confused_classes_are_sorted_by_frequency(card, metrics):
    text = model_card(card, metrics).partition("| true class | predicted | images |\n")[2]
    assert text.splitlines()[1:6] == [
        "| RBC | Platelets | 3 of 200 (1.5%) |",
        "| WBC | RBC | 3 of 60 (5.0%) |",
        "| Platelets | RBC | 3 of 40 (7.5%) |",
        "| RBC | WBC | 2 of 200 (1.0%) |",
        "| Platelets | WBC | 1 of 40 (2.5%) |",
    ]
