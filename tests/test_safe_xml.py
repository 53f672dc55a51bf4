"""XML that could exhaust memory or read other files is rejected."""

import pytest

from hematovision import safe_xml


def test_elements_are_reported_with_their_lines():
    lines = []
    root = safe_xml.parse(b"<a x='1'>\n <b:c>text</b:c>\n</a>", lambda *seen: lines.append(seen))
    assert (root.tag, root.get("x"), root[0].tag, root[0].text) == ("a", "1", "b:c", "text")
    assert lines == [("a", 1), ("b:c", 2)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_doctype_is_rejected_in_every_encoding(encoding):
    text = '<!DOCTYPE a [<!ENTITY b "ha">]><a>&b;</a>'
    with pytest.raises(ValueError, match=r"line 1: a DOCTYPE is not accepted"):
        safe_xml.parse(text.encode(encoding))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "line 1: not well-formed XML: no element found"),
        (b"<a>\n<b></a>", "line 2: not well-formed XML: mismatched tag"),
        (b"<a>&b;</a>", "line 1: not well-formed XML: undefined entity"),
        (b"<?xml version='1.0' encoding='no-such-thing'?><a/>", "line 1: "),
        (b"<a>" + b"<b/>" * 100_000 + b"</a>", "more than 100000 elements"),
    ],
)
def test_parse_errors_name_their_line(content, match):
    with pytest.raises(ValueError, match=match):
        safe_xml.parse(content)


def test_an_error_names_its_line_once():
    with pytest.raises(ValueError, match=r"^line 2: not well-formed XML: no element found$"):
        safe_xml.parse(b"<a>\n<b/>")
