"""Tables are read back as they were written, in every format."""

from pathlib import Path

import pytest

from hematovision.errors import OutputError
from hematovision.rows import Column, Schema
from hematovision.tables.reading import read_table
from hematovision.tables.sinks import open_table

SCHEMA = Schema(
    (
        Column("image"),
        Column("width", "number", required=False),
        Column("cells", "integer", required=False),
        Column("counted", "flag", required=False),
        Column("note"),
        Column("error"),
    )
)
ROWS = [
    {"image": "a.png", "width": 1.5, "cells": 3, "counted": True, "note": "=1+1", "error": ""},
    {"image": "b\n\udce9.png", "width": 0.0, "cells": 0, "counted": False, "note": "", "error": ""},
    {"image": "c", "width": None, "cells": None, "counted": None, "note": "", "error": "why"},
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_are_read_back(tmp_path: Path, suffix: str):
    with open_table(tmp_path / f"cells{suffix}", SCHEMA) as table:
        for row in ROWS:
            table.write(row)
    assert list(read_table(tmp_path, "cells", SCHEMA)) == ROWS


def test_a_table_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(OutputError, match=r"no table 'cells' \(\.csv, \.jsonl, \.parquet\)"):
        list(read_table(tmp_path, "cells", SCHEMA))
