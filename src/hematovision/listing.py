"""Short tables of results, as text for a console and as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Generic, NamedTuple, TypeVar

from hematovision.paths import shown

__all__ = ["Listing"]

_SHOWN = 10  # rows; of more, the first and the last half
_WIDEST = 44  # characters of a cell

_One = TypeVar("_One")


class Listing(NamedTuple, Generic[_One]):
    """Items as a table of at most ten rows, with a title.

    Examples
    --------
    >>> listing = Listing("2 cells", ("label", "n"), ["RBC", "WBC"], lambda x: (x, "12"))
    >>> print(listing.text())
    2 cells
      label   n
      RBC    12
      WBC    12
    >>> Listing("1 cell", ["label"], ["<b>"], lambda x: [x]).html()
    '<p>1 cell</p><table><tr><th>label</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """

    title: str
    columns: Sequence[str]
    items: Sequence[_One]
    cells: Callable[[_One], Sequence[str]]  # the texts of an item

    def text(self) -> str:
        """Return the table for a console; numbers are aligned to the right."""
        rows = [tuple(self.columns), *self._rows()]
        columns = [_padded(column) for column in zip(*rows, strict=True)]
        lines = (f"  {'  '.join(row)}".rstrip() for row in zip(*columns, strict=True))
        return "\n".join([self.title, *(lines if self.items else [])])

    def html(self) -> str:
        """Return the table for a notebook."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>"
            for row in self._rows()
        )
        return f"<p>{escape(self.title)}</p><table><tr>{head}</tr>{body}</table>"

    def _rows(self) -> list[tuple[str, ...]]:
        left_out = ("...", *[""] * (len(self.columns) - 1))
        return [
            left_out if one is None else _shortened(self.cells(one)) for one in _some(self.items)
        ]


def _padded(column: Sequence[str]) -> list[str]:
    """Return a column with its name on top, padded to one width."""
    width, values = max(map(len, column)), column[1:]
    pad = str.rjust if values and all(map(_is_number, values)) else str.ljust
    return [pad(text, width) for text in column]


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


def _shortened(cells: Sequence[str]) -> tuple[str, ...]:
    first, *others = map(shown, cells)
    if len(first) > _WIDEST:  # the name of a file is more useful than its folders
        first = f"...{first[3 - _WIDEST :]}"
    return first, *(one if len(one) <= _WIDEST else f"{one[: _WIDEST - 3]}..." for one in others)


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit()
