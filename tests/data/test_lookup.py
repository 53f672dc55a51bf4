"""Finding files by what other files call them."""

import pytest

from hematovision.data.lookup import Lookup, without_suffix


@pytest.mark.parametrize(
    "query", ["a/Cell_1.png", "a\\Cell_1.png", "./a/cell_1.PNG", "a/cell_1", "cell_1.png", "CELL_1",
              "elsewhere/cell_1.jpg"],
)  # fmt: skip
def test_a_file_is_found_by_path_name_or_stem(query: str):
    assert Lookup([("a/Cell_1.png", 7), ("a/Cell_2.png", 8)]).find(query) == (7,)


def test_the_most_exact_match_is_used():
    lookup = Lookup([("a/x.png", 1), ("b/x.png", 2), ("X.png", 3), ("x.png", 4)])
    assert lookup.find("a/x.png") == (1,)
    assert lookup.find("X.png") == (3,)
    assert lookup.find("x.png") == (4,)


def test_an_ambiguous_name_returns_each_match_once():
    lookup = Lookup([("a/x.png", 1), ("b/x.png", 2), ("c/x.png", 2)])
    assert lookup.find("x") == (1, 2)
    assert lookup.find("y") == ()


def test_only_an_image_suffix_is_removed():
    assert without_suffix("a/cell.v2.png") == "a/cell.v2"
    assert without_suffix("a/cell.v2") == "a/cell.v2"
    assert Lookup([("cell.v1", 1), ("cell.v2", 2)]).find("cell.v2") == (2,)


def test_accents_match_in_any_unicode_form():
    composed, taken_apart = "fr\u00fch.png", "fru\u0308h.png"
    assert Lookup([(taken_apart, 1)]).find(composed) == (1,)
    assert Lookup([(composed, 1)]).find(f"a/{taken_apart}") == (1,)
    assert Lookup([(composed, 1), (taken_apart, 2)]).find(composed) == (1,)


def test_names_that_are_not_utf8_are_found_by_tables_in_windows_1252():
    assert Lookup([("caf\udce9.png", 1)]).find("caf\u00e9.png") == (1,)
    assert Lookup([("caf\udce9.png", 1)]).find("caf\udce9") == (1,)
    assert Lookup([("caf\udce9.png", 1)]).find("caf\ud800.png") == ()
