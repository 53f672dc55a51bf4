"""Errors of pydantic become one sentence each."""

import json

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hematovision.validation import explained


class Box(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    side: float = Field(gt=0, le=10)
    names: list[str] = []


class Page(BaseModel):
    boxes: list[Box]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "The document must be a JSON object. Received: []."),
        ({}, "`boxes` is missing."),
        ({"boxes": 1}, "`boxes` must be a list. Received: 1."),
        ({"boxes": [{}]}, "`boxes.0.side` is missing."),
        ({"boxes": [{"side": "1"}]}, "`boxes.0.side` must be a number. Received: '1'."),
        ({"boxes": [{"side": True}]}, "`boxes.0.side` must be a number. Received: True."),
        ({"boxes": [{"side": 0}]}, "`boxes.0.side` must be greater than 0. Received: 0."),
        ({"boxes": [{"side": 1, "x": 1}]}, "`boxes.0.x` is unknown."),
        ({"boxes": [{"side": 1, "names": [1]}]}, "`boxes.0.names.0` must be text. Received: 1."),
    ],
)
def test_the_sentence_names_place_expectation_and_value(value, sentence):
    for validate, given in (
        (Page.model_validate, value),
        (Page.model_validate_json, json.dumps(value)),
    ):
        with pytest.raises(ValidationError) as caught:
            validate(given)
        assert explained(caught.value.errors()[0]) == sentence


def test_text_that_is_not_json_is_named_with_the_place():
    with pytest.raises(ValidationError) as caught:
        Page.model_validate_json('{"boxes": [')
    sentence = explained(caught.value.errors()[0])
    assert sentence.startswith("The document is not JSON: EOF while parsing")
    assert "line 1 column 11" in sentence


@pytest.mark.parametrize("value", [["x" * 50] * 100_000, "x" * 100_000, {"x" * 10_000: 1}])
def test_a_large_value_is_cut(value):
    with pytest.raises(ValidationError) as caught:
        Page.model_validate({"boxes": [{"side": value}]})
    assert len(explained(caught.value.errors()[0])) < 700
