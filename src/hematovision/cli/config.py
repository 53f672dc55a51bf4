"""``config``: the settings of files and environment variables, with their origin."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated, Any

import typer

from hematovision.cli.files import VARIABLE, files_in_use, places, places_in_use
from hematovision.cli.settings import (
    SECRETS,
    Setting,
    defaults,
    from_environment,
    read_settings,
    variables,
)
from hematovision.cli.terminal import echo

__all__ = ["VARIABLES", "config"]

_LOG = logging.getLogger(__name__)

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        VARIABLE: "the only settings file to read",
        "HEMATOVISION_API_KEY": "the key that `serve` requires",
        "HEMATOVISION_APP_MODELS": "models for `app`, joined as in `PATH`; `app --model` sets it",
        "HEMATOVISION_CACHE": "folder of caches",
        "HEMATOVISION_DATABASE_URL": "database of the records of `app`",
        "HEMATOVISION_DEBUG": "show the traceback of an error, as `--debug`",
        "HEMATOVISION_DEVICE": "`auto`, `cpu` or `cuda`",
        "HEMATOVISION_HOME": "folder of records and models, as `app --home`",
        "HEMATOVISION_MAX_IMAGES": "images per upload; `app --max-images` sets it",
        "HEMATOVISION_MAX_PIXELS": "pixels per uploaded image; `app --max-pixels` sets it",
        "HEMATOVISION_QUIET": "`1` for `--quiet`",
        "HEMATOVISION_VERBOSE": "`1` for `-v`, `2` for `-vv`",
    }
)
"""Environment variables apart from those of single options, and their meaning."""

_OF_DEVELOPERS = frozenset({"HEMATOVISION_DATA", "HEMATOVISION_SCREENSHOTS"})


def config(
    context: typer.Context,
    *,
    path: Annotated[
        bool, typer.Option("--path", help="List the settings files that are searched.")
    ] = False,
) -> None:
    """Show the settings that differ from the defaults.

    Settings come from environment variables and from files called hematovision.toml; the origin of
    each is shown.
    """
    if path:
        _show_places()
        return
    program: Any = context.find_root().command
    files = [one for file in files_in_use() for one in read_settings(program, file)]
    _show(_effective([*from_environment(program), *files], program))
    _show_variables()
    _warn_of_unknown(set(variables(program)))


def _show_places() -> None:
    used = places_in_use()
    for place in places():
        there = "not used" if os.path.lexists(place.path) else "missing"
        echo(f"{'used' if place in used else there:<8}  {place.path}")


def _effective(settings: Sequence[Setting], program: Any) -> list[Setting]:
    """Return the first setting of each option, if it is not the default, by command."""
    first: dict[tuple[tuple[str, ...], str], Setting] = {}
    for setting in settings:
        first.setdefault((setting.command, setting.parameter), setting)
    default = defaults(program)
    kept = (one for key, one in first.items() if one.value != default[key])
    return sorted(kept, key=lambda one: (one.command, one.option))


def _show(settings: Sequence[Setting]) -> None:
    """Print settings as the lines of a settings file, with their origin."""
    if not settings:
        echo("No setting differs from the defaults.")
    section: tuple[str, ...] = ()
    for setting in settings:
        if setting.command != section:
            section = setting.command
            echo(f"[{'.'.join(section)}]")
        line = f"{setting.option} = {setting.text}"
        echo(f"{line:<40} # {setting.origin}")


def _show_variables() -> None:
    """Print the variables that are set, without the values of secrets."""
    for name in VARIABLES:
        if value := os.environ.get(name):
            echo(f"# {name}{' is set' if name in SECRETS.values() else f'={value}'}")


def _warn_of_unknown(options: set[str]) -> None:
    """Warn of variables that look like ours and have no effect."""
    known = {*options, *VARIABLES, *_OF_DEVELOPERS}
    for name in sorted(os.environ):
        if name.startswith("HEMATOVISION_") and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            _LOG.warning("The environment variable %s has no effect.%s", name, hint)
