"""Markup escapes everything that is not markup."""

import pytest

from hematovision.reporting.markup import Markup, breakable, fill, join, read_template, tag


def test_text_and_attributes_are_escaped_once():
    inner = tag("b", "<i>&")
    assert inner == "<b>&lt;i&gt;&amp;</b>"
    assert tag("p", inner, title='"><script>') == (
        '<p title="&quot;&gt;&lt;script&gt;"><b>&lt;i&gt;&amp;</b></p>'
    )
    assert join("a<", inner, None, 7) == "a&lt;<b>&lt;i&gt;&amp;</b>7"


def test_attributes_may_be_missing_or_named_like_python_words():
    assert tag("td", class_="n", colspan=None, aria_hidden="true") == (
        '<td class="n" aria-hidden="true"></td>'
    )


def test_elements_without_content_are_closed():
    assert tag("img", src="data:x", alt="") == '<img src="data:x" alt=""/>'
    assert tag("br") == "<br>"


def test_text_that_affects_a_line_or_its_direction_is_shown_as_an_escape():
    assert tag("td", "a\u202egnp.exe\n\udcff") == "<td>a\\u202egnp.exe\\n\\xff</td>"


def test_templates_are_filled_with_escaped_content_and_miss_nothing():
    assert fill("<p>$one$two", one="<", two=Markup("<br>")) == "<p>&lt;<br>"
    with pytest.raises(KeyError):
        fill("$one$two", one="")
    assert "$sections" in read_template("fields.html")


def test_names_may_break_after_hyphens_underscores_and_slashes():
    assert breakable("a/plate_1-b.png") == "a/<wbr>plate_<wbr>1-<wbr>b.png"
    assert breakable("-<b>__-.png") == "-<wbr>&lt;b&gt;__-<wbr>.png"
