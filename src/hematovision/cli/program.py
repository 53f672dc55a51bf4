"""The program: its commands and common options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hematovision import __version__
from hematovision.cli import analyze, classify, datasets, engines, evaluate, serve, train
from hematovision.cli import app as app_command
from hematovision.cli import config as config_command
from hematovision.cli.command import Command, common_options, configure, with_origins
from hematovision.cli.settings import prepare
from hematovision.cli.terminal import echo, open_standard_streams, reported

__all__ = ["main", "program"]


class _Program(TyperGroup):
    """A command group that reports exceptions instead of raising them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()
        prepare(self)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with reported(debug=False), with_origins(ctx):
            _refuse_empty(args)
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with reported(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        found = super().resolve_command(ctx, args)
        # A damaged file must not prevent help, or finding the file.
        if found[0] != "config" and not set(ctx.help_option_names).intersection(args):
            configure(ctx)
        return found


# Plain help: rendering with rich would double the time of `hematovision --help`.
program = typer.Typer(
    name="hematovision",
    cls=_Program,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    # Every option has an environment variable, such as HEMATOVISION_ANALYZE_EDGES.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "HEMATOVISION",
    },
)


_PLACES = frozenset(
    {"--annotations", "--classifier", "--detector", "--explain", "--fields", "--model", "--out"}
    | {"--weights"}
)


def _refuse_empty(args: list[str]) -> None:
    """Reject an empty path, as from an unset shell variable: it would mean the current folder."""
    for before, arg in zip(["", *args], args, strict=False):
        option, _, value = arg.partition("=")
        is_path = before in _PLACES if before.startswith("--") else True
        if (not arg and is_path) or (option in _PLACES and "=" in arg and not value):
            raise typer.BadParameter(
                "an argument is empty, perhaps from an unset variable. Pass a path; use . for the "
                "current folder.",
                param_hint=before if before in _PLACES else option or "PATH",
            )


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        echo(f"hematovision {__version__}")
        raise typer.Exit


@program.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            allow_from_autoenv=False,
            help="Show the version.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="HEMATOVISION_DEBUG", help="Show the traceback of an error."
        ),
    ] = False,
) -> None:
    """Find, classify and count blood cells in microscope images. For research and teaching.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with findings (each is listed),
    130 stopped by Ctrl-C, 141 output pipe closed.
    """


program.add_typer(datasets.group, name="data")
_COMMANDS: dict[str, Callable[..., None]] = {
    "demo": train.demo,
    "train": train.train,
    "features": engines.features,
    "evaluate": evaluate.evaluate,
    "analyze": analyze.analyze,
    "classify": classify.classify,
    "adapt": train.adapt,
    "compare": evaluate.compare,
    "export": train.export,
    "models": classify.models,
    "config": config_command.config,
    "app": app_command.app,
    "serve": serve.serve,
}
for _name, _function in _COMMANDS.items():
    program.command(_name, cls=Command)(_function)


def main() -> None:
    """Run the program with the arguments of the process, and exit."""
    open_standard_streams()
    program(prog_name="hematovision")
