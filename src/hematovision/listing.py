"""Short tables of results, as text for a console and as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TypeVar

from hematovision.paths import shown

__all__ = ["html_table", "text_table"]

_SHOWN = 10  # rows; of more, the first and the last half
_WIDEST = 44  # characters of a cell

_One = TypeVar("_One")


def text_table(
    title: str,
    columns: Sequence[str],
    items: Sequence[_One],
    cells: Callable[[_One], Sequence[str]],
) -> str:
    """Return a table of items with a title, of at most ten rows; numbers are aligned to the right.

    Examples
    --------
    >>> print(text_table("2 cells", ("label", "n"), ["RBC", "WBC"], lambda x: (x, "12")))
    2 cells
      label   n
      RBC    12
      WBC    12
    """
    rows = [tuple(columns), *(_row(one, cells, columns) for one in _some(items))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [
        len(rows) > 1 and all(_is_number(row[i]) for row in rows[1:]) for i in range(len(columns))
    ]
    lines = [
        "  ".join(
            text.rjust(width) if is_number else text.ljust(width)
            for text, width, is_number in zip(row, widths, right, strict=True)
        )
        for row in rows
    ]
    table = [f"  {line}".rstrip() for line in lines] if items else []
    return "\n".join([title, *table])


def html_table(
    title: str,
    columns: Sequence[str],
    items: Sequence[_One],
    cells: Callable[[_One], Sequence[str]],
) -> str:
    """Return the table of `text_table` as HTML.

    Examples
    --------
    >>> html_table("1 cell", ["label"], ["<b>"], lambda x: [x])
    '<p>1 cell</p><table><tr><th>label</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    rows = (_row(one, cells, columns) for one in _some(items))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows
    )
    return f"<p>{escape(title)}</p><table><tr>{head}</tr>{body}</table>"


def _some(items: Sequence[_One]) -> list[_One | None]:
    """Return the items, or the first and the last with None between them."""
    if len(items) <= _SHOWN:
        return [items[i] for i in range(len(items))]
    half = _SHOWN // 2
    return [
        *(items[i] for i in range(half)),
        None,
        *(items[i] for i in range(len(items) - half, len(items))),
    ]


def _row(
    item: _One | None, cells: Callable[[_One], Sequence[str]], columns: Sequence[str]
) -> tuple[str, ...]:
    if item is None:
        return ("...", *[""] * (len(columns) - 1))
    first, *others = map(shown, cells(item))
    if len(first) > _WIDEST:  # the name of a file is more useful than its folders
        first = f"...{first[3 - _WIDEST :]}"
    return first, *(one if len(one) <= _WIDEST else f"{one[: _WIDEST - 3]}..." for one in others)


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit()
