"""Small CSV files that people edit."""

from pathlib import Path

import pytest

from hematovision.data.textfiles import read_table
from hematovision.errors import AnnotationError


def test_values_are_found_by_column_and_have_their_line(tmp_path: Path):
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
        (b"", "the table is empty"),
        (b",,\n", "the table is empty"),
        (b"x,y\n", "line 1: the header lacks a, b"),
        (b"a,b,a\n", "line 1: there are two columns 'a'"),
        (b"a,b\n1\n", "line 2: expected 2 values"),
        (b"a,b\n1,2,3\n", "line 2: expected 2 values.*Received 3"),
        (b'a,b\n1,"2\n', "not a CSV file"),
        (b'a,b\n1,"2"x\n', "line 2: not a CSV file"),
        (b"a,b\n1,\x81\n", "not UTF-8 text"),
        (b"a,b\n1,\xff\x00\n", "not UTF-8 text"),
        (b"\xff\xfea", "not UTF-8 text"),
        (b"a,b\n1," + b"2" * 200_000, "line 2: not a CSV file"),
    ],
)
def test_an_invalid_table_is_an_error_with_file_and_line(tmp_path: Path, content, problem):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=problem) as caught:
        read_table(path, ("a", "b"))
    assert "t.csv" in str(caught.value)


def test_a_missing_table_is_an_error_with_its_path(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"Cannot read .*gone\.csv"):
        read_table(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("content", "separator", "encoding"),
    [
        ("a;b\n1,5;2\n", "semicolon", "utf-8"),
        ("a\tb\n1,5\t2\n", "tab", "utf-8-sig"),
        ("a|b\r\n1.5|2\r\n", "vertical bar", "utf-16"),
        ("sep=;\na;b\n1,5;2\n", "semicolon", "cp1252"),
        ('a,b\n"1,5",2\n', "comma", "utf-16-le-bom"),
        ("a,b;c\n1.5,2\n", "comma", "utf-8"),
    ],
)
def test_separators_decimal_commas_and_encodings_of_spreadsheets_are_read(
    tmp_path: Path, content: str, separator: str, encoding: str
):
    path = tmp_path / "t.csv"
    data = (
        b"\xff\xfe" + content.encode("utf-16-le")
        if encoding == "utf-16-le-bom"
        else content.encode(encoding)
    )
    path.write_bytes(data)
    table = read_table(path)
    assert table.separator_name == separator
    assert table.rows[0].number("a") == 1.5
    assert table.rows[0].line == (3 if content.startswith("sep") else 2)


def test_text_in_windows_1252_is_read_and_its_encoding_reported(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_bytes("Klasse;n\nLymphozyt \u00fc;1\n".encode("cp1252"))
    table = read_table(path)
    assert table.rows[0]["Klasse"] == "Lymphozyt \u00fc"
    assert table.encoding == "cp1252"


def test_lines_of_another_length_are_listed_on_request(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n1,2,0\n3,4\n")
    table = read_table(path, keep_going=True)
    assert [row["a"] for row in table.rows] == ["1", "3"]
    assert len(table.broken) == 1
    assert "line 3: expected 2 values separated by commas" in table.broken[0]
    assert "decimal commas" in table.broken[0]


def test_a_table_without_one_usable_line_is_an_error(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2,0\n")
    with pytest.raises(AnnotationError, match="line 2: expected 2 values"):
        read_table(path, keep_going=True)


def test_a_table_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("hematovision.data.textfiles.MAX_TABLE_BYTES", 10)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(AnnotationError, match="has 12 bytes; at most 10"):
        read_table(path)


def test_empty_columns_at_the_end_are_left_out(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("a;b;;;\n1;2;;;\n3;4\n")
    table = read_table(path)
    assert table.columns == ("a", "b")
    assert [row.values for row in table.rows] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_values_under_a_column_without_a_name_are_not_dropped(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("a;b;;\n1;2;;5\n")
    with pytest.raises(AnnotationError, match="expected 2 values"):
        read_table(path)
