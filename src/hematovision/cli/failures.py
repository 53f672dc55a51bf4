"""What a person sees when a command fails: one message, and an exit code that says why."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from hematovision.cli.terminal import Styled, drop_output, echo
from hematovision.errors import DownloadError, HematoVisionError
from hematovision.paths import shown

__all__ = ["CLOSED_PIPE", "DONE", "FAILED", "FINDINGS", "INTERRUPTED", "USAGE", "reported"]

DONE = 0
FAILED = 1
USAGE = 2
FINDINGS = 3
"""The work is done, and something was found that a person should look at; it has been listed."""
INTERRUPTED = 130
"""128 and the number of the signal SIGINT, as shells have it."""
CLOSED_PIPE = 141
"""128 and the number of the signal SIGPIPE: the reader of a pipe has read enough."""


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """Turn whatever goes wrong inside the block into a message on stderr and an exit code.

    Parameters
    ----------
    debug : bool
        Show where an expected error came from, too.

    Raises
    ------
    typer.Exit
        With the exit code. Errors of usage pass through: typer shows them with the usage line.
    """
    try:
        with _shown_usage():
            yield
            sys.stdout.flush()
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except HematoVisionError as error:
        _say(error, debug=debug)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        _say("Stopped by Ctrl-C before the work was done.", debug=debug)
        raise typer.Exit(INTERRUPTED) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            drop_output()
            raise typer.Exit(CLOSED_PIPE) from error
        _say(_system_message(error), debug=debug)
        raise typer.Exit(FAILED) from error
    except MemoryError as error:
        _say(
            "There is not enough memory. Close other programs, or use fewer or smaller images.",
            debug=debug,
        )
        raise typer.Exit(FAILED) from error
    except Exception as error:  # The last line before the screen: nothing is hidden, all is shown.
        _say("This is a defect in HematoVision. Please report it with these lines.", debug=True)
        raise typer.Exit(FAILED) from error


@contextmanager
def _shown_usage() -> Iterator[None]:
    """Escape what errors of usage quote of the command line; typer shows them as they are."""
    try:
        yield
    except typer.TyperException as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # Its message is the help, in lines.
            error.message = shown(error.message)
        raise


def _say(message: str | HematoVisionError, *, debug: bool) -> None:
    # The errors of downloads alone have several lines; they quote nothing from outside.
    text = str(message)
    lines = text.split("\n") if isinstance(message, DownloadError) else [text]
    try:
        if debug:
            _say_where()
        echo(Styled("Error:", "red", bold=True), f" {lines[0]}", err=True)
        for line in lines[1:]:
            echo(line, err=True)
    except OSError:  # Nobody can be told; the exit code still tells.
        pass
    drop_output()


def _say_where() -> None:
    """Write the traceback; the message of an error is one line, whatever is in it."""
    error = sys.exception()
    if error is None:
        return
    for piece in traceback.TracebackException.from_exception(error).format():
        of_code = piece.startswith(("  ", "\n", "Traceback"))
        for line in piece.rstrip("\n").split("\n") if of_code else [piece.rstrip("\n")]:
            echo(line, err=True)


def _system_message(error: OSError) -> str:
    place = error.filename or ("" if error.errno != errno.ENOSPC else "standard output")
    return (
        f"{place}{': ' if place else ''}{error.strerror or error}. Check that the location "
        "exists, is accessible and has free space (details with hematovision --debug)."
    )
