"""HTML and SVG from plain Python, for pages that are written without Jinja2.

Text is escaped unless it is `Markup`, so names of files and classes cannot break out of their
place.
"""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files
from string import Template
from typing import TypeAlias

from hematovision.paths import shown

__all__ = ["Content", "Markup", "breakable", "fill", "join", "read_template", "tag"]

_BREAK_AFTER = re.compile(r"(?<=[-_,;/\\])(?=[^-_,;/\\])")
_VOID = frozenset({"br", "img", "line", "path", "rect"})  # elements without content


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


Content: TypeAlias = str | int | float | None
"""What an element contains; None is nothing."""


def join(*content: Content) -> Markup:
    """Concatenate content, escaping what is not `Markup`."""
    return Markup("".join(map(_escaped, content)))


def tag(element: str, *content: Content, **attributes: Content) -> Markup:
    """Return an element.

    Underscores at the end of an attribute's name are dropped, the others become hyphens; an
    attribute of None is left out.

    >>> tag("td", "<b>.png", class_="n")
    '<td class="n">&lt;b&gt;.png</td>'
    """
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if element in _VOID:
        return Markup(f"<{element}{pairs}/>" if element != "br" else "<br>")
    return Markup(f"<{element}{pairs}>{join(*content)}</{element}>")


def breakable(name: str) -> Markup:
    """Return the name of a file that may break after a hyphen, an underscore or a slash.

    >>> breakable("a/plate_1.png")
    'a/<wbr>plate_<wbr>1.png'
    """
    return Markup("<wbr>".join(map(_escaped, _BREAK_AFTER.split(name))))


def fill(template: str, **content: Content) -> Markup:
    """Replace each ``$name`` of a template, escaping what is not `Markup`."""
    return Markup(Template(template).substitute({k: join(v) for k, v in content.items()}))


def read_template(name: str) -> str:
    """Return the text of a file in ``templates``."""
    return (files("hematovision.reporting") / "templates" / name).read_text(encoding="utf-8")


def _escaped(content: Content) -> str:
    if isinstance(content, Markup):
        return content
    return "" if content is None else escape(shown(content))
