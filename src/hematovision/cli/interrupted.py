"""What to do about an interrupted run, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hematovision.cli.terminal import echo
from hematovision.errors import OutputError

__all__ = ["explain_resume"]


@contextmanager
def explain_resume(table: Path | None) -> Iterator[None]:
    """Print how to resume if Ctrl-C or a full disk interrupts the block.

    `table` is the table whose store has the results so far; without one, nothing is printed.
    """
    from hematovision.tables.store import can_resume, store_path

    try:
        yield
    except (KeyboardInterrupt, OutputError) as error:
        of_system = isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, OSError)
        if table is not None and of_system and can_resume(table):
            echo(
                f"The results so far are in {store_path(table)}. Run the same command with "
                "--resume to continue, or without it to start over.",
                err=True,
            )
        raise
