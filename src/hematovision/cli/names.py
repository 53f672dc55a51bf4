"""Options whose values are names in a registry, with those of installed distributions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from hematovision.plugins import Registry

__all__ = ["NameOf", "choices_of", "list_names"]


class NameOf:
    """Checks a name; the ``parser`` of an option.

    The registry is imported when an option is used or help is shown.

    Parameters
    ----------
    registry : str
        The registry, as ``"module:ATTRIBUTE"``.
    also : str
        Further names.
    """

    __name__ = "name"  # typer's name for the type

    def __init__(self, registry: str, *also: str) -> None:
        self._registry, self._also = registry, also

    def __call__(self, value: str) -> str:
        """Return a name; an error of typer with all names if there is no such one."""
        names = self.names()
        if value not in names:
            from pydantic_core import PydanticCustomError  # typer prints its message as it is

            text = f"{value!r} is not one of {', '.join(map(repr, names))}."
            raise PydanticCustomError("name", "{text}", {"text": text})
        return value

    def shown(self, ctx: object) -> str:
        """Return all names as the help shows them; it takes the context as typer passes it."""
        del ctx
        return f"<{'|'.join(self.names())}>"

    def names(self) -> tuple[str, ...]:
        """Return all names."""
        module, _, attribute = self._registry.partition(":")
        registry: Registry[Any] = getattr(import_module(module), attribute)
        return (*registry.names(), *self._also)


def list_names(parameters: Sequence[Any]) -> None:
    """Let the help of a command list the names that its options accept, when it is shown."""
    for parameter in parameters:
        parser = parameter.type_descriptor.parameter_info.parser
        if isinstance(parser, NameOf):
            parameter.display_type_rich = parser.shown


def choices_of(option: Any) -> tuple[Any, ...]:
    """Return the values that an option of a command accepts, if these can be listed."""
    parser = option.type_descriptor.parameter_info.parser
    return parser.names() if isinstance(parser, NameOf) else option.type_descriptor.choices or ()
