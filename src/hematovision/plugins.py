"""Named things that can be added from outside: backbones, formats, metrics and exporters.

A `Registry` finds a thing by name in three places: in this package, among those registered by a
call, and among the entry points of installed distributions. Nothing is imported before it is used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from hematovision.errors import HematoVisionError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Registry"]

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# What a thing from outside may raise: anything. A script with `sys.exit` at its end would otherwise
# end the program as if it were done.
_FAILURES = (Exception, SystemExit)

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Things of one kind by name; iterating yields the built-in names, then the others, sorted.

    A lookup imports only the thing with that name. Installed distributions are searched only for
    names that are not built in, and when all names are listed; listing imports nothing.

    Parameters
    ----------
    kind : str
        What the things are, for messages: ``"backbone"``.
    group : str
        The group of entry points: ``"hematovision.backbones"``.
    builtin : mapping
        The things of this package: ``{"name": "module:attribute"}``.
    accept : callable
        Checks a thing and returns it, converted if needed. Raises `TypeError` with the expected
        type.
    reserved : mapping
        Further names that nothing from outside may have, and what they mean.

    Raises
    ------
    KeyError
        By a lookup, if there is no such name.
    PluginError
        By a lookup, if what was added from outside can't be imported, is of another type, or two
        distributions have this name.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        builtin: Mapping[str, str],
        accept: Callable[[object], T],
        reserved: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.kind, self.group = kind, group
        self._builtin, self._accept, self._reserved = dict(builtin), accept, dict(reserved)
        self._registered: dict[str, T] = {}
        self._warned: set[str] = set()

    @property
    def builtin(self) -> tuple[str, ...]:
        """The names of the things of this package."""
        return tuple(self._builtin)

    def register(self, name: str, thing: object, *, replace: bool = False) -> None:
        """Add a thing for this process.

        Parameters
        ----------
        name : str
            Letters, digits, ``-``, ``_`` and ``.``.
        thing : object
            See the registry's documentation.
        replace : bool
            Whether to replace what has this name, if it is not built in; for notebooks, in which a
            cell runs more than once.

        Raises
        ------
        ValueError
            If the name is invalid or taken.
        TypeError
            If the thing is of another type.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"The name of a {self.kind} must have letters, digits, '-', '_' and '.', and start "
                f"with a letter or digit. Received: {name!r}"
            )
        is_ours = name in self._builtin or name in self._reserved
        if is_ours or (not replace and name in self):
            hint = "" if is_ours else ", or pass replace=True"
            raise ValueError(
                f"The {self.kind} {name!r} exists already: {self.owner(name)}. Choose another "
                f"name{hint}."
            )
        try:
            self._registered[name] = self._accept(thing)
        except TypeError as error:
            raise TypeError(f"The {self.kind} {name!r} can't be used: {error}") from error

    def clear(self) -> None:
        """Remove everything that `register` added."""
        self._registered.clear()

    def owner(self, name: str) -> str:
        """Return where a thing comes from: its distribution and entry point, for instance."""
        if name in self._builtin:
            return "a part of HematoVision"
        if name in self._reserved:
            return self._reserved[name]
        if name in self._registered:
            return "registered by a call"
        return " and ".join(map(_described, self._installed(name)))

    def names(self) -> tuple[str, ...]:
        """Return all names: built-in ones in their order, then the others, sorted."""
        installed, ours = self._entry_points(), self._builtin.keys() | self._reserved.keys()
        for name in (ours & installed.keys()) - self._warned:
            self._warned.add(name)
            _LOG.warning(
                "The %s %r of %s is not used: this name is %s.",
                self.kind,
                name,
                " and ".join(map(_described, installed[name])),
                self.owner(name),
            )
        others = (self._registered.keys() | installed.keys()) - ours
        return (*self._builtin, *sorted(others))

    @contextmanager
    def calling(self, name: str) -> Iterator[None]:
        """Turn an exception of a thing from outside into a `PluginError` that names its owner.

        Errors of HematoVision pass through, and so do all exceptions of built-in things.
        """
        try:
            yield
        except HematoVisionError:
            raise
        except _FAILURES as error:
            if name in self._builtin:
                raise
            raise self.broken(name, f"failed: {type(error).__name__}: {error}") from error

    def broken(self, name: str, problem: str) -> PluginError:
        """Return the error for a thing from outside that does something wrong.

        `problem` continues the sentence "The metric 'kappa' (its owner) ...".
        """
        return PluginError(f"The {self.kind} {name!r} ({self.owner(name)}) {problem}")

    def __getitem__(self, name: str) -> T:
        if name in self._builtin:
            return self._accept(_attribute(self._builtin[name]))
        if name in self._registered:
            return self._registered[name]
        entries = self._installed(name)
        if len(entries) > 1:
            raise self.broken(name, "is there twice. Uninstall one of the two distributions.")
        if not entries:
            raise KeyError(name)
        return self._loaded(name, entries[0])

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._registered or bool(self._installed(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def _loaded(self, name: str, entry: EntryPoint) -> T:
        try:
            thing = entry.load()
        except _FAILURES as error:
            raise self.broken(
                name,
                f"can't be imported: {type(error).__name__}: {error}. Install what it needs, or "
                "uninstall its distribution.",
            ) from error
        with self.calling(name):  # accepting a class makes an instance of it
            try:
                return self._accept(thing)
            except TypeError as error:
                raise self.broken(name, f"can't be used: {error}") from error

    def _installed(self, name: object) -> list[EntryPoint]:
        """Return the entry points of one name, which is no built-in one."""
        return [] if name in self._reserved else self._entry_points().get(str(name), [])

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        from importlib.metadata import entry_points  # slow to import, and seldom needed

        found: dict[str, list[EntryPoint]] = {}
        try:
            for entry in entry_points(group=self.group):
                found.setdefault(entry.name, []).append(entry)
        except (OSError, TypeError, ValueError) as error:  # a damaged file of any distribution
            _LOG.warning("The entry points of installed packages can't be read: %s", error)
        return found


def _attribute(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _described(entry: EntryPoint) -> str:
    source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
    return f"entry point {entry.name!r} = {entry.value!r} of {source}"
