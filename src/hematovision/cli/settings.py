"""Settings: the options of commands that settings files and environment variables may set.

Only options listed here can be set, and only those of `FOUND` by a file that was found in the
current folder or above: the folder may come from somebody else, and a file in it must not choose
what is read, written, sent or opened to the network.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin

import typer
from typer.core import TyperGroup, TyperOption

from hematovision.cli.files import NAME, VARIABLE, SettingsFile, in_home
from hematovision.cli.names import choices_of
from hematovision.errors import ConfigurationError
from hematovision.paths import config_folder

__all__ = [
    "FOUND", "SECRETS", "SECTIONS", "Setting", "default_map", "defaults", "from_environment",
    "option_name", "prepare", "read_settings", "settable", "variable", "variables",
]  # fmt: skip

_TRAINING = "taxonomy weights seed"
_RAY = "engine ray-address"
_SERVER = "port address allowed-host model max-pixels"

SECTIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        section: frozenset(names.split())
        for section, names in {
            "analyze": f"detector classifier rbc-diameter um-per-px edges level export overlays "
            f"format {_RAY}",
            "classify": f"model {_RAY}",
            "train": f"{_TRAINING} fine-tune fine-tune-blocks epochs batch-size patience backbone "
            "learning-curve",
            "features": f"{_TRAINING} {_RAY}",
            "evaluate": "split taxonomy baselines",
            "compare": "split",
            "adapt": "seed",
            "serve": f"{_SERVER} threads queue deadline max-bytes header-timeout max-connections",
            "app": f"{_SERVER} home max-upload max-images base-path browser",
            "data import": "taxonomy subtypes seed",
            "data check": "taxonomy",
            "data synthesize": "images seed taxonomy",
        }.items()
    }
)
"""The options that can be set, by command; not those of a single run, such as ``--out``."""

FOUND = frozenset(
    {
        "backbone", "baselines", "batch-size", "browser", "classifier", "detector", "edges",
        "epochs", "export", "fine-tune", "fine-tune-blocks", "format", "learning-curve",
        "level", "model", "overlays", "patience", "port", "rbc-diameter", "seed", "split",
        "subtypes", "taxonomy", "threads", "um-per-px",
    }
)  # fmt: skip
"""The options that a file found in the current folder or above may set."""

SECRETS: Mapping[str, str] = MappingProxyType(
    {"api-key": "HEMATOVISION_API_KEY", "database-url": "HEMATOVISION_DATABASE_URL"}
)
"""Settings that only environment variables hold."""

_MODELS = frozenset({"classifier", "detector", "model", "weights"})  # a name, or a folder or file

_Path = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """The value of an option, and where it comes from."""

    command: _Path  # the words of the command, such as ("data", "import")
    parameter: str  # the name of the option's parameter
    option: str  # without dashes
    value: Any
    origin: str  # a file with its line, or an environment variable
    file: Path | None = None
    found: bool = False  # whether the file was found in the current folder or above

    @property
    def text(self) -> str:
        """The value as in a settings file."""
        return json.dumps(self.value, ensure_ascii=False, default=str)


# --- the options of the program ------------------------------------------------------------------


def _commands(group: TyperGroup, words: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield all commands, with the words that start them."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def option_name(option: TyperOption) -> str:
    """Return the long name of an option, without dashes."""
    return next(name for name in option.opts if name.startswith("--")).removeprefix("--")


def variable(words: _Path, option: TyperOption) -> str:
    """Return the environment variable of an option."""
    return "_".join(("hematovision", *words, str(option.name))).upper().replace("-", "_")


def settable(words: _Path, command: Any) -> dict[str, TyperOption]:
    """Return the options of a command that can be set, by long name."""
    names = SECTIONS.get(" ".join(words), frozenset())
    options = (option for option in command.params if isinstance(option, TyperOption))
    return {name: option for option in options if (name := option_name(option)) in names}


def variables(program: TyperGroup) -> list[str]:
    """Return the environment variables of all options that can be set."""
    return [
        variable(words, option)
        for words, command in _commands(program)
        for option in settable(words, command).values()
    ]


def defaults(program: TyperGroup) -> dict[tuple[_Path, str], Any]:
    """Return the defaults of all options that can be set, by command and parameter."""
    return {
        (words, str(option.name)): option.default
        for words, command in _commands(program)
        for option in settable(words, command).values()
    }


def prepare(program: TyperGroup) -> None:
    """Let environment variables set the options of `SECTIONS`, and no others.

    Flags that can be set get an opposite, such as ``--no-overlays``, for the command line.
    """
    for words, command in _commands(program):
        names = settable(words, command)
        for option in command.params:
            if isinstance(option, TyperOption):
                option.show_envvar = False  # documented by their rule
                option.allow_from_autoenv = option in names.values()
        for name, option in names.items():
            if option.is_bool_flag and not option.secondary_opts:
                option.secondary_opts.append(f"--no-{name}")


def from_environment(program: TyperGroup) -> list[Setting]:
    """Return the options that environment variables set; values as the commands take them.

    Raises `ConfigurationError` if a value is invalid.
    """
    found = []
    for words, command in _commands(program):
        context = typer.Context(command, info_name=words[-1])
        for name, option in settable(words, command).items():
            origin = variable(words, option)
            if not (text := os.environ.get(origin)):
                continue
            given: Any = text.split() if option.multiple else text
            try:
                value = option.process_value(context, given)
            except typer.BadParameter as error:
                raise ConfigurationError(_invalid(origin, option, text)) from error
            found.append(Setting(words, str(option.name), name, value, origin))
    return found


# --- files ---------------------------------------------------------------------------------------


def read_settings(program: TyperGroup, file: SettingsFile) -> list[Setting]:
    """Return the settings of a file.

    Raises `ConfigurationError` if a section or key is unknown or not allowed, or a value is
    invalid.
    """
    return [
        _setting(file, words, command, key, value)
        for words, command, table in _sections(program, file, (), file.tables)
        for key, value in table.items()
    ]


def _sections(
    group: TyperGroup, file: SettingsFile, words: _Path, tables: Mapping[str, Any]
) -> Iterator[tuple[_Path, Any, Mapping[str, Any]]]:
    known = {path[len(words)] for path in map(_words, SECTIONS) if path[: len(words)] == words}
    for name, table in tables.items():
        path = (*words, name)
        if name not in known:
            is_table = isinstance(table, Mapping)
            where = file.where(path) if is_table else file.where(words, name)
            what = (
                f"section [{'.'.join(path)}]" if is_table else f"setting {name!r} outside sections"
            )
            raise ConfigurationError(f"{where}: unknown {what}. {_hint(name, known, 'sections')}")
        if not isinstance(table, Mapping):
            raise ConfigurationError(
                f"{file.where(words, name)}: {name!r} is a section: write [{'.'.join(path)}] in a "
                "line of its own."
            )
        command = group.commands[name]
        if isinstance(command, TyperGroup):
            yield from _sections(command, file, path, table)
        else:
            yield path, command, table


def _words(section: str) -> _Path:
    return tuple(section.split())


def _setting(file: SettingsFile, words: _Path, command: Any, key: str, value: Any) -> Setting:
    options = settable(words, command)
    where = file.where(words, key)
    name = f"[{'.'.join(words)}] {key}"
    if key not in options:
        raise ConfigurationError(f"{where}: {_unknown(name, key, command, options)}")
    option = options[key]
    if not file.place.own and not _allowed(key, value):
        raise ConfigurationError(f"{where}: {_not_found(name, key)}")
    if not _is_valid(option, value, command):
        raise ConfigurationError(_invalid(f"{where}: {name}", option, value))
    resolved = _resolved(key, option, value, file.place.path.parent)
    return Setting(
        words, str(option.name), key, resolved, where, file.place.path, found=not file.place.own
    )


def _unknown(name: str, key: str, command: Any, options: Mapping[str, Any]) -> str:
    if key in SECRETS:
        return f"{name} is a secret. Set the environment variable {SECRETS[key]} instead."
    given = [option for option in command.params if isinstance(option, TyperOption)]
    if f"--{key}" in {opt for option in given for opt in option.opts}:
        return f"{name} belongs to a single run. Pass --{key} on the command line."
    return f"unknown setting {name}. {_hint(key, options, 'settings')}"


def _hint(name: str, known: Any, what: str) -> str:
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known {what}: {', '.join(sorted(known))}."


def _allowed(key: str, value: Any) -> bool:
    """Return whether a file that was found may set a key to a value."""
    if key not in FOUND:
        return False
    if key not in _MODELS:
        return True
    from hematovision.model.registry import bundled_detectors, bundled_models

    names = {*bundled_models(), *bundled_detectors(), "none"}
    return all(one in names for one in (value if isinstance(value, list) else [value]))


def _not_found(name: str, key: str) -> str:
    what = "may only name a bundled model here" if key in _MODELS & FOUND else "is not allowed here"
    return (
        f"{name} {what}: the file was found in the current folder or above, which may come from "
        f"somebody else. Put the setting into your own file, {config_folder() / NAME}, or set "
        f"{VARIABLE} to this file if you trust it."
    )


def _is_valid(option: TyperOption, value: Any, command: Any) -> bool:
    """Return whether a value of TOML has the type and the range of an option."""
    if isinstance(value, list) is not option.multiple:
        return False
    items = value if isinstance(value, list) else [value]
    if not all(_has_type(_item_type(option), item) for item in items):
        return False
    try:
        option.process_value(typer.Context(command), value)
    except typer.BadParameter:
        return False
    return True


def _item_type(option: TyperOption) -> Any:
    annotation: Any = option.type_descriptor.annotation
    return get_args(annotation)[0] if get_origin(annotation) is list else annotation


def _has_type(kind: Any, value: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, int) if kind is int else isinstance(value, str) and bool(value)


def _invalid(name: str, option: TyperOption, value: Any) -> str:
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
    near = get_close_matches(str(value), map(str, choices_of(option)), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{name} must be {_expected(option)}. Received: {shown}.{hint}"


def _expected(option: TyperOption) -> str:
    kind = _item_type(option)
    if choices := ", ".join(map(repr, choices_of(option))):
        return f"a list of some of {choices}" if option.multiple else f"one of {choices}"
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    text = names.get(kind, "text in quotes")
    if option.min is not None:
        text += f" {'of at least' if option.max is None else 'from'} {option.min:,}"
    if option.max is not None:
        text += f" to {option.max:,}"
    return f"a list of {text}" if option.multiple else text


def _resolved(key: str, option: TyperOption, value: Any, folder: Path) -> Any:
    """Return a value with its paths relative to the folder of the file.

    A model with a slash or backslash is a path; others are names.
    """
    if isinstance(value, list):
        return [_resolved(key, option, item, folder) for item in value]
    is_path = option.type_descriptor.is_path
    if is_path or (key in _MODELS and re.search(r"[/\\]", value)):
        return str(folder / in_home(value))
    return value


def default_map(settings: Sequence[Setting]) -> dict[str, Any]:
    """Return the values as Typer's contexts take them; earlier settings have precedence."""
    found: dict[str, Any] = {}
    for setting in reversed(settings):
        table = found
        for word in setting.command:
            table = table.setdefault(word, {})
        table[setting.parameter] = setting.value
    return found
