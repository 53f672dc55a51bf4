"""What all commands have in common: options for log messages, and settings from elsewhere."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hematovision.cli.files import files_in_use
from hematovision.cli.log import LEVELS, logged, notice
from hematovision.cli.names import list_names
from hematovision.cli.settings import Setting, default_map, read_settings, variable

__all__ = ["Command", "common_options", "configure", "with_origins"]

_LOG = logging.getLogger(__name__)

_SETTINGS = "hematovision.settings"
_SOURCES = ("COMMANDLINE", "ENVIRONMENT")  # the first has precedence
_SERVERS = frozenset({"app", "serve"})  # their log is that of a server: bare messages


def _collect(context: typer.Context, param: typer.CallbackParam, value: int) -> int:
    """Add up the options before and after the name of the command."""
    source = context.get_parameter_source(str(param.name))
    if value and source is not None:
        given = context.meta.setdefault(source.name, {})
        given[param.name] = given.get(param.name, 0) + value
    return value


def common_options() -> list[Any]:
    """Return the options that precede or follow the name of a command."""
    common = typer.Typer(add_completion=False)

    @common.command()
    def options(
        *,
        verbose: Annotated[
            int,
            typer.Option(
                "--verbose",
                "-v",
                count=True,
                min=0,
                callback=_collect,
                expose_value=False,
                show_default=False,
                show_envvar=False,
                help="Show the steps, models and settings; -vv shows more.",
            ),
        ] = 0,
        quiet: Annotated[
            bool,
            typer.Option(
                "--quiet",
                "-q",
                callback=_collect,
                expose_value=False,
                show_envvar=False,
                help="Show errors only: no warnings, no progress.",
            ),
        ] = False,
    ) -> None: ...

    return typer.main.get_command(common).params


def _verbosity(context: typer.Context) -> int:
    """Return the key of `LEVELS` that the options ask for.

    Raises `typer.BadParameter` if they contradict each other.
    """
    for source in _SOURCES:
        given = context.meta.get(source, {})
        if "verbose" in given and "quiet" in given:
            raise typer.BadParameter("use either --verbose or --quiet.", param_hint="--quiet")
        if given:
            return -1 if "quiet" in given else min(given["verbose"], max(LEVELS))
    return 0


def configure(context: typer.Context) -> None:
    """Take the settings of files as the defaults of all commands of the program.

    Raises `ConfigurationError` if a file or one of its settings is invalid.
    """
    program: Any = context.command
    settings = [one for file in files_in_use() for one in read_settings(program, file)]
    context.meta[_SETTINGS] = settings
    context.default_map = default_map(settings)


class Command(TyperCommand):
    """A command that takes the common options, lists names, and logs while it runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        list_names(self.params)
        self.params += common_options()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; errors state where a value comes from."""
        with with_origins(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with with_origins(ctx), logged(_verbosity(ctx), bare=ctx.info_name in _SERVERS):
            _announce(ctx, _drop_contradictions(ctx))
            return super().invoke(ctx)


def _source(context: Any, parameter: str) -> str:
    source = context.get_parameter_source(parameter)
    return source.name if source is not None else ""


def _drop_contradictions(context: Any) -> set[str]:
    """Remove settings that contradict the command line; return the names of their parameters."""
    values = context.params
    given = {name for name in values if _source(context, name) == "COMMANDLINE"}
    dropped = set()
    for one, other in (("rbc_diameter", "um_per_px"), ("um_per_px", "rbc_diameter")):
        if one in given and values.get(one) is not None:
            dropped.add(other)
    if values.get("engine") == "local":
        dropped.add("ray_address")
    dropped -= given
    values.update(dict.fromkeys(dropped.intersection(values)))
    return dropped


def _words(context: Any) -> tuple[str, ...]:
    """Return the words of a command, such as ``("data", "import")``."""
    return () if context.parent is None else (*_words(context.parent), context.info_name)


def _settings(context: Any) -> dict[str, Setting]:
    """Return the settings of files that a command takes, by parameter."""
    words, found = _words(context), dict[str, Setting]()
    for setting in context.meta.get(_SETTINGS, []):
        is_taken = _source(context, setting.parameter) == "DEFAULT_MAP"
        if setting.command == words and is_taken:
            found.setdefault(setting.parameter, setting)  # the first has precedence
    return found


def _announce(context: Any, dropped: set[str]) -> None:
    """Show the settings of a file that was found, and log all others, but for those `dropped`."""
    settings = [one for name, one in _settings(context).items() if name not in dropped]
    found = [setting for setting in settings if setting.found]
    if found:
        texts = ", ".join(f"{setting.option} = {setting.text}" for setting in found)
        notice(f"Settings from {found[0].file}: {texts}")
    for setting in settings:
        if not setting.found:
            _LOG.info("Setting %s = %s: %s.", setting.option, setting.text, setting.origin)
    for option in context.command.params:
        if option.name not in dropped and _source(context, option.name) == "ENVIRONMENT":
            _LOG.info("Setting %s: %s.", option.name, variable(_words(context), option))


@contextmanager
def with_origins(context: Any) -> Iterator[None]:
    """Add to a usage error where the options come from that it mentions."""
    try:
        yield
    except typer.BadParameter as error:
        text, settings = error.format_message(), _settings(context)
        for option in context.command.params:
            mentioned = any(re.search(rf"{one}(?![\w-])", text) for one in option.opts)
            source = _source(context, option.name)
            if mentioned and source == "ENVIRONMENT":
                name = variable(_words(context), option)
                error.message += f" ({option.opts[0]} is set by the environment variable {name}.)"
            elif mentioned and option.name in settings:
                error.message += f" ({option.opts[0]} is set in {settings[option.name].origin}.)"
        raise
