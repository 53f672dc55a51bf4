"""Numbers agree with their nouns."""

from hematovision.plurals import counted


def test_only_one_is_singular():
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


def test_thousands_are_separated_and_plurals_may_be_irregular():
    assert counted(12345, "box", "boxes") == "12,345 boxes"
    assert counted(1, "box", "boxes") == "1 box"
