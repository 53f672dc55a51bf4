"""What the card says of data, truth, parts and failures is counted, or admitted to be unknown."""

from dataclasses import fields, replace

import numpy as np
import pytest

from hematovision.evaluation import evaluate
from hematovision.reporting.claim import (
    INTENDED_USE,
    NOTHING_SAID,
    Statements,
    accepted_errors,
    data_rows,
    failure_summary,
    mistaken_rows,
    partition_rows,
    preprocessing,
    truth_rows,
)


def answer(rows, item):
    return dict(rows)[item]


def test_what_nobody_said_is_called_not_recorded():
    rows = [*data_rows(NOTHING_SAID, preprocessing(224), 0), *truth_rows(NOTHING_SAID)]
    said = [line for item, line in rows if item and item != "known label errors"]
    assert len(said) == 7 + 5
    assert all("Not recorded. Whoever trained the model should say" in line for line in said)


def test_every_statement_is_lines_so_that_none_is_read_letter_by_letter():
    values = [getattr(NOTHING_SAID, field.name) for field in fields(Statements)]
    assert all(isinstance(value, tuple) for value in values)
    assert any("diagnosis" in line and line.startswith("Not for") for line in INTENDED_USE)


def test_preprocessing_is_that_of_the_model():
    text = preprocessing(128)
    assert "stretched to 224x224 pixels" in text
    assert "235 of 255" in text
    assert text.index("235 of 255") < text.index("shrunk to 128x128") < text.index("-1 to 1")
    first_version = preprocessing(224, white_balance=False)
    assert "235" not in first_version
    assert "shrunk" not in first_version


@pytest.mark.parametrize(
    ("refused", "words"),
    [(None, "was not recorded"), (0, "Every image could be read"), (1, "read: 1 image;"),
     (1200, "read: 1,200 images;")],
)  # fmt: skip
def test_unreadable_images_are_missing_data(refused, words):
    rows = data_rows(NOTHING_SAID, "", refused)
    assert words in rows[-1][1]
    assert answer(rows, "13 missing data").startswith("Not recorded")


def test_an_answer_of_several_lines_names_its_item_once():
    said = replace(NOTHING_SAID, annotators=("a pathologist", "a student"))
    rows = truth_rows(said)
    at = rows.index(("16 annotators", "a pathologist"))
    assert rows[at + 1] == ("", "a student")
    assert answer(rows, "known label errors") == "None are recorded."


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({}, "Not recorded."),
        ({"train": ["a.png", "b.png"], "test": ["c.png"]}, "The image: no field"),
        ({"train": ["f1", "f1", "f2"], "test": ["f3"]}, "2 groups in train, 1 group in test; none"),
        ({"train": ["f1", "f1"]}, "1 group in train. Where"),
        (
            {"train": ["f1", "f1", "f2"], "valid": ["f2"], "test": ["f2", "f3"]},
            "in several parts: 1 group, so that the figures flatter",
        ),
        ({"train": ["a.png"], "test": ["a.png"]}, "in several parts: 1 group,"),
    ],
)
def test_the_level_at_which_parts_are_disjoint_is_counted(groups, words):
    assert words in answer(partition_rows(NOTHING_SAID, "", groups), "21 disjoint at")


def test_the_assignment_is_the_programs_unless_somebody_knows_better():
    assert answer(partition_rows(NOTHING_SAID, "By field.", {}), "20 assignment") == "By field."
    known = replace(NOTHING_SAID, assignment=("The official lists.",))
    assert answer(partition_rows(known, "By field.", {}), "20 assignment") == "The official lists."


def test_errors_are_accepted_or_sent_to_review(metrics, answers):
    wrong = answers["labels"] != answers["probabilities"].argmax(axis=1)
    assert accepted_errors(metrics) == (wrong & answers["accepted"]).sum()
    for lab, scores in metrics.per_lab.items():
        here = np.array(answers["labs"]) == lab
        assert accepted_errors(scores) == (wrong & answers["accepted"] & here).sum()


def test_no_error_is_accepted_where_no_answer_is():
    found = evaluate([0, 1], [[0.2, 0.8], [0.2, 0.8]], ("a", "b"), accepted=[False, False])
    assert accepted_errors(found) == 0
    assert failure_summary(NOTHING_SAID, found).startswith(
        "1 of 2 answers is wrong: 0 accepted, 1 sent to review."
    )


def test_known_label_errors_are_recalled_where_failures_are_told(metrics):
    assert "errors of the labels" not in failure_summary(NOTHING_SAID, metrics)
    known = replace(NOTHING_SAID, label_errors=("Three boxes hold no cell.",))
    assert "errors of the labels" in failure_summary(known, metrics)
    assert answer(truth_rows(known), "known label errors") == "Three boxes hold no cell."


def test_mistaken_classes_are_sorted_by_how_often(metrics):
    assert mistaken_rows(metrics) == [
        ("RBC", "Platelets", 3, 200),
        ("WBC", "RBC", 3, 60),
        ("Platelets", "RBC", 3, 40),
        ("RBC", "WBC", 2, 200),
        ("Platelets", "WBC", 1, 40),
    ]
