"""What is wrong with a JSON value, from the errors of pydantic, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import Repr
from typing import Any

__all__ = ["explained"]

_SHOWN = Repr()  # a value may be a list of millions
_SHOWN.maxstring = _SHOWN.maxother = 80

_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a JSON object",
    "dict_type": "a JSON object",
    "float_type": "a number",
    "int_type": "an integer",
    "list_type": "a list",
    "model_type": "a JSON object",
    "string_type": "text",
    "tuple_type": "a list",
}
_PROBLEMS = {
    "extra_forbidden": "is unknown",
    "missing": "is missing",
    "unexpected_keyword_argument": "is unknown",
}


def explained(error: Mapping[str, Any]) -> str:
    """Return the field, what was expected and what was received.

    `error` is one of the errors of a ``pydantic.ValidationError``, for instance the first.

    Examples
    --------
    >>> explained({"type": "int_type", "loc": ("input", "size"), "msg": "", "input": "224"})
    "`input.size` must be an integer. Received: '224'."
    >>> explained({"type": "missing", "loc": ("inputs", 0), "msg": "", "input": []})
    '`inputs.0` is missing.'
    """
    kind, path = error["type"], ".".join(map(str, error["loc"]))
    place = f"`{path}`" if path else "The document"
    if kind == "json_invalid":
        return f"{place} is not JSON: {error['ctx']['error']}."
    if kind in _PROBLEMS:
        return f"{place} {_PROBLEMS[kind]}."
    expected = _EXPECTED.get(kind) or str(error["msg"]).removeprefix("Input should be ")
    return f"{place} must be {expected}. Received: {_SHOWN.repr(error['input'])}."
