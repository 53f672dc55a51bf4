"""Finding files by what other files call them."""

import pytest

from hematovision.data.lookup import Lookup, without_suffix


@pytest.mark.parametrize(
    "query", ["a/Cell_1.png", "a\\Cell_1.png", "./a/cell_1.PNG", "a/cell_1", "cell_1.png", "CELL_1",
              "elsewhere/cell_1.jpg"],
)  # fmt: skip
def test_a_file_is_found_by_path_name_or_stem(query: str):
    assert Lookup([("a/Cell_1.png", 7), ("a/Cell_2.png", 8)]).find(query) == (7,)


def test_the_most_exact_name_decides():
    lookup = Lookup([("a/x.png", 1), ("b/x.png", 2), ("X.png", 3), ("x.png", 4)])
    assert lookup.find("a/x.png") == (1,)
    assert lookup.find("X.png") == (3,)
    assert lookup.find("x.png") == (4,)


def test_an_ambiguous_name_gives_all_it_may_mean_once():
    lookup = Lookup([("a/x.png", 1), ("b/x.png", 2), ("c/x.png", 2)])
    assert lookup.find("x") == (1, 2)
    assert lookup.find("y") == ()


def test_only_an_image_suffix_is_dropped():
    assert without_suffix("a/cell.v2.png") == "a/cell.v2"
    assert without_suffix("a/cell.v2") == "a/cell.v2"
    assert Lookup([("cell.v1", 1), ("cell.v2", 2)]).find("cell.v2") == (2,)
