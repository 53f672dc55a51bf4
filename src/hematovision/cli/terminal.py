"""Terminal output and exit codes.

File and class names are untrusted and may contain control characters. `echo` escapes them
(`hematovision.paths.shown`); colours are added after the escaping.
"""

from __future__ import annotations

import errno
import io
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from hematovision.errors import (
    AnnotationError,
    ConfigurationError,
    DownloadError,
    HematoVisionError,
    ImageError,
)
from hematovision.paths import shown

__all__ = [
    "CLOSED_PIPE", "DONE", "FAILED", "FINDINGS", "INTERRUPTED", "USAGE", "Styled", "echo",
    "exit_if_refused", "open_standard_streams", "reported", "show_list", "show_next", "show_table",
]  # fmt: skip

DONE = 0
FAILED = 1
USAGE = 2
FINDINGS = 3
"""Done with findings, which are listed."""
INTERRUPTED = 130
"""128 plus the number of SIGINT, as in shells."""
CLOSED_PIPE = 141
"""128 plus the number of SIGPIPE: the reader closed the pipe."""


@dataclass(frozen=True)
class Styled:
    """Text with a colour."""

    text: str
    colour: str | None = None  # a colour name of `typer.style`
    bold: bool = False


def echo(*pieces: str | Styled, err: bool = False) -> None:
    """Print one line to stdout or stderr, with control characters escaped.

    Pieces are joined without spaces.
    """
    typer.echo("".join(map(_styled, pieces)), err=err)


def _styled(piece: str | Styled) -> str:
    if isinstance(piece, Styled):
        return typer.style(shown(piece.text), fg=piece.colour, bold=piece.bold or None)
    return shown(piece)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table to stdout; all columns but the first are right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=shown(title) or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for position, column in enumerate(map(shown, columns)):
        table.add_column(column, justify="right" if position else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    # Logs have no width: tables are as wide as their content.
    width = None if sys.stdout.isatty() else 200
    console = Console(markup=False, highlight=False, width=width)
    with console.capture() as captured:
        console.print(table)
    typer.echo(captured.get(), nl=False)


def show_list(heading: str, lines: Iterable[str], most: int = 20) -> None:
    """Print `heading` and at most `most` lines to stderr, then the number of remaining lines."""
    listed = list(lines)
    echo(heading, err=True)
    for line in listed[:most]:
        echo(f"  {line}", err=True)
    if len(listed) > most:
        echo(f"  ... and {len(listed) - most} more", err=True)


def show_next(*arguments: object) -> None:
    """Print the command to try next, ready to copy."""
    words = [_program(), *map(str, arguments)]
    echo(f"Next: {' '.join(map(_quoted, words))}")


def _quoted(word: str) -> str:
    """Quote a word for a shell, as ``$'...'`` if it is unprintable."""
    if shown(word) == word:
        return shlex.quote(word)
    escaped = shown(word.replace("\\", r"\\").replace("'", r"\'"))
    return f"$'{escaped}'"


def _program() -> str:
    """Return the program's name, or its path if it is not on PATH."""
    if shutil.which("hematovision"):
        return "hematovision"
    program = Path(sys.executable).with_name("hematovision")
    try:
        return str(program.relative_to(Path.cwd()))
    except ValueError:
        return str(program)


def exit_if_refused(refused: Sequence[ImageError | AnnotationError]) -> None:
    """List the images that could not be read; if there are any, raise `typer.Exit(FINDINGS)`."""
    if refused:
        lines = (
            f"{error.path}: {error.reason}" if isinstance(error, ImageError) else str(error)
            for error in refused
        )
        show_list(f"Images that could not be used ({len(refused)}):", lines, most=len(refused))
        raise typer.Exit(FINDINGS)


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """Turn any exception in the block into a message on stderr and an exit code.

    With `debug` the traceback of expected errors is printed, too. Raises `typer.Exit` with the exit
    code. Usage errors pass through: typer prints them with the usage line.
    """
    try:
        with _escaped_usage_errors():
            yield
            sys.stdout.flush()
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except HematoVisionError as error:
        _report(error, debug=debug)
        code = USAGE if isinstance(error, ConfigurationError) else FAILED
        raise typer.Exit(code) from error
    except (KeyboardInterrupt, ImportError) as error:
        if not _is_interrupt(error):
            raise _bug() from error
        _report("Stopped by Ctrl-C.", debug=debug)
        raise typer.Exit(INTERRUPTED) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            _discard_output()
            raise typer.Exit(CLOSED_PIPE) from error
        _report(_system_message(error), debug=debug)
        raise typer.Exit(FAILED) from error
    except MemoryError as error:
        _report(
            "There is not enough memory. Close other programs, or use fewer or smaller images.",
            debug=debug,
        )
        raise typer.Exit(FAILED) from error
    except Exception as error:
        raise _bug() from error


def _is_interrupt(error: BaseException) -> bool:
    """Return whether Ctrl-C caused an error: a C extension that loads meanwhile fails to import."""
    return isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt)


def _bug() -> typer.Exit:
    """Report an unexpected error with its traceback; return the exit to raise."""
    _report("This is a bug in HematoVision. Please report it with these lines.", debug=True)
    return typer.Exit(FAILED)


@contextmanager
def _escaped_usage_errors() -> Iterator[None]:
    """Escape the arguments quoted in usage errors, which typer prints unchanged."""
    try:
        yield
    except typer.TyperException as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # its message is the multi-line help
            # Typer reports a value that is not among the choices with a prefix of pydantic.
            error.message = shown(error.message).removeprefix("Value error, ")
        raise


def _report(message: str | HematoVisionError, *, debug: bool) -> None:
    # Only download errors have several lines; they contain no untrusted text.
    text = str(message)
    lines = text.split("\n") if isinstance(message, DownloadError) else [text]
    try:
        if debug:
            _echo_traceback()
        echo(Styled("Error:", "red", bold=True), f" {lines[0]}", err=True)
        for line in lines[1:]:
            echo(line, err=True)
    except OSError:  # stderr is closed or full
        pass
    _discard_output()


def _echo_traceback() -> None:
    """Print the traceback, with the error message on one line."""
    error = sys.exception()
    if error is None:
        return
    for piece in traceback.TracebackException.from_exception(error).format():
        is_code = piece.startswith(("  ", "\n", "Traceback"))
        for line in piece.rstrip("\n").split("\n") if is_code else [piece.rstrip("\n")]:
            echo(line, err=True)


def _system_message(error: OSError) -> str:
    place = error.filename or ("" if error.errno != errno.ENOSPC else "standard output")
    return (
        f"{place}{': ' if place else ''}{error.strerror or error}. Check that the location "
        "exists, is accessible and has free space (details with hematovision --debug)."
    )


def open_standard_streams() -> None:
    """Open closed standard streams, and make all characters encodable.

    If the caller closed a stream (``2>&-``), the next opened file would get its number, and library
    messages would end up in it. A locale's encoding may lack characters of a file name.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Discard output that stdout or stderr can't write (closed pipe, full disk)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
