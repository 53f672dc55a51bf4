"""Data frames have the columns and dtypes of a schema, however many rows there are."""

import sys

import pytest

from hematovision.errors import MissingExtraError
from hematovision.frames import data_frame, plain_frame
from hematovision.rows import Column, Schema

SCHEMA = Schema(
    (
        Column("image"),
        Column("width", "number"),
        Column("cells", "integer"),
        Column("counted", "flag"),
        Column("error"),
    )
)
ROW = {"image": "a", "width": 1.5, "cells": 3, "counted": True, "error": ""}
FAILED = {"image": "b", "width": None, "cells": None, "counted": None, "error": "why"}


def test_dtypes_do_not_depend_on_the_rows():
    frame = data_frame(SCHEMA, [ROW, FAILED])
    assert list(frame.columns) == list(SCHEMA.names)
    dtypes = dict(zip(frame.columns, map(str, frame.dtypes), strict=True))
    assert (dtypes["width"], dtypes["cells"], dtypes["counted"]) == ("float64", "Int64", "boolean")
    for rows in ([], [ROW], [FAILED]):
        assert (data_frame(SCHEMA, rows).dtypes == frame.dtypes).all()


def test_values_are_kept_and_unknown_ones_are_missing():
    frame = data_frame(SCHEMA, [ROW, FAILED])
    assert frame.iloc[0].to_dict() == ROW
    assert frame.iloc[1].isna().tolist() == [False, True, True, True, False]
    assert frame["cells"].sum() == 3


def test_a_plain_frame_has_an_index():
    frame = plain_frame([{"class": "RBC", "recall": 0.5}], index="class")
    assert frame.loc["RBC", "recall"] == 0.5


def test_without_pandas_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (lambda: data_frame(SCHEMA, []), lambda: plain_frame([], "x")):
        with pytest.raises(MissingExtraError, match="A data frame needs the module 'pandas'"):
            call()
