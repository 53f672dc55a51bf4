"""What a person sees when a command fails: one message, and an exit code that says why."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from hematovision.errors import HematoVisionError

__all__ = ["DONE", "FAILED", "FINDINGS", "INTERRUPTED", "USAGE", "reported"]

DONE = 0
FAILED = 1
USAGE = 2
FINDINGS = 3
"""The work is done, and something was found that a person should look at; it has been listed."""
INTERRUPTED = 130
"""128 and the number of the signal SIGINT, as shells have it."""


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
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except HematoVisionError as error:
        _say(str(error), debug=debug)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        _say("Stopped by Ctrl-C before the work was done.", debug=debug)
        raise typer.Exit(INTERRUPTED) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            _drop_stdout()
            raise typer.Exit(FAILED) from error
        _say(_system_message(error), debug=debug)
        raise typer.Exit(FAILED) from error
    except Exception as error:  # The last line before the screen: nothing is hidden, all is shown.
        _say("This is a defect in HematoVision. Please report it with these lines.", debug=True)
        raise typer.Exit(FAILED) from error


def _say(message: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    typer.echo(f"{typer.style('Error:', fg='red', bold=True)} {message}", err=True)


def _system_message(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return (
        f"{place}{error.strerror or error}. The system refused; see that the place exists, may be "
        "used and has room (more with hematovision --debug)."
    )


def _drop_stdout() -> None:
    """Let the interpreter's last flush go nowhere: whoever read the pipe has read enough."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
