"""A JSON object gives values of the kind asked for, or says which key is wrong."""

import pytest

from hematovision.errors import BundleError
from hematovision.model.json_object import JsonObject

ROOT = JsonObject({"name": "x", "trust": {"novelty": 2, "on": True, "far": 10**400}}, "")


def test_values_of_the_right_kind_are_given():
    assert ROOT.get("name", str) == "x"
    assert ROOT.object("trust").number("novelty") == 2.0


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("missing", r"`trust\.missing` is missing; it must be a number"),
        ("on", r"`trust\.on` must be a number\. Received: True"),
        ("far", r"`trust\.far` must be a finite number"),
    ],
)
def test_what_is_no_number_is_named_with_its_place(key: str, message: str):
    with pytest.raises(BundleError, match=message):
        ROOT.object("trust").number(key)


def test_true_is_no_integer_and_a_text_is_no_object():
    with pytest.raises(BundleError, match=r"`trust\.on` must be of type int"):
        ROOT.object("trust").get("on", int)
    with pytest.raises(BundleError, match="`name` must be a JSON object"):
        ROOT.object("name")


def test_what_is_no_object_at_all_is_refused():
    with pytest.raises(BundleError, match=r"The whole must be a JSON object\. Received: list"):
        JsonObject([], "")
