"""Small CSV files that people edit."""

from pathlib import Path

import pytest

from hematovision.data.tables import read_table
from hematovision.errors import AnnotationError


def test_values_come_by_column_with_their_line(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text('a, b\n1, "two\n lines"\n\n3,4\n')
    table = read_table(path)
    assert table.columns == ("a", "b")
    assert [row["a"] for row in table.rows] == ["1", "3"]
    assert [row.line for row in table.rows] == [3, 5]
    assert table.rows[1].number("b") == 4.0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: the header lacks a, b"),
        (b"x,y\n", "line 1: the header lacks a, b"),
        (b"a,b,a\n", "line 1: the column 'a' is there twice"),
        (b"a,b\n1\n", "line 2: expected 2 values"),
        (b"a,b\n1,2,3\n", "line 2: expected 2 values.*Received 3"),
        (b'a,b\n1,"2\n', "not a CSV file"),
        (b'a,b\n1,"2"x\n', "line 2: not a CSV file"),
        (b"a,b\n1,\xff\n", "not UTF-8 text"),
        (b"a,b\n1," + b"2" * 200_000, "line 2: not a CSV file"),
    ],
)
def test_what_is_no_table_is_refused_by_file_and_line(tmp_path: Path, content, problem):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=problem) as caught:
        read_table(path, ("a", "b"))
    assert "t.csv" in str(caught.value)


def test_a_missing_table_is_an_error_with_its_path(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"Cannot read .*gone\.csv"):
        read_table(tmp_path / "gone.csv")
