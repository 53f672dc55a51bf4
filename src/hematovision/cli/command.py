"""What all commands have in common: options for log messages, before or after the command name."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hematovision.cli.log import LEVELS, logged

__all__ = ["Command", "common_options"]

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
                callback=_collect,
                expose_value=False,
                show_default=False,
                show_envvar=False,
                help="Show what is done, with which models and settings; -vv shows more.",
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


class Command(TyperCommand):
    """A command that takes the common options, and shows log messages while it runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for option in common_options():
            option.allow_from_autoenv = False  # the program's own options read the environment
            self.params.append(option)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with logged(_verbosity(ctx), bare=ctx.info_name in _SERVERS):
            return super().invoke(ctx)
