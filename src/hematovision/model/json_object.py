"""A JSON object of unknown origin: every value is looked at before it is used."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from hematovision.errors import BundleError

__all__ = ["JsonObject"]

_T = TypeVar("_T")


class JsonObject:
    """A JSON object that knows its place, for errors.

    Parameters
    ----------
    value : object
        What JSON gave.
    place : str
        Where it stands in the document, ``"taxonomy.aliases"``; empty for the whole.

    Raises
    ------
    BundleError
        If it is no JSON object; the methods, if a value is missing or of another kind.
    """

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(
                f"{place or 'The whole'} must be a JSON object. Received: {type(value).__name__}."
            )
        self.value: dict[str, Any] = value
        self.place = f"{place}." if place else ""

    def wrong(self, key: str, expected: str) -> BundleError:
        """Make the error about `key`."""
        if key not in self.value:
            return BundleError(f"`{self.place}{key}` is missing; it must be {expected}.")
        shown = repr(self.value[key])[:80]
        return BundleError(f"`{self.place}{key}` must be {expected}. Received: {shown}.")

    def get(self, key: str, kind: type[_T]) -> _T:
        """Return the value of `key` if it is a `kind`; true and false are no numbers."""
        value = self.value.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(key, f"of type {kind.__name__}")
        return value

    def number(self, key: str) -> float:
        """Return the finite number at `key`."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, "a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.wrong(key, "a finite number")
        return number

    def object(self, key: str) -> JsonObject:
        """Return the object at `key`."""
        if not isinstance(self.value.get(key), dict):
            raise self.wrong(key, "a JSON object")
        return JsonObject(self.value[key], f"{self.place}{key}")
