"""Terminal output: all text that a command prints goes through `echo`.

File names and class names come from outside and may hold characters that steer a terminal. `echo`
shows them escaped (`hematovision.paths.shown`); colours are added here, behind the escaping.
"""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass

import typer

from hematovision.paths import shown

__all__ = ["Styled", "drop_output", "echo", "open_standard_streams"]


@dataclass(frozen=True)
class Styled:
    """Text with a colour.

    Parameters
    ----------
    text : str
    colour : str, optional
        A name that `typer.style` knows.
    bold : bool
    """

    text: str
    colour: str | None = None
    bold: bool = False


def echo(*pieces: str | Styled, err: bool = False) -> None:
    """Write one line to stdout, or to stderr; whatever would steer the terminal is escaped.

    Parameters
    ----------
    *pieces : str or Styled
        Written one after the other, without spaces between them.
    err : bool
        Whether to write to stderr.
    """
    typer.echo("".join(map(_drawn, pieces)), err=err)


def _drawn(piece: str | Styled) -> str:
    if isinstance(piece, Styled):
        return typer.style(shown(piece.text), fg=piece.colour, bold=piece.bold or None)
    return shown(piece)


def open_standard_streams() -> None:
    """Make sure that stdin, stdout and stderr are open and can write any character.

    A caller may have closed one (``2>&-``): then the next file that is opened gets its number, and
    what a library prints would land in a table. A locale's encoding may lack characters of a name.
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


def drop_output() -> None:
    """Send what stdout or stderr cannot take nowhere, so that leaving the program says nothing.

    Whoever read the pipe has read enough, or the disk behind it is full.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
