"""Reading and writing cells.csv."""

from pathlib import Path

import pytest

from hematovision.data.cells import COLUMNS, Cell, read_cells, write_cells
from hematovision.errors import AnnotationError

HEADER = ",".join(COLUMNS)


def test_cells_are_read_back_as_they_were_written(tmp_path: Path):
    cells = [
        Cell("Train/RBC/a_001.png", "images/a.png", "a", "bccd", (1.0, 2.5, 30.125, 40.0), "RBC",
             "train", True, "bccd/a"),
        Cell("WBC/b,\"1\".png", "b é.png", "b é", None, None, "WBC", None, False, "p 7"),
    ]  # fmt: skip
    assert read_cells(write_cells(tmp_path / "cells.csv", cells)) == cells


def test_columns_are_found_by_name_and_others_are_ignored(tmp_path: Path):
    path = tmp_path / "cells.csv"
    columns = ["note", *reversed(COLUMNS)]
    values = dict.fromkeys(columns, "") | {"file": "a.png", "class": "RBC", "touches_border": "1"}
    path.write_text(
        "\ufeff" + ",".join(columns) + "\r\n" + ",".join(values[c] for c in columns) + "\r\n\r\n",
        encoding="utf-8",
    )
    (cell,) = read_cells(path)
    assert (cell.file, cell.label, cell.touches_border, cell.box) == ("a.png", "RBC", True, None)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (",s,f,l,1,2,3,4,true,RBC,train,g", "must not be empty"),
        ("a,s,f,l,1,2,3,4,true,,train,g", "must not be empty"),
        ("a,s,f,l,1,2,3,4,maybe,RBC,train,g", "true or false.*'maybe'"),
        ("a,s,f,l,1,2,3,4,true,RBC,holdout,g", "train, valid, test or empty.*'holdout'"),
        ("a,s,f,l,1,2,x,4,true,RBC,train,g", "'xmax' must contain a number.*'x'"),
        ("a,s,f,l,1,2,,4,true,RBC,train,g", "'xmax' must contain a number"),
        ("a,s,f,l,5,2,3,4,true,RBC,train,g", "no area"),
        ("a,s,f,l,1,2,nan,4,true,RBC,train,g", "no area"),
        ("a,s,f,l,1,2,3,4,true,RBC,train", "expected 12 values.*Received 11"),
        ("b,s,f,l,1,2,3,4,true,RBC,train,g", "'b' is already on line 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str):
    path = tmp_path / "cells.csv"
    path.write_text(f"{HEADER}\nb,s,f,l,1,2,3,4,true,RBC,train,g\n{line}\n")
    with pytest.raises(AnnotationError, match=f"cells.csv, line 3: .*{problem}"):
        read_cells(path)


def test_a_formula_is_text_in_a_spreadsheet_and_is_read_back_unchanged(tmp_path: Path) -> None:
    cell = Cell("+/=1.png", "@field.png", "-field", "=HYPERLINK(1)", None, "+", group="'=quoted")
    path = write_cells(tmp_path / "cells.csv", [cell])
    row = path.read_text(encoding="utf-8").splitlines()[1].split(",")
    assert row[:4] == ["'+/=1.png", "'@field.png", "'-field", "'=HYPERLINK(1)"]
    assert row[-3:] == ["'+", "", "''=quoted"]
    assert read_cells(path) == [cell]
