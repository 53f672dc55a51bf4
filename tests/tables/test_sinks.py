"""The three table formats have equal content, are written atomically, and keep paths exactly."""

import csv
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet

import dots
from dots import Dot
from hematovision.errors import MissingExtraError, OutputError
from hematovision.model.prediction import Prediction, prediction_schema
from hematovision.paths import from_csv_cell, unescape_name
from hematovision.tables import sinks as tables

CLASSES = ("RBC", "WBC")
SCHEMA = prediction_schema(CLASSES)
AWKWARD = (
    "=1+1.png",
    '"quoted", with comma.png',
    "Zellen ä 細胞.png",
    "two\nlines.png",
    " spaces ",
)


def prediction(path: str = "a.png", rbc: float = 0.75) -> Prediction:
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


def refused(path: str = "b.png") -> Prediction:
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
    with tables.open_table(path, SCHEMA) as table:
        for row in predictions:
            table.write(row.values())
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
    rows = read(write(tmp_path / f"t{suffix}", [prediction(), refused()]))
    expected = ["path", "label", "confidence", "decision", "reason", "novelty"]
    expected += ["p_RBC", "p_WBC", "error"]
    assert [list(row) for row in rows] == [expected, expected]
    assert list(SCHEMA.names) == expected


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_a_prediction_is_read_back(tmp_path: Path, suffix):
    first, second = read(write(tmp_path / f"t{suffix}", [prediction(rbc=1 / 3), refused()]))
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


def test_all_formats_have_the_same_awkward_paths_and_many_rows(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 7)
    paths = [*AWKWARD, *(f"{i}.png" for i in range(20))]
    predictions = [prediction(path, rbc=1 / (i + 2)) for i, path in enumerate(paths)]
    contents = [read(write(tmp_path / f"t{suffix}", predictions)) for suffix in tables.SUFFIXES]
    for row in contents[0]:
        row["path"] = from_csv_cell(row["path"])
    assert contents[0] == contents[1] == contents[2]
    assert [unescape_name(row["path"]) for row in contents[0]] == paths
    assert contents[0][3]["path"] == r"two\x0alines.png"


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_a_byte_that_is_not_utf_8_is_written_as_its_code(tmp_path: Path, suffix):
    path = b"cell-\xff.png".decode("utf-8", "surrogateescape")
    other = replace(refused(r"cell-\xff.png"), error=f"like {path}")
    rows = read(write(tmp_path / f"t{suffix}", [prediction(path), other]))
    assert [row["path"] for row in rows] == [r"cell-\xff.png", r"cell-\x5cxff.png"]
    assert [unescape_name(row["path"]) for row in rows] == [path, r"cell-\xff.png"]
    assert rows[1]["error"] == r"like cell-\xff.png"


def test_a_formula_in_a_csv_table_is_text(tmp_path: Path):
    formula = "=cmd|' /C calc'!A0"
    wrong = replace(refused(f"{formula}.png"), error=f"@{formula}")
    first, second = read(write(tmp_path / "t.csv", [wrong, prediction("-1")]))
    assert (first["path"], first["error"]) == (f"'{formula}.png", f"'@{formula}")
    assert second["path"] == "-1"


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_a_table_without_rows_still_has_its_columns(tmp_path: Path, suffix):
    path = write(tmp_path / f"t{suffix}", [])
    if suffix == ".csv":
        assert path.read_text() == ",".join(SCHEMA.names) + "\n"
    elif suffix == ".parquet":
        assert tuple(pd.read_parquet(path).columns) == SCHEMA.names
    assert read(path) == []


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_after_an_error_the_older_table_is_there_and_nothing_else(tmp_path: Path, suffix):
    path = write(tmp_path / f"t{suffix}", [prediction()])
    old = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), tables.open_table(path, SCHEMA) as table:
        table.write(prediction("new.png").values())
        raise KeyboardInterrupt
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_another_kind_of_table_is_refused_by_its_suffix(tmp_path: Path):
    with pytest.raises(OutputError, match=r"one of \.csv, \.jsonl, \.parquet\. Received: '\.xlsx'"):
        write(tmp_path / "t.xlsx", [])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_table(tmp_path: Path, monkeypatch):
    def full(self, values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables._Csv, "write", full)
    with pytest.raises(OutputError, match=r"Cannot write .*t\.csv: No space left on device"):
        write(tmp_path / "t.csv", [prediction()])


def test_a_table_that_cannot_be_written_is_an_error_before_the_work(tmp_path: Path, monkeypatch):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(OutputError, match="a folder has that name"):
        tables.check_table(tmp_path / "t.csv")
    with pytest.raises(OutputError, match="must end in"):
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


@pytest.mark.parametrize("suffix", tables.SUFFIXES)
def test_rows_of_any_schema_are_written(tmp_path: Path, suffix):
    rows = [Dot("a", 3, 1 / 3, on_edge=True), Dot("b", error="it is empty")]
    path = tmp_path / f"t{suffix}"
    with tables.open_table(path, dots.SCHEMA) as table:
        for row in rows:
            table.write(row.values())
    if suffix == ".csv":
        assert path.read_text().splitlines() == [
            "image,x,share,on_edge,error",
            "a,3,0.333333,true,",
            "b,,,,it is empty",
        ]
        return
    expected = {"image": "a", "x": 3, "share": 0.333333, "on_edge": True, "error": ""}
    assert read(path)[0] == expected
    assert read(path)[1] == dict.fromkeys(expected) | {"image": "b", "error": "it is empty"}


def test_parquet_has_the_types_of_the_schema(tmp_path: Path):
    path = tmp_path / "t.parquet"
    with tables.open_table(path, dots.SCHEMA):
        pass
    types = [str(field.type) for field in parquet.read_schema(path)]
    assert types == ["string", "int64", "double", "bool", "string"]
