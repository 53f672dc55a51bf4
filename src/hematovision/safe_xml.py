"""Parse untrusted XML: no entities, no external files, a limit on elements."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

__all__ = ["parse"]


def parse(
    content: bytes,
    on_element: Callable[[str, int], None] | None = None,
    max_elements: int = 100_000,
) -> Element:
    """Parse an XML document and return its root; namespace prefixes remain in the tags.

    `content` needs a declaration or a byte order mark if it is not UTF-8. `on_element` is called
    with the tag and the line, from 1, at the start of each element. Raises `ValueError` if the
    document is not well-formed, or has a DOCTYPE, more than `max_elements` or an unknown encoding.
    The message starts with the line.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()
    elements = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if elements > max_elements:
            raise ValueError(f"line {parser.CurrentLineNumber}: more than {max_elements} elements")
        if on_element is not None:
            on_element(tag, parser.CurrentLineNumber)
        builder.start(tag, attributes)

    def reject_doctype(*_: object) -> None:
        # Entities can expand a kilobyte of XML to gigabytes ("billion laughs") or read other files.
        # They are declared in a DOCTYPE, which no supported format needs. The parser finds it in
        # every encoding; a search of the bytes would not.
        raise ValueError(
            f"line {parser.CurrentLineNumber}: a DOCTYPE is not accepted, since it can be used to "
            "exhaust memory or read other files. Remove it."
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = reject_doctype
    try:
        parser.Parse(content, True)  # noqa: FBT003  # expat takes no keywords
    except expat.ExpatError as error:
        raise ValueError(
            f"line {error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}"
        ) from error
    except LookupError as error:
        raise ValueError(f"line 1: {error}") from error
    return builder.close()
