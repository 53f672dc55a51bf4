"""Schemas: the names of columns, and which values a row may have."""

import pytest

from dots import SCHEMA, Dot
from hematovision.rows import Column, Schema


def test_a_schema_has_names_in_order_and_a_key():
    assert SCHEMA.names == ("image", "x", "share", "on_edge", "error")
    assert SCHEMA.key == "image"


@pytest.mark.parametrize(
    "row", [Dot("a", 1, 0.5, on_edge=True), Dot("a", 1, 1, on_edge=False), Dot("a", error="empty")]
)
def test_rows_of_the_schema_pass(row):
    SCHEMA.check(row.values())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": None}, "'image' must have a value"),
        ({"x": 1.5}, "'x' must be integer: 1.5"),
        ({"x": True}, "'x' must be integer: True"),
        ({"share": "half"}, "'share' must be number"),
        ({"on_edge": 1}, "'on_edge' must be flag"),
        ({"error": 7}, "'error' must be text"),
        ({"other": 1}, "must have the columns"),
    ],
)
def test_other_rows_fail_with_the_column(changes, reason):
    with pytest.raises(ValueError, match=reason):
        SCHEMA.check(Dot("a", 1, 0.5, on_edge=True).values() | changes)


def test_only_a_row_with_an_error_may_lack_a_required_value():
    schema = Schema((Column("path"), Column("n", "integer"), Column("error")))
    schema.check({"path": "a", "n": None, "error": "it is empty"})
    with pytest.raises(ValueError, match="'n' must have a value"):
        schema.check({"path": "a", "n": None, "error": ""})
