"""The three kinds of table say the same, appear whole or not at all, and keep paths as they are."""

import csv
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hematovision.errors import MissingExtraError, OutputError
from hematovision.model.classifier import Prediction, columns
from hematovision.paths import from_csv_cell, unescape_name
from hematovision.tables import sinks as tables

CLASSES = ("RBC", "WBC")
AWKWARD = (
    "=1+1.png",
    '"quoted", with comma.png',
    "Zellen ä 細胞.png",
    "two\nlines.png",
    " spaces ",
)


def answer(path: str = "a.png", rbc: float = 0.75) -> Prediction:
    return Prediction(
        path=path,
        classes=CLASSES,
        label="RBC",
        probabilities=(rbc, 1 - rbc),
        confidence=rbc,
        novelty=1.25,
        decision="review",
        reason="low confidence",
    )


def refusal(path: str = "b.png") -> Prediction:
    return Prediction(
        path=path,
        classes=CLASSES,
        label=None,
        probabilities=(),
        confidence=None,
        novelty=None,
        decision="refused",
        error="it is empty",
    )


def write(path: Path, predictions) -> Path:
    with tables.open_table(path, CLASSES) as table:
        for prediction in predictions:
            table.write(prediction)
    return path


def read(path: Path) -> list[dict]:
    """Read a table with the reader that people use for its kind."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            return [
                {
                    name: (float(value) if value else None)
                    if name in ("confidence", "novelty") or name.startswith("p_")
                    else value
                    for name, value in row.items()
                }
                for row in csv.DictReader(stream)
            ]
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    frame = pd.read_parquet(path).astype(object)
    return frame.where(frame.notna(), None).to_dict("records")


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_the_columns_are_those_of_the_design_in_their_order(tmp_path: Path, suffix):
    rows = read(write(tmp_path / f"t{suffix}", [answer(), refusal()]))
    expected = ["path", "label", "confidence", "decision", "reason", "novelty"]
    expected += ["p_RBC", "p_WBC", "error"]
    assert [list(row) for row in rows] == [expected, expected]
    assert list(columns(CLASSES)) == expected


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_what_was_answered_is_read_back(tmp_path: Path, suffix):
    first, second = read(write(tmp_path / f"t{suffix}", [answer(rbc=1 / 3), refusal()]))
    assert first == {
        "path": "a.png",
        "label": "RBC",
        "decision": "review",
        "confidence": 0.333333,
        "reason": "low confidence",
        "novelty": 1.25,
        "p_RBC": 0.333333,
        "p_WBC": 0.666667,
        "error": "",
    }
    assert second["error"] == "it is empty"
    assert second["label"] == ""
    assert [second[name] for name in ("confidence", "novelty", "p_RBC", "p_WBC")] == [None] * 4


def test_all_kinds_say_the_same_of_awkward_paths_and_many_rows(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 7)
    paths = [*AWKWARD, *(f"{i}.png" for i in range(20))]
    predictions = [answer(path, rbc=1 / (i + 2)) for i, path in enumerate(paths)]
    contents = [read(write(tmp_path / f"t{suffix}", predictions)) for suffix in tables.SUFFIXES]
    for row in contents[0]:
        row["path"] = from_csv_cell(row["path"])
    assert contents[0] == contents[1] == contents[2]
    assert [unescape_name(row["path"]) for row in contents[0]] == paths
    assert contents[0][3]["path"] == r"two\x0alines.png"


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_a_byte_that_is_no_utf_8_is_written_as_its_code(tmp_path: Path, suffix):
    path = b"cell-\xff.png".decode("utf-8", "surrogateescape")
    other = replace(refusal(r"cell-\xff.png"), error=f"like {path}")
    rows = read(write(tmp_path / f"t{suffix}", [answer(path), other]))
    assert [row["path"] for row in rows] == [r"cell-\xff.png", r"cell-\x5cxff.png"]
    assert [unescape_name(row["path"]) for row in rows] == [path, r"cell-\xff.png"]
    assert rows[1]["error"] == r"like cell-\xff.png"


def test_a_formula_in_a_csv_table_is_text(tmp_path: Path):
    formula = "=cmd|' /C calc'!A0"
    wrong = replace(refusal(f"{formula}.png"), error=f"@{formula}")
    first, second = read(write(tmp_path / "t.csv", [wrong, answer("-1")]))
    assert (first["path"], first["error"]) == (f"'{formula}.png", f"'@{formula}")
    assert second["path"] == "-1"


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_a_table_without_rows_still_has_its_columns(tmp_path: Path, suffix):
    path = write(tmp_path / f"t{suffix}", [])
    if suffix == ".csv":
        assert path.read_text() == ",".join(columns(CLASSES)) + "\n"
    elif suffix == ".parquet":
        assert tuple(pd.read_parquet(path).columns) == columns(CLASSES)
    assert read(path) == []


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_after_an_error_the_older_table_is_there_and_nothing_else(tmp_path: Path, suffix):
    path = write(tmp_path / f"t{suffix}", [answer()])
    old = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), tables.open_table(path, CLASSES) as table:
        table.write(answer("new.png"))
        raise KeyboardInterrupt
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_another_kind_of_table_is_refused_by_its_suffix(tmp_path: Path):
    with pytest.raises(OutputError, match=r"'\.xlsx'; expected one of \.csv, \.jsonl, \.parquet"):
        write(tmp_path / "t.xlsx", [])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_table(tmp_path: Path, monkeypatch):
    def full(self, prediction):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables._Csv, "write", full)
    with pytest.raises(OutputError, match=r"Cannot write .*t\.csv: No space left on device"):
        write(tmp_path / "t.csv", [answer()])


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path, monkeypatch):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(OutputError, match="a folder has that name"):
        tables.check_table(tmp_path / "t.csv")
    with pytest.raises(OutputError, match="expected one of"):
        tables.check_table(tmp_path / "t.xlsx")
    tables.check_table(tmp_path / "t.parquet")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(OutputError, match=r"pipe\.csv.*a device or pipe has that name"):
            tables.check_table(tmp_path / "pipe.csv")
    with pytest.raises(OutputError, match="File name too long"):
        tables.check_table(tmp_path / f"{'x' * 300}.csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*pyarrow|hematovision\[data\]"):
        tables.check_table(tmp_path / "t.parquet")
