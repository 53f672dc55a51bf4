"""Short tables of results, as text and as HTML."""

from hematovision.listing import Listing

COLUMNS = ("path", "n", "note")


def cells(item: tuple[str, int, str]) -> tuple[str, str, str]:
    return item[0], str(item[1]), item[2]


def test_numbers_are_aligned_to_the_right_and_empty_columns_are_not_padded():
    text = Listing("two", COLUMNS, [("a.png", 1, ""), ("bb.png", 100, "")], cells).text()
    assert text == "two\n  path      n  note\n  a.png     1\n  bb.png  100"


def test_of_many_items_the_first_and_the_last_are_shown():
    items = [(f"{i}.png", i, "") for i in range(30)]
    lines = Listing("t", COLUMNS, items, cells).text().splitlines()
    assert [line.split()[0] for line in lines[2:]] == [
        "0.png", "1.png", "2.png", "3.png", "4.png", "...",
        "25.png", "26.png", "27.png", "28.png", "29.png",
    ]  # fmt: skip


def test_without_items_there_is_only_the_title():
    assert Listing("nothing", COLUMNS, [], cells).text() == "nothing"


def test_long_and_odd_texts_stay_on_one_line():
    text = Listing("t", COLUMNS, [("folder/" * 9 + "a.png", 1, "why " * 20 + "\n")], cells).text()
    assert text.splitlines()[2].startswith("  .../folder/folder/")
    assert "/a.png" in text
    assert text.endswith("why w...")
    odd = Listing("t", COLUMNS, [("a\x1b[2K\n.png", 1, "")], cells).text()
    assert r"a\x1b[2K\n.png" in odd


def test_html_is_escaped():
    html = Listing("a < b", COLUMNS, [("<script>", 1, "")], cells).html()
    assert "<script>" not in html
    assert html.startswith("<p>a &lt; b</p><table><tr><th>path</th>")
