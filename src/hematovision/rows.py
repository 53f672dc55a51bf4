"""Rows of results and their columns.

A single-cell image yields one row, a field one per cell, an unreadable file one with an error. Each
result type declares a `Schema`; tables, resuming, the HTTP server, its client, uploads, the Ray
engine and the review database work with any schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

__all__ = ["ERROR", "Column", "Row", "Schema", "Value"]

Value: TypeAlias = str | float | int | bool | None

ERROR = "error"
"""The column of every schema that states why an image could not be read; otherwise empty."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (float, int),
    "integer": (int,),
    "flag": (bool,),
}


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    # Text is never null, but may be empty. Other types are null in the row of an unreadable image.
    type: Literal["text", "number", "integer", "flag"] = "text"
    required: bool = True  # whether the rows of readable images always have a value


@dataclass(frozen=True)
class Schema:
    """The columns of a result type, in order."""

    columns: tuple[Column, ...]  # the first names the image; one is `ERROR`

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def key(self) -> str:
        """The column that names the image."""
        return self.columns[0].name

    def check(self, values: Mapping[str, Value]) -> None:
        """Check that `values` are a row of this schema.

        Raises `ValueError` if the names or their order differ, or a value is missing or has the
        wrong type.
        """
        if tuple(values) != self.names:
            raise ValueError(f"a row must have the columns {self.names}. Received: {tuple(values)}")
        failed = bool(values[ERROR])
        for column in self.columns:
            value = values[column.name]
            if value is None:
                if column.type == "text" or (column.required and not failed):
                    raise ValueError(f"the column {column.name!r} must have a value")
            elif not isinstance(value, _TYPES[column.type]) or (
                isinstance(value, bool) and column.type != "flag"
            ):
                raise ValueError(f"the column {column.name!r} must be {column.type}: {value!r}")


class Row(Protocol):
    """One row of a result type."""

    @property
    def schema(self) -> Schema:
        """The columns."""

    def values(self) -> dict[str, Value]:
        """Return the values by column, in the schema's order."""
