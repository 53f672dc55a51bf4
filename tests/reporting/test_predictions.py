"""The table of predictions has a row an image and can be read by any spreadsheet."""

import csv

import numpy as np
import pytest

from hematovision.reporting import write_predictions


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_image_has_a_row(tmp_path):
    path = write_predictions(
        tmp_path / "predictions.csv",
        ["Test/RBC/1.png", "Test/WBC/odd, name.png"],
        [0, 1],
        np.array([[0.9, 0.1], [0.6, 0.4]]),
        ["RBC", "WBC"],
        accepted=[True, False],
        reasons=["", "low confidence"],
        novelty=[0.5, 12.25],
        groups=["field 1", "field 2"],
        labs=["Basel", None],
    )
    first, second = read(path)
    assert first == {
        "path": "Test/RBC/1.png",
        "true": "RBC",
        "label": "RBC",
        "correct": "yes",
        "confidence": "0.900000",
        "decision": "accepted",
        "reason": "",
        "novelty": "0.5",
        "group": "field 1",
        "lab": "Basel",
        "p_RBC": "0.900000",
        "p_WBC": "0.100000",
    }
    assert second["path"] == "Test/WBC/odd, name.png"
    assert (second["true"], second["label"], second["correct"]) == ("WBC", "RBC", "no")
    assert (second["decision"], second["reason"]) == ("review", "low confidence")
    assert second["lab"] == ""


def test_what_is_not_known_is_empty(tmp_path):
    path = write_predictions(tmp_path / "p.csv", ["a"], [0], [[1.0, 0.0]], "ab", accepted=[True])
    (row,) = read(path)
    assert [row[key] for key in ("reason", "novelty", "group", "lab")] == [""] * 4


def test_columns_of_different_lengths_are_a_defect(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_predictions(tmp_path / "p.csv", ["a"], [0, 1], np.eye(2), "ab", accepted=[True] * 2)
